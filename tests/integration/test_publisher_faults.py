"""The publisher when the wire or the server fails."""

import asyncio
import time

import pytest

from contracts.commands import Action, Command
from contracts.errors import RedisUnavailable, UnknownCommand
from contracts.keys import Keys
from contracts.receipts import Receipt, ReceiptStatus
from publisher import Publisher
from tests.support.byhand import HandWorker
from tests.support.host import free_port
from tests.support.redis import MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.wire import MakeWire, Wire


@pytest.fixture
async def worker(redis_client, room: str) -> HandWorker:
    worker = HandWorker(redis_client, Keys(room))
    await worker.open()
    return worker


@pytest.fixture
async def wire(make_wire: MakeWire, redis_server: RedisServer) -> Wire:
    return await make_wire(redis_server)


@pytest.fixture
async def publisher(wire: Wire, worker: HandWorker):
    async with Publisher(wire.url, room=worker.keys.room) as publisher:
        await publisher.restart("warm-up")  # the script is loaded from here on
        await worker.work()
        yield publisher


async def entries(worker: HandWorker) -> int:
    return await worker.client.xlen(worker.keys.commands)


async def subscribed(worker: HandWorker) -> None:
    channel = worker.keys.events

    async def heard() -> bool:
        return (await worker.client.pubsub_numsub(channel))[0][1] > 0

    await eventually(heard, what="subscribed")


@pytest.mark.parametrize("command_id", [None, "mine"])
async def test_a_publish_whose_reply_was_lost_adds_one_entry(
    publisher: Publisher, worker: HandWorker, wire: Wire, command_id: str | None
):
    wire.lose_reply_to("EVALSHA")
    receipt = await publisher.restart("a", id=command_id)
    assert wire.lost == 1
    assert await entries(worker) == 1
    assert receipt.duplicates == 1
    assert receipt.id == (command_id or receipt.id)


async def test_a_batch_whose_replies_were_lost_is_there_once(
    publisher: Publisher, worker: HandWorker, wire: Wire
):
    wire.lose_reply_to("c37")
    commands = [Command(action=Action.RESTART, service="a", id=f"c{n}") for n in range(400)]
    results = await publisher.send_many(commands)
    assert wire.lost == 1
    assert [one.id for one in results if isinstance(one, Receipt)] == [command.id for command in commands]
    stream = await worker.client.xrange(worker.keys.commands)
    assert [fields["id"] for _, fields in stream] == [command.id for command in commands]


async def test_a_cancel_whose_reply_was_lost_is_no_refusal(
    publisher: Publisher, worker: HandWorker, wire: Wire
):
    await publisher.restart("a", id="warm")
    await publisher.cancel("warm")
    await publisher.restart("a", id="x")
    wire.lose_reply_to("EVALSHA")
    assert (await publisher.cancel("x")).status is ReceiptStatus.CANCELED
    assert wire.lost == 1


async def test_a_requeue_whose_reply_was_lost_is_not_repeated(
    publisher: Publisher, worker: HandWorker, wire: Wire
):
    await worker.client.xadd(worker.keys.commands, {"action": "dance", "service": "a"})
    await worker.take()
    (buried,) = await publisher.dead.list()
    dead_id = buried.letter.dead_id
    await publisher.dead.requeue(dead_id, {"action": "restart"})
    wire.lose_reply_to("EVALSHA")
    with pytest.raises(RedisUnavailable):
        await publisher.dead.requeue(dead_id, {"action": "restart"})
    assert wire.lost == 1
    assert (await publisher.dead.show(dead_id)).requeues == 2
    assert await entries(worker) == 2


async def test_connections_that_were_killed_while_quiet_are_made_anew(
    publisher: Publisher, worker: HandWorker, wire: Wire
):
    await wire.cut()
    receipt = await publisher.restart("a")
    assert await entries(worker) == 1
    assert receipt.status is ReceiptStatus.QUEUED


async def test_what_settled_while_the_wire_was_down_is_learned_afterwards(
    publisher: Publisher, worker: HandWorker, wire: Wire
):
    receipts = [await publisher.restart(f"s{number}") for number in range(3)]
    waits = [asyncio.create_task(publisher.wait(one, 10)) for one in receipts]
    await subscribed(worker)
    await wire.sever()
    await worker.work()
    await wire.mend()
    assert all(one.succeeded for one in await asyncio.gather(*waits))


