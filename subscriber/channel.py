"""The channel of a room: one subscription, read all the time, messages kept for a reader who may be slow."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import redis.exceptions as theirs

from contracts.errors import RedisUnavailable
from wire.connection import LOST, Connection, Connector, pack

#: What waits for a slow reader, at most; beyond it the messages are dropped, and `changes` has them.
MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024 * 1024
#: Tries for the first subscription.
TRIES = 4
LONGEST_PAUSE = 1.0
#: So many failures in a row are an absence; the first may be a connection that was closed on a whim.
AWAY = 2


class Signal(Enum):
    """What there is to know beside messages."""

    CONFIRMED = auto()
    """A subscription was confirmed: whatever was published before it may have been missed."""
    SILENT = auto()
    """Nothing came for a while, no heartbeat either, and the connection lives."""
    OVERFLOW = auto()
    """Messages were dropped here."""
    CLOSED = auto()


class Channel:
    """Listen from `start` to `aclose`, coming back by itself when the connection breaks.

    `silence`: seconds without a message after which the connection is asked whether it lives.
    `on_link` is called with the error's words when the connection broke and the first try to come back
    failed, and with None when a subscription stands again. `patience`: seconds without a subscription
    after which `next` raises RedisUnavailable, None for no end; the first has a few tries only.
    """

    def __init__(
        self,
        connect: Connector,
        name: str,
        *,
        timeout: float,
        silence: float,
        patience: float | None,
        on_link: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._name = name
        self._timeout = timeout
        self._silence = silence
        self._patience = patience
        self._on_link = on_link
        self._items: deque[bytes | Signal] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._failed: RedisUnavailable | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; once is enough."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name=f"pointsman channel {self._name}")

    async def next(self) -> bytes | Signal:
        """Return the next message or signal. A cancelled call loses none."""
        while not self._items:
            if self._closed:
                return Signal.CLOSED
            self.check()
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        if isinstance(item, bytes):
            self._bytes -= len(item)
        return item

    def check(self) -> None:
        """Raise RedisUnavailable when listening was given up."""
        if self._failed is not None:
            raise RedisUnavailable(self._failed.message) from self._failed

    async def aclose(self) -> None:
        """Stop; whoever waits gets CLOSED."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _put(self, item: bytes | Signal) -> None:
        if isinstance(item, bytes):
            self._bytes += len(item)
        if len(self._items) >= MAX_MESSAGES or self._bytes > MAX_BYTES:
            self._items.clear()
            self._bytes = 0
            item = Signal.OVERFLOW
        self._items.append(item)
        self._arrived.set()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        connection = self._connect()
        failures, confirmed, lost_at = 0, False, loop.time()
        try:
            while True:
                try:
                    await self._subscribe(connection)
                    if confirmed and failures >= AWAY:
                        self._on_link(None)
                    failures, confirmed = 0, True
                    self._put(Signal.CONFIRMED)
                    while True:
                        self._hear(await self._read(connection))
                except (*LOST, theirs.RedisError) as error:
                    await connection.disconnect(nowait=True)
                    if failures == 0 and confirmed:
                        lost_at = loop.time()
                    failures += 1
                    if confirmed and failures == AWAY:
                        self._on_link(_words(error))
                    away = loop.time() - lost_at
                    impatient = self._patience is not None and away >= self._patience
                    enough = failures >= TRIES or away >= 2 * self._timeout
                    if impatient or (enough and not confirmed):
                        self._failed = RedisUnavailable(words=_words(error))
                        return
                    await asyncio.sleep(min(LONGEST_PAUSE, 0.05 * 2 ** min(failures, 10)))
        finally:
            self._failed = self._failed or RedisUnavailable(words="the subscription ended")
            self._arrived.set()
            await connection.disconnect(nowait=True)

    async def _subscribe(self, connection: Connection) -> None:
        async with asyncio.timeout(self._timeout):
            await connection.connect()
            await connection.send_packed_command(pack("SUBSCRIBE", self._name))
            await connection.read_response()

    async def _read(self, connection: Connection) -> list[Any]:
        """Return the next message; a connection that is silent too long must answer or counts as lost."""
        message = await connection.read_response(timeout=self._silence)
        if message is None:
            await connection.send_packed_command(pack("PING"))
            message = await connection.read_response(timeout=self._timeout)
        if message is None:
            raise theirs.TimeoutError("the subscription is silent")
        return message  # type: ignore[no-any-return]

    def _hear(self, message: list[Any]) -> None:
        if message[0] == b"message":
            self._put(message[2])
        elif message[0] == b"pong" and (not self._items or self._items[-1] is not Signal.SILENT):
            self._put(Signal.SILENT)


def _words(error: Exception) -> str:
    return str(error) or "no answer in time"
