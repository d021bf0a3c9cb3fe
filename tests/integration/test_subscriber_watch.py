"""Watches on real servers: kills, cuts, floods, lost data and new epochs, and never a gap."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
import redis.asyncio

from contracts.errors import RedisUnavailable
from contracts.events import Event, EventType, ServiceData
from contracts.keys import Keys
from contracts.services import Snapshot
from publisher import Publisher
from subscriber import Change, Reset, ResetReason, Subscriber, Watch
from subscriber import channel as channel_module
from subscriber.channel import Signal
from tests.support.byhand import HandWorker
from tests.support.redis import VERSIONS, RedisServer, async_client
from tests.support.waiting import eventually, holds
from tests.support.wire import MakeWire, Wire

S, E, T = ResetReason.START, ResetReason.EPOCH, ResetReason.TRIMMED


@dataclass
class Follower:
    """Keep what a watch says, and check that each change is the next revision."""

    watch: Watch
    state: dict[str, Snapshot] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    resets: list[Reset] = field(default_factory=list)
    epoch: str | None = None
    revision: int = -1
    whole: bool = True
    task: "asyncio.Task[None] | None" = None

    def start(self) -> "Follower":
        self.task = asyncio.create_task(self.follow())
        return self

    async def follow(self) -> None:
        async for item in self.watch:
            self.take(item)

    def take(self, item: Reset | Change) -> None:
        if isinstance(item, Reset):
            self.resets.append(item)
            self.epoch, self.revision = item.epoch, item.revision
            self.state = {snapshot.name: snapshot for snapshot in item.snapshots}
            return
        event = item.event
        assert event.epoch == self.epoch
        assert event.number == self.revision + 1 or (not self.whole and event.number > self.revision)
        self.revision = event.number
        self.events.append(event)
        if isinstance(event.data, ServiceData):
            if event.type == EventType.SERVICE_REMOVED:
                del self.state[event.data.service.name]
            else:
                self.state[event.data.service.name] = event.data.service

    @property
    def reasons(self) -> list[ResetReason]:
        return [reset.reason for reset in self.resets]

    async def reaches(self, revision: int, epoch: str | None = None, within: float = 10) -> None:
        def there() -> bool:
            if self.task is not None and self.task.done():
                self.task.result()
            return self.revision == revision and epoch in {None, self.epoch}

        await eventually(there, within=within, what=f"revision {revision}")

    async def end(self) -> None:
        await self.watch.aclose()
        if self.task is not None:
            await self.task


@pytest.fixture
async def worker(redis_client: redis.asyncio.Redis, room: str) -> HandWorker:
    worker = HandWorker(redis_client, Keys(room))
    await worker.open()
    return worker


@pytest.fixture
async def wire(make_wire: MakeWire, redis_server: RedisServer) -> Wire:
    return await make_wire(redis_server)


@pytest.fixture
async def subscriber(wire: Wire, room: str):
    async with Subscriber(wire.url, room=room, silence=0.5, timeout=1) as subscriber:
        yield subscriber


@pytest.fixture
async def follower(subscriber: Subscriber, worker: HandWorker):
    for name in "abc":
        await worker.observe(name)
    follower = Follower(subscriber.watch()).start()
    await follower.reaches(3)
    yield follower
    await follower.end()


async def same(follower: Follower, worker: HandWorker) -> None:
    """Check that the follower knows exactly what Redis holds."""
    async with Subscriber(worker.client, room=worker.keys.room) as other:
        assert follower.state == {one.name: one for one in await other.list()}
        meta = await other.meta()
    assert (follower.epoch, follower.revision) == (meta.epoch, meta.revision)


@pytest.mark.redis_versions(*VERSIONS)
async def test_snapshots_first_and_then_every_event(follower: Follower, worker: HandWorker, redis_url: str):
    assert follower.reasons == [S]
    await worker.observe("a", "stopped")
    await worker.remove("b")
    async with Publisher(redis_url, room=worker.keys.room) as publisher:
        await publisher.restart("a")
        await publisher.cancel((await publisher.stop("c")).id)
    await worker.work()
    await follower.reaches(7)
    assert [(event.number, event.type.removeprefix("pointsman.")) for event in follower.events] == [
        (4, "service.changed"),
        (5, "service.removed"),
        (6, "command.settled"),
        (7, "command.settled"),
    ]
    await same(follower, worker)
    assert follower.reasons == [S]


@pytest.mark.redis_versions(*VERSIONS)
async def test_a_killed_connection_is_no_gap(follower: Follower, worker: HandWorker):
    for turn in range(3):
        await worker.client.client_kill_filter(_type="pubsub")
        for name in "abcd":
            await worker.observe(name, "stopped" if turn % 2 else "running")
    await follower.reaches(15)
    assert [event.number for event in follower.events] == list(range(4, 16))
    assert follower.reasons == [S]
    await same(follower, worker)


@pytest.mark.redis_versions(*VERSIONS)
async def test_all_is_lost_and_a_new_epoch_begins(follower: Follower, worker: HandWorker):
    await worker.client.flushall()
    epoch = await worker.open()
    await worker.observe("new")
    await follower.reaches(1, epoch)
    assert follower.reasons == [S, E]
    assert list(follower.state) == ["new"]
    await worker.observe("new", "stopped")
    await follower.reaches(2, epoch)
    await same(follower, worker)


async def test_all_is_lost_and_nobody_comes(follower: Follower, worker: HandWorker):
    await worker.client.flushall()
    await eventually(lambda: follower.epoch is None, what="the silence was looked into")
    assert (follower.state, follower.revision) == ({}, 0)


async def test_a_new_epoch_that_goes_on_is_a_reset(follower: Follower, worker: HandWorker):
    epoch = await worker.open()
    for name in "abc":
        await worker.observe(name)
    await follower.reaches(6, epoch)
    assert follower.reasons == [S, E]
    await same(follower, worker)


async def test_a_heartbeat_shows_what_was_missed(follower: Follower, worker: HandWorker):
    await worker.observe("a", "unhealthy", heard=False)
    await holds(lambda: follower.revision == 3, during=0.1, what="nobody told")
    await worker.heartbeat()
    await follower.reaches(4)
    assert follower.reasons == [S]


async def test_silence_is_looked_into(follower: Follower, worker: HandWorker):
    await worker.observe("a", "unhealthy", heard=False)
    await follower.reaches(4)
    assert follower.reasons == [S]


async def test_a_half_open_connection_is_noticed(follower: Follower, worker: HandWorker, wire: Wire):
    wire.block()
    await worker.observe("a", "stopped")
    await holds(lambda: follower.revision == 3, during=0.2, what="nothing gets through")
    await wire.cut()
    wire.unblock()
    await follower.reaches(4)
    assert follower.reasons == [S]


async def test_what_was_trimmed_meanwhile_is_a_reset(follower: Follower, worker: HandWorker, wire: Wire):
    await wire.sever()
    for turn in range(10):
        await worker.observe("a", "stopped" if turn % 2 else "running")
    await worker.client.xtrim(worker.keys.changes, maxlen=3, approximate=False)
    await wire.mend()
    await follower.reaches(13)
    assert follower.reasons == [S, T]
    await same(follower, worker)


async def test_a_slow_reader_loses_nothing(
    subscriber: Subscriber, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(channel_module, "MAX_MESSAGES", 20)
    watch = subscriber.watch()
    follower = Follower(watch)
    follower.take(await anext(watch))
    for number in range(500):
        await worker.observe(f"s{number % 9}")
    await eventually(lambda: Signal.OVERFLOW in watch._channel._items)
    while follower.revision < 500:
        follower.take(await anext(watch))
    assert [event.number for event in follower.events] == list(range(1, 501))
    assert follower.reasons == [S]
    await watch.aclose()


async def test_snapshots_that_change_while_they_are_read_are_brought_to_one_revision(
    subscriber: Subscriber, worker: HandWorker
):
    for number in range(300):
        await worker.observe(f"s{number:03}")

    stop = asyncio.Event()

    async def disturb() -> None:
        number = 0
        while not stop.is_set():
            await worker.observe(f"s{number % 400:03}", "stopped")
            if number % 10 == 9:
                await worker.remove(f"s{number % 400:03}")
            number += 1

    disturbing = asyncio.create_task(disturb())
    followers = [Follower(subscriber.watch()).start() for _ in range(5)]
    await eventually(lambda: all(len(one.events) > 100 for one in followers), within=20)
    stop.set()
    await disturbing
    (revision,) = [int(await worker.client.hget(worker.keys.meta, "revision"))]
    for follower in followers:
        await follower.reaches(revision)
        await same(follower, worker)
        assert follower.reasons == [S]
        await follower.end()


async def test_names_and_types_leave_out_the_rest(subscriber: Subscriber, worker: HandWorker, redis_url: str):
    await worker.observe("a")
    await worker.observe("b")
    named = Follower(subscriber.watch(names=["a"]), whole=False).start()
    typed = Follower(subscriber.watch(types=[EventType.COMMAND_SETTLED]), whole=False).start()
    await named.reaches(2)
    await typed.reaches(2)
    assert list(named.state) == ["a"]
    async with Publisher(redis_url, room=worker.keys.room) as publisher:
        receipts = [await publisher.restart(name) for name in "ab"]
    await worker.observe("b", "stopped")
    await worker.observe("a", "stopped")
    for receipt in await worker.take():
        await worker.settle(receipt)
    await named.reaches(5)
    await typed.reaches(6)
    assert [event.number for event in named.events] == [4, 5]
    assert [event.subject for event in typed.events] == [receipt.id for receipt in receipts]
    await named.end()
    await typed.end()


async def test_a_caller_may_stop_waiting_and_come_back(subscriber: Subscriber, worker: HandWorker):
    watch = subscriber.watch()
    follower = Follower(watch)
    follower.take(await anext(watch))

    async def write() -> None:
        for number in range(200):
            await worker.observe(f"s{number % 5}")

    writing = asyncio.create_task(write())
    while follower.revision < 200:
        try:
            async with asyncio.timeout(random.uniform(0, 0.004)):
                follower.take(await anext(watch))
        except TimeoutError:
            continue
    await writing
    assert [event.number for event in follower.events] == list(range(1, 201))


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_to_the_wire_nothing_is_missed(
    follower: Follower, worker: HandWorker, wire: Wire, seed: int
):
    chance = random.Random(seed)
    for _ in range(300):
        name = f"s{chance.randrange(8)}"
        await worker.observe(name, chance.choice(["running", "stopped", "unhealthy"]))
        match chance.randrange(40):
            case 0:
                await wire.cut()
            case 1:
                await worker.client.client_kill_filter(_type="pubsub")
            case 2:
                await worker.remove(name)
            case 3:
                await worker.heartbeat()
            case 4:
                await wire.sever()
                await worker.observe(name)
                await wire.mend()
            case 5:
                await asyncio.sleep(0.02)
    await follower.reaches(int(await worker.client.hget(worker.keys.meta, "revision")))
    assert [event.number for event in follower.events] == list(range(4, follower.revision + 1))
    assert follower.reasons == [S]
    await same(follower, worker)


async def test_a_watch_outlives_restarts_of_redis(private_redis: RedisServer):
    async with Subscriber(private_redis.url, silence=0.5) as subscriber:
        async with async_client(private_redis) as client:
            worker = HandWorker(client, Keys())
            await worker.open()
            await worker.observe("a")
            follower = Follower(subscriber.watch()).start()
            await follower.reaches(1)
        await asyncio.to_thread(private_redis.stop)
        private_redis.start()
        async with async_client(private_redis) as client:
            worker = HandWorker(client, Keys())
            await worker.observe("a", "stopped")
            await follower.reaches(2)
            assert follower.reasons == [S]
            epoch = await worker.open()
            await worker.observe("a", "running")
            await follower.reaches(3, epoch)
            assert follower.reasons == [S, E]
        await follower.end()


async def test_a_redis_that_forgot_what_it_had_said_is_a_reset(make_redis):
    server = make_redis()
    async with Subscriber(server.url, silence=0.2, timeout=1) as subscriber, async_client(server) as client:
        worker = HandWorker(client, Keys())
        epoch = await worker.open()
        for name in "abcd":
            await worker.observe(name)
        follower = Follower(subscriber.watch()).start()
        await follower.reaches(4)
        await client.hset(Keys().meta, "revision", "2")
        await client.delete(Keys().service("c"), Keys().service("d"))
        await client.xdel(Keys().changes, "3-0", "4-0")
        await follower.reaches(2, epoch)
        assert follower.reasons == [S, ResetReason.BACKWARDS]
        await same(follower, worker)
        await follower.end()


async def test_patience_has_an_end_where_one_is_set(wire: Wire, worker: HandWorker):
    await worker.observe("a")
    async with Subscriber(wire.url, room=worker.keys.room, patience=0.3) as subscriber:
        watch = subscriber.watch()
        await anext(watch)
        await wire.sever()
        with pytest.raises(RedisUnavailable):
            await anext(watch)


async def test_closing_ends_the_watches(subscriber: Subscriber, worker: HandWorker):
    await worker.observe("a")
    open_one, left = subscriber.watch(), Follower(subscriber.watch()).start()
    async with open_one:
        assert isinstance(await anext(open_one), Reset)
    with pytest.raises(StopAsyncIteration):
        await anext(open_one)
    await left.reaches(1)
    await subscriber.aclose()
    assert left.task is not None
    await left.task
    with pytest.raises(RedisUnavailable, match="closed"):
        subscriber.watch()
    with pytest.raises(RedisUnavailable, match="closed"):
        await subscriber.list()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("pointsman") for name in names)
