"""Calls in flight, gathered into one pipeline over one connection."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis.exceptions as theirs

from contracts.errors import PointsmanError, RedisUnavailable
from contracts.scripts import Script
from wire.connection import LOST, PAUSES, Connection, Connector, pack, told_by

#: The server is there, but another may serve us in its place.
ELSEWHERE = (theirs.ReadOnlyError, theirs.BusyLoadingError, theirs.MasterDownError)
#: Calls in one pipeline: enough to be quick, few enough to leave Redis to others in between.
BATCH = 256
#: A connection that was quiet for so many seconds is looked at before it is written to.
QUIET = 1.0
#: How often scripts are loaded for one batch; more than once only where somebody flushes them.
LOADS = 3
CLOSED = "this client was closed"


class Call:
    """One command or script call on its way; `tries` tells how often it was sent."""

    __slots__ = ("data", "future", "repeatable", "script", "tries")

    def __init__(self, data: bytes, script: Script | None, repeatable: bool) -> None:
        self.data = data
        self.script = script
        self.repeatable = repeatable
        self.tries = 0
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answer(self, value: Any) -> None:
        """Hand the reply to whoever still waits for it."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: PointsmanError) -> None:
        """Hand the error to whoever still waits."""
        if not self.future.done():
            self.future.set_exception(error)


class Calls:
    """Send calls in the order in which they come, many at a time when many are in flight.

    One task, alive while there is something to send, writes what has gathered and reads the replies;
    meanwhile the next batch gathers. `timeout` is seconds for one exchange. A call that may be repeated
    is, at most `len(PAUSES)` times and for at most twice the timeout.
    """

    def __init__(self, connect: Connector, timeout: float) -> None:
        self._connection = connect()
        self._timeout = timeout
        self._queue: deque[Call] = deque()
        self._task: asyncio.Task[None] | None = None
        self._used = 0.0
        self._closed = False

    def command(self, *arguments: bytes | str | int) -> Call:
        """Send a command that may be repeated; await the call's `future`."""
        return self._submit(Call(pack(*arguments), None, repeatable=True))

    def script(self, script: Script, key: str, *arguments: str | int, repeatable: bool = True) -> Call:
        """Call a script with one key; await the call's `future`."""
        return self._submit(Call(pack("EVALSHA", script.sha, 1, key, *arguments), script, repeatable))

    async def aclose(self) -> None:
        """Stop; what is in flight fails."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._connection.disconnect(nowait=True)
        await asyncio.sleep(0)  # lets the transport say goodbye

    def _submit(self, call: Call) -> Call:
        if self._closed:
            raise RedisUnavailable(words=CLOSED)
        self._queue.append(call)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="pointsman publisher calls")
        return call

    async def _run(self) -> None:
        batch: list[Call] = []
        try:
            while self._queue:
                count = min(BATCH, len(self._queue))
                batch = [
                    call for call in (self._queue.popleft() for _ in range(count)) if not call.future.done()
                ]
                await self._deliver(batch)
        except BaseException as error:
            words = CLOSED if self._closed else repr(error)
            for call in (*batch, *self._queue):
                call.fail(RedisUnavailable(words=words))
            self._queue.clear()
            raise
        finally:
            self._task = None

    async def _deliver(self, batch: list[Call]) -> None:
        """Exchange a batch, and what of it may be repeated again if the connection breaks."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for pause in (*PAUSES, None):
            try:
                async with asyncio.timeout(self._timeout):
                    await self._prepare(loop.time())
                    await self._exchange_all(batch)
            except LOST as error:
                await self._connection.disconnect(nowait=True)
                words = str(error) or "no answer in time"
                batch = [call for call in batch if not call.future.done()]
                for call in batch:
                    if call.tries and not call.repeatable:
                        call.fail(RedisUnavailable(words=words))
                if pause is None or loop.time() - began >= 2 * self._timeout:
                    for call in (*batch, *self._queue):  # those that gathered would meet the same
                        call.fail(RedisUnavailable(words=words))
                    self._queue.clear()
                    return
                await asyncio.sleep(pause)
            except theirs.RedisError as error:  # refused before any call: access, database, protocol
                await self._connection.disconnect(nowait=True)
                for call in batch:
                    call.fail(RedisUnavailable(f"Redis refuses: {error}"))
                return
            else:
                self._used = loop.time()
                return

    async def _prepare(self, now: float) -> None:
        """Have a live connection: one that the server closed while it was quiet is made anew."""
        await self._connection.connect()
        if now - self._used > QUIET and await _stale(self._connection):
            await self._connection.disconnect(nowait=True)
            await self._connection.connect()

    async def _exchange_all(self, batch: Sequence[Call]) -> None:
        """Exchange the calls; load what scripts Redis does not know and repeat just those calls."""
        for _ in range(LOADS):
            batch = await self._exchange(batch)
            if not batch:
                return
            await self._load(batch)
        for call in batch:
            call.fail(RedisUnavailable("Redis forgets scripts as soon as they are loaded"))

    async def _exchange(self, batch: Sequence[Call]) -> list[Call]:
        """Write the calls, hand out their replies; return those whose script Redis does not know."""
        waiting = [call for call in batch if not call.future.done()]
        for call in waiting:
            call.tries += 1
        await self._connection.send_packed_command(b"".join([call.data for call in waiting]))
        missing: list[Call] = []
        elsewhere = False
        for call in waiting:
            try:
                call.answer(await self._connection.read_response())
            except theirs.NoScriptError:
                missing.append(call)
            except theirs.ResponseError as error:
                call.fail(told_by(error))
                elsewhere = elsewhere or points_elsewhere(error)
        if elsewhere:
            await self._connection.disconnect(nowait=True)
        return missing

    async def _load(self, calls: Sequence[Call]) -> None:
        scripts = {call.script.sha: call.script.text for call in calls if call.script is not None}
        await self._connection.send_packed_command(
            b"".join([pack("SCRIPT", "LOAD", text) for text in scripts.values()])
        )
        for _ in scripts:
            await self._connection.read_response()


async def _stale(connection: Connection) -> bool:
    try:
        return await connection.can_read()
    except LOST:
        return True


def points_elsewhere(error: theirs.ResponseError) -> bool:
    """Tell whether another server may serve us, as when a leader became a replica."""
    return isinstance(error, ELSEWHERE) or "-READONLY" in str(error)  # so 6.2 tells of a script
