"""One room followed once: a warm model of its services, and the events handed to every reader."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

import msgspec

from contracts.codec import event_to_json
from contracts.errors import MalformedRecord, PointsmanError, RedisUnavailable
from contracts.events import CommandData, Event, EventType, ServiceData
from gateway.bodies import ResetNotice
from gateway.clock import now_ms
from gateway.log import Log
from gateway.model import Model
from gateway.readers import Item, Reader
from subscriber import Change, Reset, Subscriber

#: Events kept here for readers who come back, and their bytes; older ones are read from Redis.
KEPT = 10_000
KEPT_BYTES = 8 * 1024 * 1024
#: Events read from Redis at a time for a reader who was away longer.
PAGE = 500
#: Bytes of kept events handed to a client at a time.
SLICE = 65_536
LONGEST_PAUSE = 2.0
#: Digits of the greatest revision that anybody could have seen.
MOST_DIGITS = 18

_encode = msgspec.json.Encoder().encode


class Hub:
    """Follow a room from `start` to `aclose`."""

    def __init__(self, subscriber: Subscriber, log: Log) -> None:
        self.room = subscriber.keys.room
        self.model = Model()
        self.epoch: str | None = None
        self.revision = 0
        self.synced = False
        self.failure: PointsmanError | None = None
        self.readers: set[Reader] = set()
        self._subscriber = subscriber
        self._log = log
        self._kept: deque[Item] = deque()
        self._kept_bytes = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow; once is enough."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name=f"pointsman gateway hub {self.room}")

    async def aclose(self) -> None:
        """Stop; readers end after what waits for them."""
        for reader in self.readers:
            reader.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def ready(self, seconds: float) -> None:
        """Return when there is a model. Raises RedisUnavailable where none came in time."""
        try:
            async with asyncio.timeout(seconds):
                while not self.synced:
                    if self.failure is not None:
                        raise type(self.failure)(self.failure.message)
                    await self._moved.wait()
        except TimeoutError:
            raise RedisUnavailable(words="the room could not be read in time") from None

    def reached(self, epoch: str | None, revision: int) -> bool:
        """Say whether the model is at least at that revision of that epoch."""
        return self.epoch == epoch and self.revision >= revision

    async def reach(self, epoch: str | None, revision: int, seconds: float) -> bool:
        """Wait for a revision; say whether it came in time."""
        try:
            async with asyncio.timeout(seconds):
                while not self.reached(epoch, revision):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    @property
    def position(self) -> str:
        """Return `<epoch>/<revision>`, empty in a room that was never served."""
        return "" if self.epoch is None else f"{self.epoch}/{self.revision}"

    # Readers.

    async def admit(self, reader: Reader, last_id: str | None) -> AsyncIterator[bytes]:
        """Let a reader in where it was, or with a reset where that is not known any more.

        Gives what was missed in pieces, so that a slow client is waited for; behind the last piece
        everything waits in the reader. Raises RedisUnavailable.
        """
        revision, reason = self._place(last_id)
        epoch = self.epoch
        while reason is None:
            if self.epoch != epoch:
                reason = "epoch"
            elif revision + 1 >= self._first:
                piece, revision, whole = self._slice(reader, revision)
                if whole:
                    reader.push(piece)
                    self.readers.add(reader)
                    return
                yield piece
            else:
                events = await self._subscriber.changes(revision, PAGE)
                numbers = [event.number for event in events if event.epoch == epoch]
                if not events or numbers != list(range(revision + 1, revision + 1 + len(events))):
                    reason = "trimmed"
                    continue
                revision = numbers[-1]
                items = (_item(event) for event in events)
                yield b"".join([item.chunk for item in items if reader.wants(item)])
        self._begin(reader, reason)

    def _place(self, last_id: str | None) -> tuple[int, str | None]:
        """Return the revision after which a reader goes on, or why it must begin anew."""
        if last_id is None:
            return 0, "start"
        epoch, _, number = last_id.rpartition("/")
        if not epoch or not (number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS):
            return 0, "unknown_id"
        if epoch != self.epoch:
            return 0, "epoch"
        revision = int(number)
        return revision, "backwards" if revision > self.revision else None

    @property
    def _first(self) -> int:
        """Return the first revision that is kept here, or the next one."""
        return self._kept[0].revision if self._kept else self.revision + 1

    def _slice(self, reader: Reader, revision: int) -> tuple[bytes, int, bool]:
        """Return kept events after a revision, the last one's revision, and whether that is all."""
        chunks: list[bytes] = []
        size = 0
        for item in islice(self._kept, revision + 1 - self._first, None):
            if size >= SLICE:
                return b"".join(chunks), revision, False
            revision = item.revision
            if reader.wants(item):
                chunks.append(item.chunk)
                size += len(item.chunk)
        return b"".join(chunks), revision, True

    def leave(self, reader: Reader) -> None:
        """Let a reader go."""
        self.readers.discard(reader)

    def beat(self, chunk: bytes) -> None:
        """Hand every reader a heartbeat."""
        for reader in self.readers:
            reader.beat(chunk)

    def _begin(self, reader: Reader, reason: str) -> None:
        """Let a reader begin with what is there now, and nothing from before."""
        reader.clear()
        reader.push(self._reset_chunk(reason, snapshots=reader.snapshots))
        self.readers.add(reader)

    # The room.

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                async with self._subscriber.watch() as watch:
                    async for item in watch:
                        failures = 0
                        match item:
                            case Reset():
                                self._begin_anew(item, await self._before(item))
                            case Change(event=event):
                                self._take(event)
                self.failure = RedisUnavailable(words="the subscription ended")
            except (RedisUnavailable, MalformedRecord) as error:
                self.failure = error
            failures += 1
            self._log.warning(
                "follow_failed",
                "Cannot follow the room; trying again",
                room=self.room,
                error=str(self.failure),
            )
            self._tell()
            await asyncio.sleep(min(LONGEST_PAUSE, 0.1 * 2 ** min(failures, 8)))

    async def _before(self, reset: Reset) -> list[Item]:
        """Return the events up to a reset, for readers who come back to a gateway that was started anew."""
        items = [_item(e) for e in await self._subscriber.latest_changes(PAGE) if e.epoch == reset.epoch]
        items = [item for item in items if item.revision <= reset.revision]
        whole = not items or (
            items[-1].revision == reset.revision and len(items) == reset.revision - items[0].revision + 1
        )
        return items if whole else []

    def _begin_anew(self, reset: Reset, before: list[Item]) -> None:
        self.model = Model(reset.snapshots)
        self.epoch, self.revision = reset.epoch, reset.revision
        self.synced, self.failure = True, None
        self._kept = deque(before)
        self._kept_bytes = sum(len(item.chunk) for item in before)
        self._log.info(
            "room_read",
            "The room's services were read anew",
            room=self.room,
            services=len(self.model),
            position=self.position,
            why=str(reset.reason),
        )
        self._tell()
        chunks: dict[bool, bytes] = {}
        for reader in self.readers:
            if reader.snapshots not in chunks:
                chunks[reader.snapshots] = self._reset_chunk(str(reset.reason), snapshots=reader.snapshots)
            reader.clear()  # what waited is part of what the reset tells
            reader.push(chunks[reader.snapshots])

    def _take(self, event: Event) -> None:
        match event.data:
            case ServiceData(service=snapshot):
                if event.type == EventType.SERVICE_REMOVED:
                    self.model.drop(snapshot.name)
                else:
                    self.model.put(snapshot)
            case _:
                pass
        self.revision = event.number
        item = _item(event)
        self._kept.append(item)
        self._kept_bytes += len(item.chunk)
        while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().chunk)
        for reader in self.readers:
            if reader.wants(item):
                reader.push(item.chunk)
        self._tell()

    def _tell(self) -> None:
        """Wake those who wait for a revision."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _reset_chunk(self, reason: str, *, snapshots: bool) -> bytes:
        notice = _encode(
            ResetNotice(room=self.room, epoch=self.epoch, revision=self.revision, reason=reason, reset=True)
        )
        if snapshots:
            from_now = self.model.services_json(now_ms(), full=True)
            notice = notice[:-1] + b',"services":' + from_now + b"}"
        return framed("reset", notice, self.position or None)


def _item(event: Event) -> Item:
    match event.data:
        case ServiceData(service=snapshot):
            service: str | None = snapshot.name
        case CommandData(command=receipt):
            service = receipt.service
        case _:
            service = None
    return Item(framed(event.type, event_to_json(event), event.id), event.number, service)


def framed(kind: str, data: bytes, event_id: str | None = None) -> bytes:
    """Return one server-sent event; `data` is JSON on one line."""
    head = b"" if event_id is None else b"id: %b\n" % event_id.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), data)
