"""The publisher on real servers: one entry whatever happens, and waits that only listen."""

import asyncio
import json

import pytest
import redis.asyncio

from contracts.commands import Action, Command
from contracts.errors import (
    CancelRefused,
    InvalidCommand,
    PreconditionFailed,
    RedisUnavailable,
    ServiceDisabled,
    UnknownCommand,
    WaitTimeout,
)
from contracts.events import DeadKind
from contracts.keys import Keys
from contracts.receipts import Receipt, ReceiptStatus, same_receipt
from publisher import Publisher
from tests.support.byhand import HandWorker
from tests.support.redis import VERSIONS, RedisServer
from tests.support.waiting import eventually, holds

pytestmark = pytest.mark.redis_versions(*VERSIONS)


@pytest.fixture
async def worker(redis_client: redis.asyncio.Redis, room: str) -> HandWorker:
    worker = HandWorker(redis_client, Keys(room))
    await worker.open()
    return worker


@pytest.fixture
async def publisher(redis_url: str, room: str):
    async with Publisher(redis_url, room=room) as publisher:
        yield publisher


def counted(server: RedisServer) -> dict[str, int]:
    """Return how often clients sent which command since the counts were reset, the test's own aside."""
    stats = server.admin.info("commandstats")
    inside = {"info", "config|resetstat", "config"}
    names = {name.removeprefix("cmdstat_"): int(said["calls"]) for name, said in stats.items()}
    return {name: calls for name, calls in names.items() if name not in inside}


async def subscribed(server: RedisServer, channel: str, count: int = 1) -> None:
    await eventually(lambda: server.admin.pubsub_numsub(channel) == [(channel, count)], what="subscribed")


async def test_a_command_runs_and_its_receipt_comes_back(publisher: Publisher, worker: HandWorker):
    running = asyncio.create_task(publisher.run("restart", "a", reason="tests", wait=5))
    await eventually(worker.work)
    receipt = await running
    assert receipt.status is ReceiptStatus.SUCCEEDED
    assert (receipt.code, receipt.reason, receipt.attempt) == (200, "tests", 1)
    stored = await worker.client.hgetall(worker.keys.command(receipt.id))
    assert (stored["status"], stored["revision"]) == ("succeeded", str(receipt.revision))


