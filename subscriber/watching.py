"""Follow a room: all its snapshots once, then every event, in order, without a gap."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from msgspec import Struct

from contracts.codec import event_from_json
from contracts.errors import MalformedRecord, RedisUnavailable
from contracts.events import CommandData, Event, EventType, ServiceData
from contracts.keys import Keys
from contracts.services import Snapshot
from subscriber.channel import Channel, Signal
from subscriber.log import Page, ResetReason, read_head, read_page
from subscriber.reads import Reads
from subscriber.snapshots import read_snapshots

#: Events read from `changes` at a time.
PAGE = 500
LONGEST_PAUSE = 1.0


class Reset(Struct, frozen=True, kw_only=True):
    """Begin anew: the snapshots as they are at `revision`, and forget what was before.

    `epoch` is None, and there is nothing, where no worker has ever served the room.
    """

    snapshots: tuple[Snapshot, ...]
    epoch: str | None
    revision: int
    reason: ResetReason


class Change(Struct, frozen=True):
    """The event of the next revision."""

    event: Event


class Watch:
    """An endless async iterator of `Reset` (first, and whenever needed) and `Change`.

    After a reset at revision R come the events R+1, R+2, …, each once, but for those that `names` and
    `types` leave out. Close it, or use it as `async with`; the subscriber closes what is left open.
    While Redis is away it waits, and goes on where it was when it can.
    """

    def __init__(
        self,
        reads: Reads,
        keys: Keys,
        channel: Channel,
        names: Collection[str] | None,
        types: Collection[str] | None,
        closed: Callable[["Watch"], None],
    ) -> None:
        self._reads = reads
        self._keys = keys
        self._channel = channel
        self._names = None if names is None else frozenset(names)
        self._types = None if types is None else frozenset(types)
        self._ready: deque[Reset | Change] = deque()
        self._epoch: str | None = None
        self._revision = 0
        self._confirmed = False
        self._behind = False
        self._why: ResetReason | None = ResetReason.START
        #: The epoch of a message that is not of ours, and the epochs known to be gone.
        self._suspect: str | None = None
        self._gone: set[str] = set()
        self._closed = False
        self._on_close = closed

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening; the iteration ends."""
        self._closed = True
        self._on_close(self)
        await self._channel.aclose()

    async def __anext__(self) -> Reset | Change:
        # Every step leaves the state whole wherever it is cancelled, so that a caller may give up
        # waiting and come back.
        self._channel.start()
        failures = 0
        while not self._ready:
            if self._closed:
                raise StopAsyncIteration
            try:
                await self._step()
                failures = 0
            except RedisUnavailable:
                if self._closed:
                    continue
                self._channel.check()
                if self._epoch is None and self._why is ResetReason.START:
                    raise
                failures += 1
                await asyncio.sleep(min(LONGEST_PAUSE, 0.05 * 2 ** min(failures, 10)))
        return self._ready.popleft()

    async def _step(self) -> None:
        if not self._confirmed or (self._why is None and not self._behind):
            self._take(await self._channel.next())
        elif self._why is not None:
            await self._begin_anew(self._why)
        else:
            await self._catch_up()

    def _take(self, item: bytes | Signal) -> None:
        """Take in a message or a signal; what needs a look at Redis is left for the next step."""
        if item is Signal.CLOSED:
            self._closed = True
            return
        if isinstance(item, Signal):
            self._behind = self._confirmed
            self._confirmed = True
            return
        try:
            event = event_from_json(item)
            number = event.number
        except (MalformedRecord, ValueError):
            return  # anybody can publish; if it stood for an event, the next one shows the gap
        if event.epoch != self._epoch:
            if event.epoch not in self._gone:
                self._suspect, self._behind = event.epoch, True
        elif number == self._revision + 1 and event.type != EventType.ROOM_HEARTBEAT:
            self._deliver(event)
        elif number > self._revision:
            self._behind = True

    def _deliver(self, event: Event) -> None:
        self._revision = event.number
        if self._wanted(event):
            self._ready.append(Change(event))

    def _wanted(self, event: Event) -> bool:
        if self._types is not None and event.type not in self._types:
            return False
        if self._names is None:
            return True
        match event.data:
            case ServiceData(service=service):
                return service.name in self._names
            case CommandData(command=command):
                return command.service in self._names
            case _:
                return False

    async def _catch_up(self) -> None:
        """Read a page of what was missed."""
        page = await read_page(self._reads, self._keys, self._epoch, self._revision, PAGE)
        for event in page.events:
            self._deliver(event)
        if page.broken is not None:
            self._why = page.broken
            return
        if self._suspect is not None:  # ours is the room's epoch still, so that one is an older one
            self._gone.add(self._suspect)
            self._suspect = None
        self._behind = self._revision < page.revision

    async def _begin_anew(self, why: ResetReason) -> None:
        """Read the snapshots and bring them to one revision, by the events since the first look."""
        while True:
            epoch, revision = await read_head(self._reads, self._keys)
            snapshots = await read_snapshots(self._reads, self._keys, self._names)
            page = await read_page(self._reads, self._keys, epoch, revision, PAGE)
            while page.broken is None and page.events:
                revision = self._apply(page, snapshots)
                page = await read_page(self._reads, self._keys, epoch, revision, PAGE)
            if page.broken is None:
                break
        ordered = tuple(snapshots[name] for name in sorted(snapshots))
        self._epoch, self._revision = epoch, revision
        self._why, self._behind, self._suspect = None, False, None
        self._ready.append(Reset(snapshots=ordered, epoch=epoch, revision=revision, reason=why))

    def _apply(self, page: Page, snapshots: dict[str, Snapshot]) -> int:
        """Apply the events to the snapshots, each only above that snapshot's own revision."""
        for event in page.events:
            if not isinstance(event.data, ServiceData):
                continue
            snapshot = event.data.service
            known = snapshots.get(snapshot.name)
            if known is not None and known.revision >= event.number:
                continue
            if self._names is not None and snapshot.name not in self._names:
                continue
            if event.type == EventType.SERVICE_REMOVED:
                snapshots.pop(snapshot.name, None)
            else:
                snapshots[snapshot.name] = snapshot
        return page.events[-1].number
