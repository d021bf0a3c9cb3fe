"""A connection for reads that wait: they must not hold up scripts, and must never be repeated unseen."""

import math
from contextlib import suppress
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: Seconds within which a connection is made.
CONNECT = 5.0


class Blocking:
    """One connection, made when it is needed; one command at a time, for as long as its caller waits."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
            socket_timeout=None,  # the caller has a bound
            socket_connect_timeout=CONNECT,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._connection: Any = None

    async def ask(self, *words: str | int) -> Any:
        """Send a command and return its answer.

        A connection on which one failed or was given up is not used again. Raises redis's errors, OSError.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_packed_command(hiredis.pack_command(words), check_health=False)  # type: ignore[arg-type]
            answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except BaseException:
            await self._hang_up(connection)
            raise
        self._connection = connection
        return answer

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._hang_up(self._connection)
        await self._pool.disconnect()

    @staticmethod
    async def _hang_up(connection: Any) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await connection.disconnect(nowait=True)
