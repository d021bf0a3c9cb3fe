"""Pipelined reads on connections of our own."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis.exceptions as theirs

from contracts.errors import PointsmanError, RedisUnavailable
from wire.connection import LOST, PAUSES, Connection, Connector, told_by

#: Commands written at a time, with one such slice ahead of the replies that are read: Redis works on
#: the next while we decode, and others get their turn in between.
#: Measured on two quiet cores: 10,000 services in 70 to 80 ms.
SLICE = 100
#: Connections kept for the next read.
IDLE = 2

T = TypeVar("T")


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
    raise told_by(reply)
