"""The seam to Redis for readers: pipelined reads on connections of our own.

Foreign exceptions end here: what callers see is `RedisUnavailable`, or `MalformedRecord` where a key
holds what the contract does not put there.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import redis.exceptions as theirs
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contracts.errors import MalformedRecord, PointsmanError, RedisUnavailable

#: Where Redis is: a URL, or a client whose address and credentials are taken (its connections are not).
Source = str | Redis
#: Makes a connection, not yet connected.
Connector = Callable[[], "Connection"]

#: The server is not there, or not there any more.
LOST = (theirs.ConnectionError, theirs.TimeoutError, OSError, EOFError)
#: Commands written at a time, with one such slice ahead of the replies that are read: Redis works on
#: the next while we decode, and others get their turn in between.
#: Measured on two quiet cores: 10,000 services in 70 to 80 ms.
SLICE = 100
#: Seconds between one try and the next; the first repetition is at once, on a fresh connection.
PAUSES = (0.0, 0.1, 0.3, 0.9)
#: Connections kept for the next read.
IDLE = 2
CONNECT_TIMEOUT = 2.0

T = TypeVar("T")


class Connection(Protocol):
    """What is used of redis-py's connection."""

    async def connect(self) -> None:
        """Connect if need be, and say who we are."""

    async def disconnect(self, nowait: bool = False) -> None:
        """Disconnect; without `nowait` wait until the socket is closed."""

    async def send_packed_command(self, command: bytes) -> None:
        """Write bytes of the protocol."""

    async def read_response(self, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- redis-py's word
        """Read one reply; with a `timeout` in seconds None when it runs out. Raises error replies."""


def connector(source: Source) -> Connector:
    """Return what makes connections, not yet connected, with every setting explicit.

    RESP 2, so that replies have one shape; bytes; none of redis-py's silent repetitions; no timeout
    for single reads, because each exchange has one as a whole. Raises ValueError for what is no URL.
    """
    pool = ConnectionPool.from_url(source) if isinstance(source, str) else source.connection_pool
    settings = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(("maint_", "orig_"))  # of RESP 3 only
    }
    settings |= {
        "protocol": 2,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "retry_on_timeout": False,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "health_check_interval": 0,
    }
    return lambda: cast("Connection", pool.connection_class(**settings))


def pack(*arguments: bytes | str | int) -> bytes:
    """Return one command as bytes of the protocol."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Reads:
    """Pipelined reads, repeated a bounded number of times when the connection breaks.

    `timeout` is seconds without progress. Several reads at once use a connection each.
    """

    def __init__(self, connect: Connector, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._idle: list[Connection] = []
        self.closed = False

    async def read(self, *commands: bytes) -> list[Any]:
        """Return the replies, in order. Raises the first error reply, and RedisUnavailable."""
        return await self.decoded(commands, checked)

    async def decoded(self, commands: Sequence[bytes], decode: Callable[[Any], T]) -> list[T]:
        """Return what `decode` makes of each reply; it is given error replies as exceptions."""
        if self.closed:
            raise RedisUnavailable(words="this client was closed")
        began = asyncio.get_running_loop().time()
        for pause in (*PAUSES, None):
            try:
                return await self._attempt(commands, decode)
            except LOST as error:
                waited = asyncio.get_running_loop().time() - began
                if pause is None or waited >= 2 * self._timeout:
                    raise RedisUnavailable(words=str(error) or "no answer in time") from error
                await asyncio.sleep(pause)
            except theirs.RedisError as error:
                raise RedisUnavailable(f"Redis refuses: {error}") from error
        raise AssertionError("the last pause is None")

    async def aclose(self) -> None:
        """Close the connections that nobody uses; those in use are closed after use."""
        self.closed = True
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)
        await asyncio.sleep(0)  # lets the transports say goodbye

    async def _attempt(self, commands: Sequence[bytes], decode: Callable[[Any], T]) -> list[T]:
        connection = self._idle.pop() if self._idle else self._connect()
        whole = False
        try:
            result = await self._exchange(connection, commands, decode)
            whole = True
        finally:
            if whole and not self.closed and len(self._idle) < IDLE:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
        return result

    async def _exchange(
        self, connection: Connection, commands: Sequence[bytes], decode: Callable[[Any], T]
    ) -> list[T]:
        loop = asyncio.get_running_loop()
        slices = [commands[start : start + SLICE] for start in range(0, len(commands), SLICE)]
        result: list[T] = []
        error: PointsmanError | None = None
        async with asyncio.timeout(self._timeout) as limit:
            await connection.connect()
            for number in range(len(slices) + 1):
                if number < len(slices):
                    await connection.send_packed_command(b"".join(slices[number]))
                if number == 0:
                    continue
                replies = [await _reply(connection) for _ in slices[number - 1]]
                limit.reschedule(loop.time() + self._timeout)
                try:
                    if error is None:
                        result += [decode(reply) for reply in replies]
                except PointsmanError as raised:  # all replies are read first, so the connection stays good
                    error = raised
                await asyncio.sleep(0)
        if error is not None:
            raise error
        return result


async def _reply(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except theirs.ResponseError as error:
        return error


def checked(reply: Any) -> Any:
    """Return a reply; raise one that is an error."""
    if not isinstance(reply, theirs.ResponseError):
        return reply
    if str(reply).startswith("WRONGTYPE"):
        raise MalformedRecord(str(reply))
    raise RedisUnavailable(f"Redis refuses: {reply}")