async def test_a_run_sends_one_command_and_listens(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    await publisher.restart("warm-up")
    await worker.work()
    redis_server.admin.config_resetstat()
    running = asyncio.create_task(publisher.run("restart", "a", wait=5))
    await subscribed(redis_server, worker.keys.events)
    await eventually(lambda: counted(redis_server).get("evalsha") == 1)
    before = counted(redis_server)
    await holds(lambda: counted(redis_server) == before, during=0.3, what="nothing is asked while waiting")
    inside_the_script = {"time", "type", "zcount", "hgetall", "xlen", "xadd", "hset", "zadd"}
    handshake = {"client|setinfo", "client", "pubsub|numsub", "pubsub"}
    assert set(before) - inside_the_script - handshake == {"subscribe", "evalsha"}
    await worker.work()
    assert (await running).succeeded


async def test_many_waits_share_one_subscription_and_ask_once_each(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    receipts = [await publisher.restart(f"s{number}") for number in range(50)]
    waits = [asyncio.create_task(publisher.wait(receipt, 10)) for receipt in receipts]
    await subscribed(redis_server, worker.keys.events)
    await worker.work()
    settled = await asyncio.gather(*waits)
    assert [one.id for one in settled] == [one.id for one in receipts]
    assert all(one.succeeded for one in settled)


async def test_several_may_wait_for_one(publisher: Publisher, worker: HandWorker, redis_server: RedisServer):
    receipt = await publisher.restart("a")
    waits = [asyncio.create_task(publisher.wait(receipt.id, 5)) for _ in range(5)]
    await subscribed(redis_server, worker.keys.events)
    waits[0].cancel()
    await worker.work()
    settled = await asyncio.gather(*waits[1:])
    assert settled == [settled[0]] * 4


async def test_twenty_publishers_of_one_id_add_one_entry(redis_url: str, worker: HandWorker):
    publishers = [Publisher(redis_url, room=worker.keys.room) for _ in range(20)]
    receipts = await asyncio.gather(*(one.restart("a", id="night/1") for one in publishers))
    assert await worker.client.xlen(worker.keys.commands) == 1
    assert all(same_receipt(receipts[0], receipt) for receipt in receipts)
    assert sorted(receipt.duplicates or 0 for receipt in receipts) == list(range(20))
    waits = [asyncio.create_task(one.wait("night/1", 5)) for one in publishers]
    assert await worker.work() == ["night/1"]
    settled = await asyncio.gather(*waits)
    assert all(same_receipt(settled[0], receipt) and receipt.attempt == 1 for receipt in settled)
    await asyncio.gather(*(one.aclose() for one in publishers))


async def test_a_batch_keeps_its_order(publisher: Publisher, worker: HandWorker):
    commands = [Command(action=Action.RESTART, service=f"s{n % 7}", id=f"c{n}") for n in range(1000)]
    results = await publisher.send_many(commands)
    assert [one.id for one in results if isinstance(one, Receipt)] == [command.id for command in commands]
    entries = await worker.client.xrange(worker.keys.commands)
    assert [fields["id"] for _, fields in entries] == [command.id for command in commands]


async def test_scripts_that_were_flushed_are_loaded_again(publisher: Publisher, worker: HandWorker):
    await publisher.restart("a")
    await worker.client.script_flush()
    results = await asyncio.gather(*(publisher.restart("a") for _ in range(10)), publisher.restart("b"))
    assert len({receipt.id for receipt in results}) == 11
    assert await worker.client.xlen(worker.keys.commands) == 12


async def test_joiners_settle_with_events_of_their_own(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    target = await publisher.restart("a", ttl=60)
    joiners = [await publisher.restart("a", coalesce=True, ttl=30) for _ in range(3)]
    waits = [asyncio.create_task(publisher.wait(one, 5)) for one in (target, *joiners)]
    await subscribed(redis_server, worker.keys.events)
    taken = await worker.take()
    for receipt in taken:
        joined = None if receipt.id == target.id else target.id
        await worker.settle(receipt, coalesced_into=joined)
    settled = await asyncio.gather(*waits)
    assert [one.coalesced_into for one in settled] == [None, *[target.id] * 3]
    assert len({one.revision for one in settled}) == 4


async def test_a_wait_that_runs_out_leaves_the_command_alone(publisher: Publisher, worker: HandWorker):
    receipt = await publisher.restart("a")
    with pytest.raises(WaitTimeout, match=r"0.05"):
        await publisher.wait(receipt, 0.05)
    with pytest.raises(WaitTimeout):
        await publisher.run("restart", "a", id=receipt.id, wait=0.01)
    await worker.work()
    assert (await publisher.wait(receipt.id)).succeeded


async def test_a_raw_entry_is_waited_for_by_its_stream_id(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    entry = await worker.client.xadd(worker.keys.commands, {"action": "restart", "service": "a"})
    waiting = asyncio.create_task(publisher.wait(entry, 5))
    await subscribed(redis_server, worker.keys.events)
    await worker.work()
    assert (await waiting).id == entry
    with pytest.raises(UnknownCommand):
        await publisher.wait("1-1", 5)


async def test_dead_and_expired_commands_end_waits_too(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    malformed = await worker.client.xadd(worker.keys.commands, {"action": "dance", "service": "a"})
    short = await publisher.restart("a")
    waits = [asyncio.create_task(publisher.wait(one, 5)) for one in (malformed, short.id)]
    await subscribed(redis_server, worker.keys.events)
    (receipt,) = await worker.take()
    await worker.settle(receipt, ReceiptStatus.EXPIRED, 410, error="expired")
    assert (await waits[0]).status is ReceiptStatus.DEAD
    assert (await waits[1]).status is ReceiptStatus.EXPIRED


async def test_strangers_on_the_channel_disturb_nobody(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    receipt = await publisher.restart("a", id="a/b")
    waiting = asyncio.create_task(publisher.wait(receipt, 5))
    await subscribed(redis_server, worker.keys.events)
    event = {"specversion": "1.0", "id": "x", "source": "s", "time": "", "epoch": "e", "revision": "1"}
    other = event | {
        "type": "pointsman.command.settled",
        "subject": "a/b",
        "data": {"command": {"id": "a/b"}},
    }
    for text in (
        "",
        "{",
        '"subject":"a/b"',
        json.dumps(other),
        '{"subject":"a\\/b"}',
        json.dumps(event | {"type": "t"}),
    ):
        await worker.client.publish(worker.keys.events, text)
    await holds(lambda: not waiting.done(), during=0.1, what="still waiting")
    await worker.work()
    assert (await waiting).succeeded


async def test_an_event_written_by_other_hands_is_understood(
    publisher: Publisher, worker: HandWorker, redis_server: RedisServer
):
    receipt = await publisher.restart("a", id="a/b")
    waiting = asyncio.create_task(publisher.wait(receipt, 5))
    await subscribed(redis_server, worker.keys.events)
    event = {
        "data": {"command": {"id": "a/b", "status": "failed", "code": 500}},
        "type": "pointsman.command.settled",
        "subject": "a/b",
        "specversion": "1.0",
        "id": "x",
        "source": "s",
        "time": "",
        "epoch": "e",
        "revision": "1",
    }
    await worker.client.publish(worker.keys.events, json.dumps(event, indent=1).replace("/", "\\/"))
    assert (await waiting).status is ReceiptStatus.FAILED


async def test_checking_raises_what_the_receipt_tells(publisher: Publisher, worker: HandWorker):
    running = asyncio.create_task(publisher.run("restart", "a", wait=5, check=True))
    (receipt,) = await eventually(worker.take)
    await worker.settle(
        receipt, ReceiptStatus.REJECTED, 400, error="service_disabled", message="Enable it first."
    )
    with pytest.raises(ServiceDisabled, match="Enable it first") as caught:
        await running
    assert caught.value.receipt is not None
    assert caught.value.receipt.status is ReceiptStatus.REJECTED


async def test_what_is_begun_cannot_be_cancelled(publisher: Publisher, worker: HandWorker):
    begun, queued = await publisher.restart("a"), await publisher.restart("a")
    first, _ = await worker.take()
    await worker.begin(first)
    with pytest.raises(CancelRefused, match="running") as caught:
        await publisher.cancel(begun.id)
    assert caught.value.receipt is not None
    assert caught.value.receipt.status is ReceiptStatus.RUNNING
    assert (await publisher.cancel(queued.id)).status is ReceiptStatus.CANCELED


async def test_a_room_without_an_epoch_can_cancel(redis_url: str, redis_client: redis.asyncio.Redis):
    async with Publisher(redis_url, room="fresh") as publisher:
        receipt = await publisher.restart("a")
        assert (await publisher.cancel(receipt.id)).status is ReceiptStatus.CANCELED
    assert await redis_client.hget(Keys("fresh").meta, "epoch")


async def test_a_dead_letter_lives_again(publisher: Publisher, worker: HandWorker):
    entry = await worker.client.xadd(worker.keys.commands, {"action": "dance", "service": "a", "id": "x"})
    await worker.take()
    (buried,) = await publisher.dead.list()
    assert (buried.letter.entry, buried.letter.kind) == (entry, DeadKind.MALFORMED)
    with pytest.raises(InvalidCommand, match="action"):
        await publisher.dead.requeue(buried.letter.dead_id)
    receipt = await publisher.dead.requeue(buried.letter.dead_id, {"action": "restart"})
    assert receipt.requeued_from == buried.letter.dead_id
    waiting = asyncio.create_task(publisher.wait(receipt, 5))
    await worker.work()
    assert (await waiting).succeeded
    assert (await publisher.dead.show(buried.letter.dead_id)).requeues == 1
    assert await publisher.dead.drop(buried.letter.dead_id) == 1


async def test_a_service_whose_container_is_gone_is_forgotten(publisher: Publisher, worker: HandWorker):
    await worker.observe("a", "running", container_state="running")
    with pytest.raises(PreconditionFailed):
        await publisher.forget("a")
    await worker.observe("b", "not_found")
    assert (await publisher.forget("b", reason="moved")).status == "not_found"
    assert await worker.client.smembers(worker.keys.services) == {"a"}


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_client_gives_its_address_whatever_its_settings(
    redis_server: RedisServer, worker: HandWorker, protocol: int
):
    client = redis.asyncio.Redis(port=redis_server.port, protocol=protocol, decode_responses=True)
    async with Publisher(client, room=worker.keys.room) as publisher:
        running = asyncio.create_task(publisher.run("restart", "a", wait=5))
        await eventually(worker.work)
        assert (await running).succeeded
    assert await client.ping()  # it is the caller's, and open
    await client.aclose()


async def test_closing_ends_what_waits(redis_url: str, worker: HandWorker, redis_server: RedisServer):
    async with Publisher(redis_url, room=worker.keys.room) as publisher:
        receipt = await publisher.restart("a")
        waiting = asyncio.create_task(publisher.wait(receipt, 30))
        await subscribed(redis_server, worker.keys.events)
    with pytest.raises(RedisUnavailable, match="closed"):
        await waiting
    with pytest.raises(RedisUnavailable, match="closed"):
        await publisher.restart("a")
    with pytest.raises(RedisUnavailable, match="closed"):
        await publisher.wait(receipt)
    left = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("pointsman") for name in left)
