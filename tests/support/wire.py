"""A wire between a client and its server that a test may cut, block, rob of a reply, or talk into.

Fixture: `make_wire(server)` gives a `Wire` that clients dial instead of the server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import pytest

from tests.support.host import LOOPBACK, free_port
from tests.support.redis import RedisServer

CHUNK = 65_536

MakeWire = Callable[[RedisServer], Awaitable["Wire"]]


class Wire:
    """A TCP relay on loopback; usable as an async context manager."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._lose_reply_to: bytes | None = None
        self.lost = 0
        """How many replies were taken from clients so far."""

    @property
    def url(self) -> str:
        """Return the redis:// address that goes over this wire."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    async def __aenter__(self) -> Self:
        """Start to relay."""
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        await self.sever()

    def lose_reply_to(self, word: str) -> None:
        """Let the next request that contains `word` reach the server; cut its client off before the reply."""
        self._lose_reply_to = word.encode()

    def block(self) -> None:
        """Let nothing through in either direction, connections stay open; new ones are taken and wait."""
        self._open.clear()

    def unblock(self) -> None:
        """Let through what was held up, and all that comes."""
        self._open.set()

    def say(self, words: bytes) -> None:
        """Say something to every client as if the server had."""
        for client, *_ in self._links.values():
            client.write(words)

    async def cut(self) -> None:
        """End all connections; new ones are welcome."""
        links = dict(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def sever(self) -> None:
        """End all connections and refuse new ones, until `mend`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def mend(self) -> None:
        """Take connections again, at the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._take, LOOPBACK, self.port)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = [writer]
        try:
            up_reader, up_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
            self._links[task].append(up_writer)
            robbed = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, up_writer, robbed, request=True))
                group.create_task(self._relay(up_reader, writer, robbed, request=False))
        except* OSError:
            pass  # one end is gone: so is the other, below
        finally:
            for end in self._links.pop(task):
                end.close()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        robbed: asyncio.Event,
        *,
        request: bool,
    ) -> None:
        while chunk := await reader.read(CHUNK):
            await self._open.wait()
            if request and self._lose_reply_to is not None and self._lose_reply_to in chunk:
                self._lose_reply_to = None
                robbed.set()
            elif not request and robbed.is_set():
                self.lost += 1
                break
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError("one end has closed")


@pytest.fixture
async def make_wire() -> AsyncIterator[MakeWire]:
    """Give a maker of wires to Redis servers; all end with the test."""
    async with AsyncExitStack() as stack:

        async def make(server: RedisServer) -> Wire:
            return await stack.enter_async_context(Wire(server.port))

        yield make
