"""A watch against a model of the room: whatever is lost, doubled, late or begun anew, nothing is missed."""

import asyncio
import copy
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import event_to_json
from contracts.errors import RedisUnavailable
from contracts.events import Event, EventType, HeartbeatData, ServiceData, event_of
from contracts.services import ServiceStatus, Snapshot
from subscriber import watching
from subscriber.channel import Signal
from subscriber.log import Page, ResetReason
from subscriber.watching import Change, Reset, Watch

TIME = "2026-01-01T00:00:00.000Z"
SERVICES = ("a", "b", "c")


class Drained(Exception):
    """The channel has nothing more to give."""


@dataclass
class Room:
    """The truth: what Redis holds, and what is on its way to one reader."""

    epoch: str | None = None
    revision: int = 0
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    changes: deque[Event] = field(default_factory=deque)
    channel: deque[bytes | Signal] = field(default_factory=deque)
    connected: bool = True
    epochs: int = 0
    #: Steps still to come; each look at Redis lets one happen first.
    script: deque[Callable[["Room"], None]] = field(default_factory=deque)
    #: How many looks at Redis fail from now on.
    broken: int = 0

    def new_epoch(self) -> None:
        self.epochs += 1
        self.epoch = f"{1_700_000_000_000 + self.epochs}-0123abcd"

    def _event(self, kind: EventType, data: Any, subject: str | None = None) -> Event:
        assert self.epoch is not None
        return event_of(
            kind, data, room="r", epoch=self.epoch, revision=self.revision, time=TIME, subject=subject
        )

    def _emit(self, kind: EventType, snapshot: Snapshot) -> None:
        event = self._event(kind, ServiceData(service=snapshot), snapshot.name)
        self.changes.append(event)
        self._publish(event_to_json(event))

    def _publish(self, item: bytes | Signal) -> None:
        if self.connected:
            self.channel.append(item)

    def observe(self, name: str, status: ServiceStatus) -> None:
        if self.epoch is None:
            self.new_epoch()
        self.revision += 1
        kind = EventType.SERVICE_CHANGED if name in self.snapshots else EventType.SERVICE_DISCOVERED
        self.snapshots[name] = Snapshot(name=name, status=status, revision=self.revision)
        self._emit(kind, self.snapshots[name])

    def remove(self, name: str) -> None:
        if self.epoch is not None and name in self.snapshots:
            self.revision += 1
            self._emit(EventType.SERVICE_REMOVED, self.snapshots.pop(name))

    def trim(self, keep: int) -> None:
        while len(self.changes) > keep:
            self.changes.popleft()

    def disconnect(self) -> None:
        self.connected = False

    def reconnect(self) -> None:
        self.connected = True
        self._publish(Signal.CONFIRMED)

    def lose_messages(self, count: int) -> None:
        """Let the reader be slow: the oldest of what waits is dropped."""
        dropped = [self.channel.popleft() for _ in range(min(count, len(self.channel)))]
        if dropped:
            self.channel.appendleft(Signal.OVERFLOW)

    def repeat_message(self) -> None:
        messages = [item for item in self.channel if isinstance(item, bytes)]
        if messages:
            self._publish(messages[0])

    def babble(self) -> None:
        self._publish(b"not an event")
        self._publish(
            b'{"specversion":"1.0","id":"x","source":"s","type":"t","time":"","epoch":"e","revision":"?"}'
        )

    def heartbeat(self) -> None:
        if self.epoch is not None:
            self._publish(event_to_json(self._event(EventType.ROOM_HEARTBEAT, HeartbeatData())))

    def silence(self) -> None:
        self._publish(Signal.SILENT)

    def lose_everything(self) -> None:
        """FLUSHALL, and a worker that finds out."""
        self.revision, self.snapshots = 0, {}
        self.changes.clear()
        self.new_epoch()

    def lose_some(self, count: int) -> None:
        """Redis comes back with less than it had acknowledged; the workers make a new epoch."""
        for _ in range(min(count, len(self.changes))):
            event = self.changes.pop()
            self.revision = event.number - 1
        self.snapshots = {name: s for name, s in self.snapshots.items() if s.revision <= self.revision}
        self.connected = False

    def restart(self) -> None:
        """Another epoch that goes on from the revision, every snapshot published again."""
        self.new_epoch()
        for name, snapshot in list(self.snapshots.items()):
            self.observe(name, snapshot.status)

    # What a reader asks.

    def look(self) -> None:
        if self.script:
            self.script.popleft()(self)
        if self.broken > 0:
            self.broken -= 1
            raise RedisUnavailable(words="broken")

    def read_head(self) -> tuple[str | None, int]:
        self.look()
        return (None, 0) if self.epoch is None else (self.epoch, self.revision)

    def read_page(self, epoch: str | None, revision: int, count: int) -> Page:
        self.look()
        now, newest = (None, 0) if self.epoch is None else (self.epoch, self.revision)
        events = [event for event in self.changes if event.number > revision][:count]
        broken = None
        if now != epoch:
            broken, events = ResetReason.EPOCH, []
        elif newest < revision:
            broken, events = ResetReason.BACKWARDS, []
        elif newest > revision and (not events or events[0].number != revision + 1):
            broken, events = ResetReason.TRIMMED, []
        return Page(epoch=now, revision=newest, events=events, broken=broken)

    def read_snapshots(self, names: Any) -> dict[str, Snapshot]:
        self.look()
        return {name: s for name, s in self.snapshots.items() if names is None or name in names}


