"""One connection for scripts: calls of many tasks go out together, answers come back in order."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from contracts.scripts import Script
from worker.adapters.redis.joined import Arg, Joined, Reply
from worker.ports import RedisLost, RoomRefused

#: Calls of one script that go out as one. More would save little, and Redis and worker would wait for each other.
BATCH = 16
#: Answers that mean: this server cannot serve us now, another may.
_ELSEWHERE = (ReadOnlyError, BusyLoadingError, MasterDownError)


class Link:
    """A supervised connection to Redis that pipelines whatever waits.

    `run` keeps it connected, with `greet` called on each new connection before anybody else's calls. A
    call whose connection broke, or that got no answer within `call_timeout` seconds, raises `RedisLost`:
    it may or may not have been carried out, so nothing is repeated here.
    """

    def __init__(
        self, url: str, *, call_timeout: float, greet: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        # redis-py's connections over a unix socket know no keepalive and refuse the word.
        tcp_only: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._pool = ConnectionPool.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
            socket_timeout=None,  # reads wait; `_watch` bounds each call
            socket_connect_timeout=call_timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            **tcp_only,
        )
        self._call_timeout = call_timeout
        self.greet = greet
        self._up = asyncio.Event()
        self._outbox: list[bytes] = []
        self._joined: list[Joined] = []
        self._flush = asyncio.Event()
        self._pending: deque[tuple[float, Reply]] = deque()
        self._open = False
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
            connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(self._call_timeout):
                    await connection.connect()
                self._open = True
                await self._serve(connection)
            except (RedisError, OSError, TimeoutError, RedisLost, RoomRefused) as error:
                self.last_error = str(error) or type(error).__name__
                self.refusal = error if isinstance(error, RoomRefused) else None
            finally:
                if self._up.is_set():
                    pause = 0.05
                self._open = False
                self._up.clear()
                self._fail_pending()
                with suppress(RedisError, OSError, TimeoutError):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _serve(self, connection: Any) -> None:
        """Greet and serve until a duty fails, and raise why; a task group might lose a cancellation."""
        duties = {
            asyncio.create_task(self._write(connection), name="link-write"),
            asyncio.create_task(self._read(connection), name="link-read"),
            asyncio.create_task(self._watch(), name="link-watch"),
        }
        greeting = asyncio.create_task(self._greet(), name="link-greet")
        try:
            await asyncio.wait({*duties, greeting}, return_when=asyncio.FIRST_COMPLETED)
            if greeting.done() and greeting.exception() is None:
                await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in (*duties, greeting) if task.done() and task.exception() is not None]
        finally:
            for task in (*duties, greeting):
                task.cancel()
            await asyncio.gather(*duties, greeting, return_exceptions=True)
        for task in failed:
            task.result()

    async def _greet(self) -> None:
        if self.greet is not None:
            await self.greet()
        self._up.set()

    async def _write(self, connection: Any) -> None:
        while True:
            await self._flush.wait()
            self._send_joined()
            self._flush.clear()
            packets, self._outbox = self._outbox, []
            if packets:
                await connection.send_packed_command(b"".join(packets), check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            answer: Any
            try:
                # Left to itself it would disconnect upon an error, under the hands of `_write`.
                answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except _ELSEWHERE as error:
                raise RedisLost(str(error)) from error
            except ResponseError as error:
                if "-READONLY" in str(error):  # so Redis 6.2 tells of a script on a replica
                    raise RedisLost(str(error)) from error
                answer = RedisLost(str(error)) if str(error).startswith("BUSY ") else error
            _, reply = self._pending.popleft()
            if reply.done():
                continue
            if isinstance(answer, Exception):
                reply.set_exception(answer)
            else:
                reply.set_result(answer)
            # Who was answered asks on before the next answer is read, so that Redis has work meanwhile.
            await asyncio.sleep(0)

    async def _watch(self) -> None:
        """End a connection on which the oldest call got no answer in time."""
        while True:
            await asyncio.sleep(self._call_timeout / 4)
            if self._pending and self.loop.time() - self._pending[0][0] > self._call_timeout:
                raise RedisLost(f"no answer within {self._call_timeout} s")

    def _fail_pending(self) -> None:
        self._outbox.clear()
        self._flush.clear()
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
        if not self._open:
            reply.set_exception(RedisLost(self.last_error or "not connected to Redis"))
            return
        self._outbox.append(hiredis.pack_command(args))  # type: ignore[arg-type]
        self._pending.append((self.loop.time(), reply))
        self._flush.set()

    def _send_joined(self) -> None:
        while self._joined:
            self._joined.pop(0).send()

    def post(self, joined: Joined) -> None:
        """Let calls that wait go out in this turn of the loop. Raises RedisLost where there is no connection."""
        if not self._open:
            raise RedisLost(self.last_error or "not connected to Redis")
        self._joined.append(joined)
        self._flush.set()

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

    async def close(self) -> None:
        """Release the pool; `run` must have ended."""
        await self._pool.disconnect()
