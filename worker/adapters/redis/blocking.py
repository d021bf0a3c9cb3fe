"""A connection for reads that wait: they must not hold up scripts, and must never be repeated unseen."""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError

from wire.connection import connector
from wire.line import NOTHING, Line
from worker.adapters.redis.joined import Arg

#: Seconds within which a connection is made.
CONNECT = 5.0


class Blocking:
    """One connection, made when it is needed; one caller at a time, for as long as that one waits."""

    def __init__(self, url: str) -> None:
        self._connect = connector(url, within=CONNECT)
        self._line: Line | None = None
        self._answers: list[Any] = []
        self._wanted = 0
        self._whole: asyncio.Future[None] | None = None
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
        try:
            if self._line is None:
                self._line = Line(self._connect, self._hear, encoding="utf-8")
                await self._line.connect()
                [named] = await self._exchange(self._line, ("CLIENT", "ID"))
                self.client_id = None if isinstance(named, ResponseError) else named
            return await self._exchange(self._line, *commands)
        except BaseException:
            await self.close()
            raise

    async def _exchange(self, line: Line, *commands: Sequence[Arg]) -> list[Any]:
        whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers, self._wanted, self._whole = [], len(commands), whole

        def fail(lost: asyncio.Future[Exception]) -> None:
            if not whole.done():
                whole.set_exception(lost.result())

        line.lost.add_done_callback(fail)
        try:
            line.send(b"".join([hiredis.pack_command(tuple(words)) for words in commands]))  # type: ignore[arg-type]
            await whole
        finally:
            line.lost.remove_done_callback(fail)
        for answer in self._answers:
            # A server that loads its data, or wants to know who we are, says so in place of an answer.
            if isinstance(answer, ConnectionLost):
                raise answer
        return self._answers

    def _hear(self, line: Line) -> None:
        while line is self._line and (answer := line.pull()) is not NOTHING:
            self._answers.append(answer)
        if self._whole is not None and not self._whole.done() and len(self._answers) >= self._wanted:
            self._whole.set_result(None)

    async def close(self) -> None:
        """Close the connection."""
        line, self._line, self.client_id = self._line, None, None
        if line is not None:
            await line.close()
