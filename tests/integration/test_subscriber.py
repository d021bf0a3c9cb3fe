"""The subscriber on real servers: what is there, as it is."""

import asyncio

import pytest
import redis.asyncio

from contracts.errors import RedisUnavailable, ServiceNotFound, UnknownCommand
from contracts.keys import Keys
from contracts.receipts import ReceiptStatus
from publisher import Publisher
from subscriber import Subscriber
from tests.support.byhand import HandWorker
from tests.support.host import free_port
from tests.support.redis import VERSIONS, RedisServer

pytestmark = pytest.mark.redis_versions(*VERSIONS)


@pytest.fixture
async def worker(redis_client: redis.asyncio.Redis, room: str) -> HandWorker:
    worker = HandWorker(redis_client, Keys(room))
    await worker.open()
    return worker


@pytest.fixture
async def subscriber(redis_url: str, room: str):
    async with Subscriber(redis_url, room=room) as subscriber:
        yield subscriber


async def test_an_empty_room_has_nothing(redis_url: str):
    async with Subscriber(redis_url, room="nobody") as subscriber:
        assert await subscriber.list() == []
        assert await subscriber.commands() == []
        assert await subscriber.workers() == []
        assert await subscriber.dead() == []
        assert await subscriber.changes() == []
        backlog = await subscriber.backlog()
        assert (backlog.commands, backlog.unread, backlog.oldest_at, backlog.dead) == (0, 0, None, 0)


async def test_services_come_and_go(subscriber: Subscriber, worker: HandWorker):
    for number in range(1, 301):
        await worker.observe(f"s{number:03}", category="ai" if number % 3 else "monitoring")
    found = await subscriber.list()
    assert [(one.name, one.revision) for one in found] == [(f"s{n:03}", n) for n in range(1, 301)]
    assert len(await subscriber.list("monitoring")) == 100
    await worker.remove("s001")
    assert len(await subscriber.list()) == 299
    with pytest.raises(ServiceNotFound, match="'s001'"):
        await subscriber.get("s001")
    assert (await subscriber.get("s002")).category == "ai"


async def test_a_command_is_shown_from_its_entry_to_its_end(
    subscriber: Subscriber, worker: HandWorker, redis_url: str
):
    raw = await worker.client.xadd(worker.keys.commands, {"action": "stop", "service": "raw"})
    async with Publisher(redis_url, room=worker.keys.room) as publisher:
        receipt = await publisher.restart("a")
    assert await subscriber.receipt(receipt.id) == receipt
    with pytest.raises(UnknownCommand):
        await subscriber.receipt(raw)
    assert [one.id for one in await subscriber.commands()] == [receipt.id, raw]
    backlog = await subscriber.backlog()
    assert (backlog.commands, backlog.unread) == (2, 2)
    first, second = await worker.take()
    assert (await subscriber.backlog()).unread == 0
    settled = await worker.settle(first)
    await worker.begin(second)
    running, ended = await subscriber.commands()
    assert (running.id, running.status) == (receipt.id, ReceiptStatus.RUNNING)
    assert ended == settled == await subscriber.receipt(raw)
    assert list(await subscriber.receipts([raw, "never", receipt.id])) == [raw, receipt.id]
    assert (await subscriber.backlog()).commands == 1


async def test_meta_workers_and_events(subscriber: Subscriber, worker: HandWorker):
    await worker.beat(pid=7, capacity=4)
    await worker.client.zadd(worker.keys.workers, {"late": await worker.now() - 11_000})
    (alive,) = await subscriber.workers()
    assert (alive.name, alive.pid, alive.capacity) == ("w1", 7, 4)
    for name in "abc":
        await worker.observe(name)
    meta = await subscriber.meta()
    assert (meta.revision, meta.contract) == (3, "1")
    events = await subscriber.changes(1)
    assert [(event.number, event.subject) for event in events] == [(2, "b"), (3, "c")]
    assert {event.epoch for event in events} == {meta.epoch}
    assert await subscriber.latest_changes(2) == events


async def test_dead_letters(subscriber: Subscriber, worker: HandWorker):
    entry = await worker.client.xadd(worker.keys.commands, {"action": "dance", "service": "a"})
    await worker.take()
    (letter,) = await subscriber.dead()
    assert (letter.entry, letter.error) == (entry, "invalid_command")
    (receipt,) = await subscriber.commands()
    assert (receipt.id, receipt.status) == (entry, ReceiptStatus.DEAD)


async def test_reads_at_once_do_not_wait_for_each_other(subscriber: Subscriber, worker: HandWorker):
    await worker.observe("a")
    found = await asyncio.gather(*(subscriber.get("a") for _ in range(20)), subscriber.meta())
    assert len(found) == 21
    assert len(subscriber._reads._idle) <= 2


async def test_killed_connections_are_made_anew(
    subscriber: Subscriber, worker: HandWorker, redis_server: RedisServer
):
    await worker.observe("a")
    for _ in range(5):
        assert (await subscriber.get("a")).name == "a"
        redis_server.admin.client_kill_filter(_type="normal", skipme=True)
        await worker.client.connection_pool.disconnect()


async def test_a_read_that_was_cancelled_leaves_nothing_behind(subscriber: Subscriber, worker: HandWorker):
    for name in "abc":
        await worker.observe(name)
    for turns in range(30):
        reading = asyncio.create_task(subscriber.list())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert [one.name for one in await subscriber.list()] == ["a", "b", "c"]


async def test_a_redis_that_is_not_there_is_told_of():
    async with Subscriber(f"redis://127.0.0.1:{free_port()}") as subscriber:
        with pytest.raises(RedisUnavailable):
            await subscriber.list()
        with pytest.raises(RedisUnavailable):
            await anext(subscriber.watch())


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_client_gives_its_address_whatever_its_settings(
    redis_server: RedisServer, worker: HandWorker, protocol: int
):
    await worker.observe("a")
    client = redis.asyncio.Redis(port=redis_server.port, protocol=protocol, decode_responses=True)
    async with Subscriber(client, room=worker.keys.room) as subscriber:
        assert [one.name for one in await subscriber.list()] == ["a"]
        await worker.beat()
        assert len(await subscriber.workers()) == 1
        assert (await subscriber.backlog()).commands == 0
    assert await client.ping()
    await client.aclose()
