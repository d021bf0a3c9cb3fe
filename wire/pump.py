"""For connections without a transport, as those of a Redis that is pretended: redis-py's own reading and writing."""

import asyncio
from collections import deque
from typing import Any, Protocol

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError


class Listener(Protocol):
    """Whoever is told of answers and of the end."""

    def answers_came(self) -> None:
        """Say that there is something to get."""
        ...

    def connection_lost(self, exc: Exception | None, /) -> None:
        """Say that no more will come."""
        ...


class Pump:
    """Stands in for a transport and a parser, with a task that writes and one that reads."""

    def __init__(self, connection: Any, listener: Listener, nothing: object) -> None:
        self._connection = connection
        self._listener = listener
        self._nothing = nothing
        self._answers: deque[Any] = deque()
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    def write(self, data: bytes) -> None:
        """Send bytes, after those before."""
        self._outbox.put_nowait(data)

    def abort(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()

    def pause_reading(self) -> None:
        """Do nothing: there is no other process that could have the core."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def gets(self) -> Any:
        """Return the next answer, or what stands for nothing."""
        return self._answers.popleft() if self._answers else self._nothing

    async def _write(self) -> None:
        try:
            while True:
                await self._connection.send_packed_command(await self._outbox.get())
        except (RedisError, OSError) as error:
            self._listener.connection_lost(error)

    async def _read(self) -> None:
        try:
            while True:
                try:
                    answer = await self._connection.read_response()
                except ConnectionLost:
                    raise
                except ResponseError as error:
                    answer = error
                self._answers.append(answer)
                self._listener.answers_came()
        except (RedisError, OSError) as error:
            self._listener.connection_lost(error)
