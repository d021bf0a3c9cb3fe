"""Reading what is there, on a pretended Redis."""

import json

import pytest

from contracts.commands import Action
from contracts.errors import MalformedRecord, ServiceNotFound, UnknownCommand
from contracts.events import EventType
from contracts.keys import GROUP, Keys
from contracts.receipts import ReceiptStatus
from contracts.services import ServiceStatus
from subscriber import ResetReason, Subscriber
from subscriber.log import read_head, read_page

KEYS = Keys()
EPOCH = "1700000000000-0123abcd"
SNAPSHOT = {"status": "running", "enabled": "1", "desired": "running", "revision": "3"}


@pytest.fixture
async def subscriber(fake_redis):
    async with Subscriber(fake_redis) as subscriber:
        yield subscriber


@pytest.fixture
def add(fake_redis):
    async def add(name: str, **fields: str) -> None:
        await fake_redis.sadd(KEYS.services, name)
        await fake_redis.hset(KEYS.service(name), mapping={"name": name} | SNAPSHOT | fields)

    return add


@pytest.fixture
def emit(fake_redis):
    async def emit(
        revision: int, kind: str = "worker.joined", data: object = None, epoch: str = EPOCH
    ) -> None:
        event = {
            "specversion": "1.0",
            "id": f"{epoch}/{revision}",
            "source": "/rooms/default",
            "type": f"pointsman.{kind}",
            "time": "2026-01-01T00:00:00.000Z",
            "epoch": epoch,
            "revision": str(revision),
            "data": {"worker": {"name": "w"}} if data is None else data,
        }
        await fake_redis.xadd(KEYS.changes, {"event": json.dumps(event)}, id=f"{revision}-0")
        await fake_redis.hset(KEYS.meta, mapping={"epoch": epoch, "revision": revision})

    return emit


async def test_an_empty_room_has_nothing(subscriber):
    assert await subscriber.list() == []
    assert await subscriber.commands() == []
    assert await subscriber.workers() == []
    assert await subscriber.dead() == []
    assert await subscriber.changes() == []
    assert await subscriber.receipts([]) == {}
    assert (await subscriber.meta()).epoch is None
    assert (await subscriber.backlog()).commands == 0


async def test_snapshots_come_by_name_and_category(subscriber, add):
    for number in range(250):
        await add(f"s{number:03}", category="ai" if number % 2 else "infrastructure", unknown="x", image="")
    found = await subscriber.list()
    assert [one.name for one in found] == [f"s{number:03}" for number in range(250)]
    assert (found[0].status, found[0].revision, found[0].image) == (ServiceStatus.RUNNING, 3, None)
    assert len(await subscriber.list("ai")) == 125
    assert await subscriber.list("monitoring") == []


async def test_a_name_without_a_snapshot_is_left_out(subscriber, add, fake_redis):
    await add("a")
    await fake_redis.sadd(KEYS.services, "gone")
    assert [one.name for one in await subscriber.list()] == ["a"]
    assert (await subscriber.get("a")).name == "a"
    for name in ("gone", "never", "no name"):
        with pytest.raises(ServiceNotFound, match=name):
            await subscriber.get(name)


async def test_a_hash_that_is_no_snapshot_is_told_of(subscriber, add, fake_redis):
    await add("a", status="dancing")
    await add("b")
    with pytest.raises(MalformedRecord, match="dancing"):
        await subscriber.list()
    await fake_redis.delete(KEYS.service("a"))
    await fake_redis.set(KEYS.service("a"), "text")
    with pytest.raises(MalformedRecord, match="WRONGTYPE"):
        await subscriber.list()
    assert (await subscriber.get("b")).name == "b"


async def test_receipts(subscriber, fake_redis):
    await fake_redis.hset(KEYS.command("x"), mapping={"id": "x", "status": "running", "attempt": "2"})
    assert (await subscriber.receipt("x")).attempt == 2
    assert list(await subscriber.receipts(["x", "y"])) == ["x"]
    for unknown in ("y", "no id", "1-1"):
        with pytest.raises(UnknownCommand):
            await subscriber.receipt(unknown)


async def test_workers_are_alive_by_the_clock_of_redis(subscriber, fake_redis):
    seconds, _ = await fake_redis.time()
    now = seconds * 1000
    await fake_redis.zadd(KEYS.workers, {"new": now - 1000, "b": now, "old": now - 60_000})
    await fake_redis.hset(KEYS.worker("new"), mapping={"pid": "7", "capacity": "4", "running": "0"})
    b, new = await subscriber.workers()
    assert (b.name, b.pid) == ("b", None)
    assert (new.name, new.pid, new.capacity, new.running) == ("new", 7, 4, 0)


