"""One reader of a room's events: what waits for it, and when it is cut."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from msgspec import Struct


class Item(Struct, frozen=True):
    """One event of a stream; `service` is the one it is about, if it is about one."""

    chunk: bytes
    revision: int
    service: str | None


class Reader:
    """Chunks on their way to one client.

    `names`: only what is about these services. Beyond `most_events` or `most_bytes` waiting, the reader
    is cut: it may come back and say where it was. `on_cut` is called then, because whoever sends may be
    waiting for the client; `on_end` when no more will come.
    """

    def __init__(
        self, names: Collection[str] | None, *, most_events: int, most_bytes: int, snapshots: bool = False
    ) -> None:
        self.names = None if names is None else frozenset(names)
        self.snapshots = snapshots
        self.cut = False
        self.ended = False
        self.on_cut: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def wants(self, item: Item) -> bool:
        """Say whether this is for this reader."""
        return self.names is None or item.service in self.names

    def push(self, chunk: bytes) -> None:
        """Let a chunk wait for the client."""
        if self.cut or self.ended or not chunk:
            return
        full = len(self._waiting) >= self._most_events or self._bytes + len(chunk) > self._most_bytes
        # A single chunk above the limit (a reset with very many services) goes to who has taken all else.
        if full and self._waiting:
            self.cut = True
            self.clear()
            self._arrived.set()
            self.on_cut()
            return
        self._waiting.append(chunk)
        self._bytes += len(chunk)
        self._arrived.set()

    def beat(self, chunk: bytes) -> None:
        """Let a heartbeat wait, unless something does already."""
        if not self._waiting:
            self.push(chunk)

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._bytes = 0

    def end(self) -> None:
        """Let the stream end after what waits."""
        self.ended = True
        self._arrived.set()
        self.on_end()

    async def take(self, most: int = 65_536) -> bytes:
        """Return what waits, up to about `most` bytes in one piece; empty at the end."""
        while not self._waiting:
            if self.cut or self.ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < most:
            chunk = self._waiting.popleft()
            parts.append(chunk)
            size += len(chunk)
        self._bytes -= size
        return b"".join(parts)


def _nothing() -> None:
    """Do nothing."""