async def test_a_killed_subscription_comes_back(publisher: Publisher, worker: HandWorker):
    receipt = await publisher.restart("a")
    waiting = asyncio.create_task(publisher.wait(receipt, 10))
    await subscribed(worker)
    for _ in range(3):
        await worker.client.client_kill_filter(_type="pubsub")
        await subscribed(worker)
    await worker.client.client_kill_filter(_type="pubsub")
    await worker.work()
    assert (await waiting).succeeded


async def test_a_run_survives_a_cut_between_its_steps(publisher: Publisher, worker: HandWorker, wire: Wire):
    wire.lose_reply_to("EVALSHA")
    running = asyncio.create_task(publisher.run("restart", "a", wait=10))
    await eventually(lambda: wire.lost == 1)
    await worker.client.client_kill_filter(_type="pubsub")
    await eventually(worker.work)
    assert (await running).succeeded


async def test_what_is_gone_for_good_is_told_at_the_end(publisher: Publisher, worker: HandWorker):
    receipt = await publisher.restart("a")
    waiting = asyncio.create_task(publisher.wait(receipt, 0.3))
    await subscribed(worker)
    await worker.client.flushall()
    with pytest.raises(UnknownCommand):
        await waiting


async def test_a_redis_that_is_not_there_is_told_of_within_bounds():
    began = time.monotonic()
    async with Publisher(f"redis://127.0.0.1:{free_port()}") as publisher:
        with pytest.raises(RedisUnavailable):
            await publisher.restart("a")
        with pytest.raises(RedisUnavailable):
            await publisher.wait("a", 60)
        with pytest.raises(RedisUnavailable):
            await publisher.run("restart", "a", wait=60)
        results = await publisher.send_many([Command(action=Action.STOP, service="a")] * 600)
        assert all(isinstance(one, RedisUnavailable) for one in results)
    assert time.monotonic() - began < 15


async def test_a_frozen_redis_is_given_up_and_found_again(private_redis: RedisServer):
    async with Publisher(private_redis.url, timeout=0.1) as publisher:
        await publisher.restart("a")
        private_redis.freeze()
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match="no answer in time"):
            await publisher.restart("a", id="x")
        assert time.monotonic() - began < 2
        private_redis.thaw()
        await publisher.restart("a", id="x")
    assert private_redis.admin.xlen(Keys().commands) == 2


async def test_a_wait_on_a_frozen_redis_ends_in_its_own_time(private_redis: RedisServer):
    async with Publisher(private_redis.url, timeout=0.3) as publisher, Publisher(private_redis.url) as fresh:
        receipt = await publisher.restart("a")
        waiting = asyncio.create_task(publisher.wait(receipt, 0.2))
        channel = Keys().events
        await eventually(lambda: private_redis.admin.pubsub_numsub(channel)[0][1] > 0, what="subscribed")
        private_redis.freeze()
        began = time.monotonic()
        for wait in (waiting, fresh.wait(receipt, 0.2)):
            with pytest.raises(RedisUnavailable):
                await wait
        assert time.monotonic() - began < 4
        private_redis.thaw()


async def test_a_wait_outlives_a_restart_of_redis(private_redis: RedisServer):
    async with async_client(private_redis) as client, Publisher(private_redis.url) as publisher:
        worker = HandWorker(client, Keys())
        await worker.open()
        receipt = await publisher.restart("a")
        waiting = asyncio.create_task(publisher.wait(receipt, 20))
        await subscribed(worker)
    async with async_client(private_redis) as client, Publisher(private_redis.url) as publisher:
        waiting = asyncio.create_task(publisher.wait(receipt, 20))
        await subscribed(HandWorker(client, Keys()))
        await asyncio.to_thread(private_redis.stop)
        private_redis.start()
        worker = HandWorker(client, Keys(), "w2")
        await worker.open()
        await eventually(worker.work)
        assert (await waiting).succeeded


async def test_a_full_redis_refuses_in_its_own_words(make_redis: MakeRedis):
    server = make_redis(maxmemory="100mb")
    async with Publisher(server.url) as publisher:
        await publisher.restart("a")
        server.config_set(maxmemory="1")
        with pytest.raises(RedisUnavailable, match=r"Redis refuses: .*maxmemory"):
            await publisher.restart("a")
        assert server.admin.xlen(Keys().commands) == 1


async def test_a_run_and_a_close_in_the_same_moment_end(redis_server: RedisServer, room: str):
    publisher = Publisher(redis_server.url, room=room)
    running = asyncio.create_task(publisher.run("restart", "a"))
    await asyncio.sleep(0)  # a turn of the loop: its subscription has had none
    await publisher.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(RedisUnavailable):
            await running
