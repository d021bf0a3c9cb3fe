"""One connection for scripts: calls of many tasks go out together, answers come back in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError

from contracts.scripts import Script
from wire.connection import connector
from wire.line import NOTHING, Line
from worker.adapters.redis.joined import Arg, Joined, Reply
from worker.ports import RedisLost, RoomRefused


class Link:
    """A supervised connection to Redis that pipelines whatever waits.

    `run` keeps it connected, with `greet` called on each new connection before anybody else's calls. A
    call whose connection broke, or that got no answer within `call_timeout` seconds, raises `RedisLost`:
    it may or may not have been carried out, so nothing is repeated here.
    """

    def __init__(
        self, url: str, *, call_timeout: float, greet: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._connect = connector(url, within=call_timeout)
        self._call_timeout = call_timeout
        self.greet = greet
        self._up = asyncio.Event()
        self._line: Line | None = None
        self._outbox: list[bytes] = []
        self._joined: list[Joined] = []
        self._pending: deque[tuple[float, Reply]] = deque()
        self._lulled: list[Callable[[], object]] = []
        #: Whether what waits is about to be sent, and whether answers are being handed out.
        self._flushing = self._handing = False
        self.last_error: str | None = None
        #: Why the room refused the last greeting, None where Redis itself was the trouble.
        self.refusal: RoomRefused | None = None

    @property
    def up(self) -> bool:
        """Say whether a greeted connection is there."""
        return self._up.is_set()

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that this link lives in."""
        return asyncio.get_running_loop()

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        pause = 0.05
        while True:
            line = Line(self._connect, self._hear, encoding="utf-8")
            try:
                async with asyncio.timeout(self._call_timeout):
                    await line.connect()
                self._line, self._handing = line, False
                await self._serve(line)
            except (RedisError, OSError, TimeoutError, RedisLost, RoomRefused) as error:
                self.last_error = str(error) or type(error).__name__
                self.refusal = error if isinstance(error, RoomRefused) else None
            finally:
                if self._up.is_set():
                    pause = 0.05
                while self._hand_one(line):  # what came whole before the end
                    pass
                self._line = None
                self._up.clear()
                self._fail_pending()
                await line.close()
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _serve(self, line: Line) -> None:
        """Greet and serve until the line is lost or no use, and raise why."""
        duties = (
            asyncio.create_task(self._watch(line), name="link-watch"),
            asyncio.create_task(self._greet(line), name="link-greet"),
        )
        try:
            reason = await line.lost
        finally:
            for task in duties:
                task.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        raise reason

    async def _greet(self, line: Line) -> None:
        try:
            if self.greet is not None:
                await self.greet()
        except Exception as error:  # noqa: BLE001 -- `_serve` raises it
            line.end(error)
        else:
            self._up.set()

    def _hear(self, line: Line) -> None:
        if not self._handing:
            self._handing = True
            self._hand_out(line)

    def _hand_out(self, line: Line) -> None:
        """Hand out an answer; who gets it asks on before the next, so that Redis has work meanwhile."""
        if line is not self._line:
            return
        if self._hand_one(line):
            self.loop.call_soon(self._hand_out, line)
        else:
            self._handing = False
            if not (self._pending or self._joined):
                self._end_lull()

    def _hand_one(self, line: Line) -> bool:
        """Hand out the next answer; False where there is none."""
        answer = line.pull()
        if answer is NOTHING:
            return False
        if not self._pending:
            line.end(RedisLost("Redis answered what nobody asked"))
            return False
        if isinstance(answer, Exception):
            if _serves_no_more(answer):
                line.end(RedisLost(str(answer)))  # who waits is told of it then
                return False
            if str(answer).startswith("BUSY "):
                answer = RedisLost(str(answer))
        _, reply = self._pending.popleft()
        if reply.done():
            return True
        if isinstance(answer, Exception):
            reply.set_exception(answer)
            return True
        try:
            reply.set_result(answer)
        except (TypeError, ValueError) as error:  # of a batch, and it does not fit it
            lost = RedisLost(f"Redis gave an answer to something else: {error}")
            reply.set_exception(lost)
            line.end(lost)
        return True

    async def _watch(self, line: Line) -> None:
        """End a line on which the oldest call got no answer in time."""
        while True:
            await asyncio.sleep(self._call_timeout / 4)
            if self._pending and self.loop.time() - self._pending[0][0] > self._call_timeout:
                line.end(RedisLost(f"no answer within {self._call_timeout} s"))

    def _fail_pending(self) -> None:
        self._outbox.clear()
        joined, self._joined = self._joined, []
        for one in joined:
            one.fail(RedisLost(self.last_error or "the connection to Redis broke"))
        while self._pending:
            _, reply = self._pending.popleft()
            if not reply.done():
                reply.set_exception(RedisLost(self.last_error or "the connection to Redis broke"))

    def _send(self, *args: Arg) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.loop.create_future()
        self.send(future, *args)
        return future

    def send(self, reply: Reply, *args: Arg) -> None:
        """Send one command after all that was asked for before; its answer, or RedisLost, goes to `reply`."""
        self._send_joined()
        if self._line is None:
            reply.set_exception(RedisLost(self.last_error or "not connected to Redis"))
            return
        self._outbox.append(hiredis.pack_command(args))  # type: ignore[arg-type]
        self._pending.append((self.loop.time(), reply))
        self._flush_soon()

    def _send_joined(self) -> None:
        while self._joined:
            self._joined.pop(0).send()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send all that was asked for in this turn of the loop."""
        try:
            self._send_joined()
        finally:
            self._flushing = False
        packets, self._outbox = self._outbox, []
        if packets and self._line is not None:
            self._line.send(b"".join(packets))

    def post(self, joined: Joined) -> None:
        """Let calls that wait go out in this turn of the loop; at once, where Redis has nothing else to do."""
        if self._line is None:
            joined.fail(RedisLost(self.last_error or "not connected to Redis"))
            return
        self._joined.append(joined)
        if self._pending or self._handing or self._flushing:
            self._flush_soon()
        else:
            self._flushing = True
            self._flush()

    def after_lull(self, within: float, then: Callable[[], object]) -> None:
        """Call `then` once an answer leaves nothing outstanding, or after so many seconds."""
        if not self._lulled:
            self._lull_ends = self.loop.call_later(within, self._end_lull)
        self._lulled.append(then)

    def _end_lull(self) -> None:
        if self._lulled:
            self._lull_ends.cancel()
            lulled, self._lulled = self._lulled, []
            for then in lulled:
                then()

    async def ready(self) -> None:
        """Wait for a greeted connection; RedisLost after the call timeout."""
        if not self._up.is_set():
            try:
                async with asyncio.timeout(self._call_timeout):
                    await self._up.wait()
            except TimeoutError:
                raise RedisLost(self.last_error or "not connected to Redis") from None

    async def command(self, *args: Arg, greeting: bool = False) -> Any:
        """Send one command. Raises RedisLost, or redis's ResponseError."""
        if not greeting:
            await self.ready()
        return await self._send(*args)

    async def call(self, script: Script, key: str, *args: Arg, greeting: bool = False) -> Any:
        """Run a script on the room whose commands stream is `key`, loading it where the server has it not.

        Raises RedisLost, or redis's ResponseError.
        """
        if not greeting:
            await self.ready()
        try:
            return await self._send("EVALSHA", script.sha, 1, key, *args)
        except NoScriptError:
            pass
        # EVAL carries the text with it, so a flush of the script cache in between cannot fail it again.
        return await self._send("EVAL", script.text, 1, key, *args)

    def joined(self, script: Script, key: str, *shared: Arg) -> Joined:
        """Return a script that takes a batch: its calls go out together where several wait."""
        return Joined(self, script, key, *shared)


def _serves_no_more(error: Exception) -> bool:
    """Say whether an answer means that this connection is of no use: another server may serve us, or another try."""
    # Redis 6.2 tells of a script on a replica in these words.
    return isinstance(error, (ConnectionLost, ReadOnlyError, MasterDownError)) or "-READONLY" in str(error)
