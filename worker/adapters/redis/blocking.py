"""A connection for reads that wait: they must not hold up scripts, and must never be repeated unseen."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from worker.adapters.redis.joined import Arg

#: Seconds within which a connection is made.
CONNECT = 5.0


class Blocking:
    """One connection, made when it is needed; one caller at a time, for as long as that one waits."""

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
        #: The server's name for the connection, while there is one; None where the server does not tell.
        self.client_id: int | None = None

    async def ask(self, *words: Arg) -> Any:
        """Send a command and return its answer. Raises redis's errors, OSError."""
        [answer] = await self.ask_all(words)
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def ask_all(self, *commands: Sequence[Arg]) -> list[Any]:
        """Send commands together and return their answers; what one is refused for is its answer.

        A connection on which they failed or were given up is not used again. Raises redis's errors, OSError.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            if self.client_id is None:
                await connection.connect()
                [named] = await self._exchange(connection, ("CLIENT", "ID"))
                self.client_id = None if isinstance(named, ResponseError) else named
            answers = await self._exchange(connection, *commands)
        except BaseException:
            self.client_id = None
            await self._hang_up(connection)
            raise
        self._connection = connection
        return answers

    @staticmethod
    async def _exchange(connection: Any, *commands: Sequence[Arg]) -> list[Any]:
        packed = b"".join([hiredis.pack_command(tuple(words)) for words in commands])  # type: ignore[arg-type]
        await connection.send_packed_command(packed, check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response(timeout=math.inf, disconnect_on_error=False))
            except ResponseError as error:
                answers.append(error)
        return answers

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._hang_up(self._connection)
        await self._pool.disconnect()

    @staticmethod
    async def _hang_up(connection: Any) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await connection.disconnect(nowait=True)
