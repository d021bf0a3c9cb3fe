"""The publisher on a pretended Redis: what each answer of the scripts becomes."""

import pytest

from contracts.commands import Action, Command
from contracts.errors import (
    CancelRefused,
    IdempotencyConflict,
    InvalidCommand,
    NoWorker,
    PreconditionFailed,
    ServiceNotFound,
    StreamFull,
    UnknownCommand,
)
from contracts.keys import GROUP, Keys
from contracts.receipts import Receipt, ReceiptStatus, same_receipt
from publisher import Publisher

KEYS = Keys()


@pytest.fixture
async def publisher(fake_redis):
    await fake_redis.hset(KEYS.meta, mapping={"epoch": "1700000000000-0123abcd", "revision": "0"})
    await fake_redis.xgroup_create(KEYS.commands, GROUP, "0", mkstream=True)
    async with Publisher(fake_redis, issuer="tests") as publisher:
        yield publisher


async def test_a_command_becomes_one_entry_and_a_queued_receipt(publisher, fake_redis):
    receipt = await publisher.restart("rtdetr", id="a", reason="why", timeout=7)
    assert (receipt.id, receipt.status, receipt.action) == ("a", ReceiptStatus.QUEUED, Action.RESTART)
    ((entry, fields),) = await fake_redis.xrange(KEYS.commands)
    assert entry == receipt.entry
    assert fields == {
        "action": "restart",
        "service": "rtdetr",
        "id": "a",
        "issuer": "tests",
        "reason": "why",
        "timeout": "7",
    }


@pytest.mark.parametrize("action", list(Action))
async def test_each_action_has_a_method(publisher, action):
    receipt = await getattr(publisher, action.value)("a")
    assert receipt.action is action


async def test_the_same_again_gives_the_first_receipt(publisher, fake_redis):
    first = await publisher.restart("a", id="x")
    again = await publisher.restart("a", id="x", reason="other words")
    assert same_receipt(first, again)
    assert again.duplicates == 1
    assert await fake_redis.xlen(KEYS.commands) == 1


async def test_another_command_under_one_id_is_a_conflict(publisher, fake_redis):
    first = await publisher.restart("a", id="x")
    with pytest.raises(IdempotencyConflict, match="x") as caught:
        await publisher.stop("a", id="x")
    assert caught.value.receipt == first
    assert await fake_redis.xlen(KEYS.commands) == 1


async def test_a_full_stream_says_how_full(publisher, fake_redis):
    publisher.stream_limit = 2
    await publisher.send_many([Command(action=Action.STOP, service="a")] * 2)
    with pytest.raises(StreamFull, match=r"2 unsettled commands, limit 2"):
        await publisher.stop("a")
    assert await fake_redis.xlen(KEYS.commands) == 2


async def test_without_a_worker_nothing_is_published_where_one_is_wanted(publisher, fake_redis):
    with pytest.raises(NoWorker, match="'default'"):
        await publisher.stop("a", require_worker=True)
    assert await fake_redis.xlen(KEYS.commands) == 0
    seconds, _ = await fake_redis.time()
    await fake_redis.zadd(KEYS.workers, {"w": seconds * 1000})
    assert (await publisher.stop("a", require_worker=True)).status is ReceiptStatus.QUEUED


async def test_a_time_to_come_schedules(publisher):
    receipt = await publisher.stop("a", not_before="2100-01-01T00:00:00Z", ttl=60)
    assert receipt.status is ReceiptStatus.SCHEDULED
    assert receipt.expires_at == "2100-01-01T00:01:00.000Z"


async def test_many_come_back_in_order_errors_among_them(publisher):
    commands = [
        Command(action=Action.STOP, service="a", id="1"),
        Command(action=Action.STOP, service="not a name"),
        Command(action=Action.START, service="a", id="1"),
        Command(action=Action.STOP, service="b", id="2"),
    ]
    first, malformed, conflict, last = await publisher.send_many(commands)
    assert isinstance(first, Receipt)
    assert isinstance(malformed, InvalidCommand)
    assert isinstance(conflict, IdempotencyConflict)
    assert isinstance(last, Receipt)
    assert last.id == "2"
    assert await publisher.send_many([]) == []


async def test_cancelling(publisher):
    receipt = await publisher.restart("a", id="x")
    assert (await publisher.cancel(receipt.id)).status is ReceiptStatus.CANCELED
    with pytest.raises(CancelRefused) as caught:
        await publisher.cancel("x")
    assert caught.value.receipt.status is ReceiptStatus.CANCELED
    for unknown in ("never", "12-34", "not an id"):
        with pytest.raises(UnknownCommand):
            await publisher.cancel(unknown)


async def test_a_raw_entry_is_cancelled_by_its_stream_id(publisher, fake_redis):
    entry = await fake_redis.xadd(KEYS.commands, {"action": "stop", "service": "a"})
    assert (await publisher.cancel(entry)).id == entry


async def test_waiting_for_what_is_settled_already_returns_it(publisher):
    await publisher.restart("a", id="x")
    settled = await publisher.cancel("x")
    assert await publisher.wait("x") == settled
    assert await publisher.wait(settled) is settled
    with pytest.raises(UnknownCommand):
        await publisher.wait("never")
    with pytest.raises(UnknownCommand):
        await publisher.wait("not an id")


async def test_forgetting(publisher, fake_redis):
    with pytest.raises(ServiceNotFound):
        await publisher.forget("a")
    with pytest.raises(ServiceNotFound):
        await publisher.forget("no name")
    await fake_redis.sadd(KEYS.services, "a")
    fields = {"name": "a", "status": "running", "container_state": "running"}
    await fake_redis.hset(KEYS.service("a"), mapping=fields)
    with pytest.raises(PreconditionFailed, match="container"):
        await publisher.forget("a")
    await fake_redis.hdel(KEYS.service("a"), "container_state")
    await fake_redis.hset(KEYS.lease("a"), "id", "x")
    with pytest.raises(PreconditionFailed, match="at work"):
        await publisher.forget("a")
    await fake_redis.delete(KEYS.lease("a"))
    assert (await publisher.forget("a", reason="gone")).name == "a"
    assert not await fake_redis.exists(KEYS.service("a"))