async def test_commands_are_found_in_stream_and_log_newest_first(subscriber, fake_redis, emit):
    await fake_redis.xadd(KEYS.commands, {"action": "stop", "service": "a", "id": "known"}, id="10-0")
    await fake_redis.xadd(KEYS.commands, {"action": "start", "service": "b", "timeout": "3"}, id="11-0")
    await fake_redis.xadd(KEYS.commands, {"action": "dance"}, id="12-0")
    known = {"id": "known", "entry": "10-0", "status": "running", "action": "stop", "service": "a"}
    await fake_redis.hset(KEYS.command("known"), mapping=known)
    await emit(1, "command.started", {"command": known})
    done = {"id": "done", "entry": "9-0", "status": "succeeded", "action": "stop", "service": "a"}
    await emit(2, "command.settled", {"command": done})
    await emit(3)
    await emit(4, "command.dead", {"command": done | {"id": "dead", "entry": "13-0", "status": "dead"}})
    found = await subscriber.commands()
    assert [(one.id, one.status) for one in found] == [
        ("dead", ReceiptStatus.DEAD),
        ("11-0", ReceiptStatus.QUEUED),
        ("known", ReceiptStatus.RUNNING),
        ("done", ReceiptStatus.SUCCEEDED),
    ]
    assert (found[1].action, found[1].timeout) == (Action.START, 3)
    assert [one.id for one in await subscriber.commands(2)] == ["dead", "11-0"]


async def test_the_backlog(subscriber, fake_redis):
    await fake_redis.xgroup_create(KEYS.commands, GROUP, "0", mkstream=True)
    for number in range(3):
        await fake_redis.xadd(KEYS.commands, {"action": "stop", "service": "a"}, id=f"{1000 + number}-0")
    await fake_redis.xreadgroup(GROUP, "w", {KEYS.commands: ">"}, count=2)
    await fake_redis.xadd(KEYS.dead, {"kind": "malformed"})
    backlog = await subscriber.backlog()
    assert (backlog.commands, backlog.unread, backlog.dead) == (3, 1, 1)
    assert backlog.oldest_at == "1970-01-01T00:00:01.000Z"


async def test_dead_letters_and_changes(subscriber, fake_redis, emit):
    for number in (1, 2):
        await fake_redis.xadd(KEYS.dead, {"kind": "malformed", "detail": str(number)})
    assert [one.detail for one in await subscriber.dead()] == ["2", "1"]
    assert [one.detail for one in await subscriber.dead(1)] == ["2"]
    for number in (1, 2, 3):
        await emit(number)
    assert [one.number for one in await subscriber.changes(1)] == [2, 3]
    assert [one.number for one in await subscriber.changes(count=1)] == [1]
    assert [one.number for one in await subscriber.latest_changes(2)] == [2, 3]
    assert (await subscriber.changes())[0].type == EventType.WORKER_JOINED
    await fake_redis.xadd(KEYS.changes, {"other": "field"}, id="4-0")
    with pytest.raises(MalformedRecord):
        await subscriber.changes()


async def page(subscriber: Subscriber, epoch: str | None, revision: int, count: int = 10):
    return await read_page(subscriber._reads, KEYS, epoch, revision, count)


async def test_a_page_of_the_log(subscriber, emit):
    assert await read_head(subscriber._reads, KEYS) == (None, 0)
    assert (await page(subscriber, None, 0)).broken is None
    for number in (1, 2, 3):
        await emit(number)
    assert await read_head(subscriber._reads, KEYS) == (EPOCH, 3)
    found = await page(subscriber, EPOCH, 1)
    assert ([event.number for event in found.events], found.revision, found.broken) == ([2, 3], 3, None)
    assert [event.number for event in (await page(subscriber, EPOCH, 0, 2)).events] == [1, 2]
    assert (await page(subscriber, EPOCH, 3)).events == []


async def test_a_page_that_cannot_be_told(subscriber, emit, fake_redis):
    for number in (1, 2, 3, 4):
        await emit(number)
    assert (await page(subscriber, None, 0)).broken is ResetReason.EPOCH
    assert (await page(subscriber, EPOCH, 5)).broken is ResetReason.BACKWARDS
    await fake_redis.xdel(KEYS.changes, "1-0", "3-0")
    assert (await page(subscriber, EPOCH, 0)).broken is ResetReason.TRIMMED
    found = await page(subscriber, EPOCH, 1)
    assert ([event.number for event in found.events], found.broken) == ([2], ResetReason.TRIMMED)
    await fake_redis.delete(KEYS.changes)
    assert (await page(subscriber, EPOCH, 3)).broken is ResetReason.TRIMMED
    assert (await page(subscriber, EPOCH, 4)).broken is None


async def test_an_entry_that_is_no_event_breaks_the_page_at_it(subscriber, emit, fake_redis):
    await emit(1)
    await fake_redis.xadd(KEYS.changes, {"event": "{}"}, id="2-0")
    await fake_redis.hset(KEYS.meta, "revision", 2)
    found = await page(subscriber, EPOCH, 0)
    assert ([event.number for event in found.events], found.broken) == ([1], ResetReason.MALFORMED)


async def test_what_is_ahead_of_meta_is_not_there_yet(subscriber, emit, fake_redis):
    await emit(1)
    await emit(2)
    await fake_redis.hset(KEYS.meta, "revision", 1)
    found = await page(subscriber, EPOCH, 0)
    assert ([event.number for event in found.events], found.broken) == ([1], None)


async def test_a_meta_that_makes_no_sense_is_told_of(subscriber, fake_redis):
    await fake_redis.hset(KEYS.meta, mapping={"epoch": EPOCH, "revision": "many"})
    with pytest.raises(MalformedRecord, match="meta"):
        await read_head(subscriber._reads, KEYS)