class ModelChannel:
    """What the watch takes for its channel."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def start(self) -> None:
        pass

    def check(self) -> None:
        pass

    async def next(self) -> bytes | Signal:
        while not self.room.channel:
            if not self.room.script:
                raise Drained
            self.room.script.popleft()(self.room)
        return self.room.channel.popleft()

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def _on_the_model():
    with pytest.MonkeyPatch.context() as patch:

        async def head(room: Room, _keys: Any) -> Any:
            return room.read_head()

        async def page(room: Room, _keys: Any, epoch: str | None, revision: int, count: int) -> Page:
            return room.read_page(epoch, revision, count)

        async def snapshots(room: Room, _keys: Any, names: Any = None) -> Any:
            return room.read_snapshots(names)

        async def no_pause(_seconds: float) -> None:
            pass

        patch.setattr(watching, "read_head", head)
        patch.setattr(watching, "read_page", page)
        patch.setattr(watching, "read_snapshots", snapshots)
        patch.setattr(watching.asyncio, "sleep", no_pause)
        yield


def watch_of(room: Room, names: Any = None, types: Any = None) -> Watch:
    channel: Any = ModelChannel(room)
    reads: Any = room
    keys: Any = None
    return Watch(reads, keys, channel, names, types, lambda _: None)


@dataclass
class Reader:
    """A caller that keeps the present state by what the watch says, and checks every word of it."""

    state: dict[str, Snapshot] = field(default_factory=dict)
    epoch: str | None = None
    revision: int = -1
    resets: list[ResetReason] = field(default_factory=list)

    def take(self, item: Reset | Change) -> None:
        if isinstance(item, Reset):
            self.state = {snapshot.name: snapshot for snapshot in item.snapshots}
            self.epoch, self.revision = item.epoch, item.revision
            self.resets.append(item.reason)
            assert all(snapshot.revision <= item.revision for snapshot in item.snapshots)
            return
        event = item.event
        assert event.epoch == self.epoch
        assert event.number == self.revision + 1
        self.revision = event.number
        assert isinstance(event.data, ServiceData)
        snapshot = event.data.service
        if event.type == EventType.SERVICE_REMOVED:
            del self.state[snapshot.name]
        else:
            assert (snapshot.name in self.state) == (event.type == EventType.SERVICE_CHANGED)
            self.state[snapshot.name] = snapshot


async def items(watch: Watch) -> AsyncIterator[Reset | Change]:
    """Give what the watch gives until the channel is drained; before its first reset it may fail."""
    began = False
    while True:
        try:
            item = await anext(watch)
        except Drained:
            return
        except RedisUnavailable:
            assert not began
            continue
        began = True
        yield item


async def read_all(watch: Watch, reader: Reader) -> None:
    async for item in items(watch):
        reader.take(item)


def step(name: str, *arguments: Any) -> Callable[[Room], None]:
    def run(room: Room) -> None:
        getattr(room, name)(*arguments)

    run.__name__ = f"{name}{arguments}"
    return run


def _losing(room: Room, count: int) -> None:
    room.lose_some(count)
    room.restart()
    room.reconnect()


STEPS = st.one_of(
    st.builds(step, st.just("observe"), st.sampled_from(SERVICES), st.sampled_from(ServiceStatus)),
    st.builds(step, st.just("observe"), st.sampled_from(SERVICES), st.sampled_from(ServiceStatus)),
    st.builds(step, st.just("remove"), st.sampled_from(SERVICES)),
    st.builds(step, st.just("trim"), st.integers(0, 3)),
    st.builds(step, st.just("lose_messages"), st.integers(1, 4)),
    st.sampled_from([step("disconnect"), step("reconnect"), step("repeat_message"), step("babble")]),
    st.sampled_from([step("heartbeat"), step("silence"), step("restart"), step("lose_everything")]),
    st.integers(1, 3).map(lambda count: lambda room: _losing(room, count)),
    st.integers(1, 2).map(lambda count: lambda room: setattr(room, "broken", count)),
)


@settings(max_examples=200, deadline=None)
@given(before=st.lists(STEPS, max_size=8), script=st.lists(STEPS, max_size=40), page=st.integers(1, 3))
def test_the_reader_ends_with_the_truth(before: list, script: list, page: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "PAGE", page)
        room = Room()
        for run in before:
            run(room)
        room.broken = 0
        room.channel = deque([Signal.CONFIRMED])
        room.connected = True
        room.script = deque(script)
        reader, watch = Reader(), watch_of(room)
        asyncio.run(read_all(watch, reader))
        room.reconnect()  # whatever was lost by then
        asyncio.run(read_all(watch, reader))
    assert reader.state == room.snapshots
    assert reader.epoch == room.epoch
    assert reader.revision == (0 if room.epoch is None else room.revision)


@settings(max_examples=100, deadline=None)
@given(script=st.lists(STEPS, max_size=30))
def test_a_filtered_reader_sees_the_same_of_its_services(script: list):
    room = Room()
    room.channel.append(Signal.CONFIRMED)
    room.script = deque(script)
    state: dict[str, Snapshot] = {}

    async def follow(watch: Watch) -> None:
        async for item in items(watch):
            if isinstance(item, Reset):
                state.clear()
                state.update({s.name: s for s in item.snapshots})
                continue
            assert isinstance(item.event.data, ServiceData)
            snapshot = item.event.data.service
            state[snapshot.name] = snapshot
            if item.event.type == EventType.SERVICE_REMOVED:
                del state[snapshot.name]

    watch = watch_of(room, names=["a"])
    asyncio.run(follow(watch))
    room.reconnect()
    asyncio.run(follow(watch))
    assert state == {name: s for name, s in room.snapshots.items() if name == "a"}


def steady(*script: Callable[[Room], None]) -> tuple[Room, Reader]:
    """Read a quiet room of three events, then let the script happen."""
    room = Room()
    for name in SERVICES:
        room.observe(name, ServiceStatus.RUNNING)
    room.channel = deque([Signal.CONFIRMED])
    reader, watch = Reader(), watch_of(room)
    asyncio.run(read_all(watch, reader))
    for run in script:
        run(room)
    asyncio.run(read_all(watch, reader))
    assert reader.state == room.snapshots
    return room, reader


STOP_A = step("observe", "a", ServiceStatus.STOPPED)
S, E = ResetReason.START, ResetReason.EPOCH


@pytest.mark.parametrize(
    ("script", "resets"),
    [
        ([STOP_A], [S]),
        ([step("disconnect"), STOP_A, STOP_A, step("reconnect")], [S]),
        ([step("disconnect"), STOP_A, lambda r: setattr(r, "connected", True), step("heartbeat")], [S]),
        ([step("disconnect"), STOP_A, lambda r: setattr(r, "connected", True), step("silence")], [S]),
        ([step("disconnect"), STOP_A, lambda r: setattr(r, "connected", True), STOP_A], [S]),
        ([STOP_A, step("lose_messages", 1)], [S]),
        ([step("restart")], [S, E]),
        ([step("lose_everything"), step("heartbeat")], [S, E]),
        ([step("disconnect"), STOP_A, STOP_A, step("trim", 1), step("reconnect")], [S, ResetReason.TRIMMED]),
        ([step("disconnect"), step("lose_some", 1), step("reconnect")], [S, ResetReason.BACKWARDS]),
        ([step("babble"), STOP_A, step("repeat_message"), step("heartbeat")], [S]),
    ],
)
def test_what_makes_a_reset_and_what_does_not(script: list, resets: list):
    _, reader = steady(*script)
    assert reader.resets == resets


def test_a_late_message_of_an_older_epoch_is_no_reset():
    room = Room()
    room.observe("a", ServiceStatus.RUNNING)
    late = copy.copy(room.channel)
    room.new_epoch()
    room.observe("b", ServiceStatus.RUNNING)
    room.channel = deque([Signal.CONFIRMED, *late, *late])
    reader, watch = Reader(), watch_of(room)
    asyncio.run(read_all(watch, reader))
    assert reader.resets == [ResetReason.START]


def test_a_room_nobody_served_is_an_empty_reset_and_the_first_epoch_another():
    room = Room()
    room.channel.append(Signal.CONFIRMED)
    reader, watch = Reader(), watch_of(room)
    asyncio.run(read_all(watch, reader))
    assert (reader.epoch, reader.revision, reader.state) == (None, 0, {})
    room.observe("a", ServiceStatus.RUNNING)
    asyncio.run(read_all(watch, reader))
    assert reader.resets == [ResetReason.START, ResetReason.EPOCH]


def test_a_caller_that_stops_waiting_anywhere_misses_nothing():
    async def impatient(watch: Watch, reader: Reader) -> None:
        while True:
            waiting = asyncio.ensure_future(anext(watch))
            for _ in range(1 + reader.revision % 3):
                await asyncio.tasks.__sleep0()
            waiting.cancel()
            try:
                reader.take(await waiting)
            except asyncio.CancelledError:
                continue
            except Drained:
                return

    room = Room()
    room.channel.append(Signal.CONFIRMED)
    room.script = deque(step("observe", "a", ServiceStatus.RUNNING) for _ in range(20))
    reader, watch = Reader(), watch_of(room)
    asyncio.run(impatient(watch, reader))
    assert reader.revision == room.revision == 20
