"""Connections to Redis with every setting explicit, and what their errors mean to a client.

Foreign exceptions end with those who use them: what callers see is `RedisUnavailable`, or `MalformedRecord`
where a key holds what the contract does not put there.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis
import redis.exceptions as theirs
from redis.asyncio import Connection as TcpConnection
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contracts.errors import MalformedRecord, PointsmanError, RedisUnavailable

#: Where Redis is: a URL, or a client whose address and credentials are taken (its connections are not).
Source = str | Redis
#: Makes a connection, not yet connected.
Connector = Callable[[], "Connection"]

#: The server is not there, or not there any more; an operation under way may have been done.
LOST = (theirs.ConnectionError, theirs.TimeoutError, OSError, EOFError)
#: Seconds between one try and the next; the first repetition is at once, on a fresh connection.
PAUSES = (0.0, 0.1, 0.3, 0.9)
CONNECT_TIMEOUT = 2.0


class Connection(Protocol):
    """What is used of redis-py's connection."""

    async def connect(self) -> None:
        """Connect if need be, and say who we are."""

    async def disconnect(self, nowait: bool = False) -> None:
        """Disconnect; without `nowait` wait until the socket is closed."""

    async def can_read(self) -> bool:
        """Say whether there is something to read, the end of the stream too."""

    async def send_packed_command(self, command: bytes) -> None:
        """Write bytes of the protocol."""

    async def read_response(self, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- redis-py's word
        """Read one reply; with a `timeout` in seconds None when it runs out. Raises error replies."""


def connector(source: Source, *, within: float = CONNECT_TIMEOUT) -> Connector:
    """Return what makes connections, not yet connected, with every setting explicit.

    RESP 2, so that replies have one shape; bytes; none of redis-py's silent repetitions; no timeout
    for single reads, because each exchange has one as a whole; `within` seconds to be connected.
    Raises ValueError for what is no URL.
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
        "socket_connect_timeout": within,
        "health_check_interval": 0,
    }
    if issubclass(pool.connection_class, TcpConnection):  # a unix socket's refuses the word
        settings["socket_keepalive"] = True
    return lambda: cast("Connection", pool.connection_class(**settings))


def pack(*arguments: bytes | str | int) -> bytes:
    """Return one command as bytes of the protocol."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]
    return packed


def told_by(error: theirs.ResponseError) -> PointsmanError:
    """Return what an error reply means to us."""
    if str(error).startswith("WRONGTYPE"):
        return MalformedRecord(str(error))
    return RedisUnavailable(f"Redis refuses: {error}")
