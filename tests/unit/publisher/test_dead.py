"""Dead letters: read, mended, published again, dropped."""

import base64
import json

import pytest

from contracts.commands import SELF_HEAL
from contracts.errors import InvalidCommand, UnknownCommand
from contracts.events import DeadKind
from contracts.keys import Keys
from contracts.receipts import ReceiptStatus
from publisher import Publisher

KEYS = Keys()


@pytest.fixture
async def dead(fake_redis):
    async with Publisher(fake_redis) as publisher:
        yield publisher.dead


@pytest.fixture
def bury(fake_redis):
    async def bury(body: dict | str, **fields: str) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        letter = {
            "kind": "malformed",
            "entry": "1-1",
            "at": "2026-01-01T00:00:00.000Z",
            "body": text,
        } | fields
        return await fake_redis.xadd(KEYS.dead, letter)

    return bury


async def test_the_newest_come_first_with_their_requeues(dead, bury):
    assert await dead.list() == []
    old, new = await bury({"action": "stop", "service": "a"}), await bury({"action": "stop", "service": "b"})
    await dead.requeue(old)
    found = await dead.list()
    assert [(one.letter.dead_id, one.requeues) for one in found] == [(new, 0), (old, 1)]
    assert [one.letter.dead_id for one in await dead.list(1)] == [new]
    assert (await dead.show(old)).letter.kind is DeadKind.MALFORMED


@pytest.mark.parametrize("unknown", ["1-1", "never", "99999999999999999999999-1", "1-18446744073709551616"])
async def test_an_unknown_letter_is_told_of(dead, unknown):
    for look in (dead.show, dead.requeue):
        with pytest.raises(UnknownCommand, match="Dead letter"):
            await look(unknown)


async def test_a_requeue_has_an_id_of_its_own_and_times_of_its_own(dead, bury, fake_redis):
    body = {
        "action": "stop",
        "service": "a",
        "id": "old",
        "reason": "r",
        "expires_at": "2020-01-01T00:00:00Z",
        "not_before": "2019-01-01T00:00:00Z",
        "unknown": "x",
    }
    letter = await bury(body, kind="attempts_exhausted", history='[{"kind":"attempts_exhausted"}]')
    first, second = await dead.requeue(letter), await dead.requeue(letter)
    assert (first.id, second.id) == (f"{letter}:r1", f"{letter}:r2")
    assert first.requeued_from == letter
    assert first.history == '[{"kind":"attempts_exhausted"}]'
    assert first.status is ReceiptStatus.QUEUED
    (_, fields), _ = await fake_redis.xrange(KEYS.commands)
    assert fields == {"action": "stop", "service": "a", "reason": "r", "id": first.id}


async def test_times_may_be_set_anew(dead, bury):
    letter = await bury({"action": "stop", "service": "a", "not_before": "2019-01-01T00:00:00Z"})
    receipt = await dead.requeue(letter, {"not_before": "2100-01-01T00:00:00Z"})
    assert receipt.status is ReceiptStatus.SCHEDULED


async def test_what_is_malformed_must_be_mended_first(dead, bury, fake_redis):
    letter = await bury('{"action":"stop","action":"start","service":"a","timeout":"soon"}')
    with pytest.raises(InvalidCommand, match="twice"):
        await dead.requeue(letter)
    with pytest.raises(InvalidCommand, match="timeout"):
        await dead.requeue(letter, {"action": "stop"})
    assert await fake_redis.xlen(KEYS.commands) == 0
    receipt = await dead.requeue(letter, {"action": "stop", "timeout": None})
    assert (receipt.action, receipt.timeout) == ("stop", None)
    assert receipt.id == f"{letter}:r1"


async def test_what_was_cut_or_is_no_json_cannot_be_rebuilt(dead, bury):
    cut = await bury('{"action":"stop","service":"aaaa', truncated="1")
    with pytest.raises(InvalidCommand, match="cut"):
        await dead.requeue(cut)
    with pytest.raises(InvalidCommand, match="cannot be published again"):
        await dead.requeue(await bury("[1"))


async def test_what_is_no_text_is_mended_too(dead, bury):
    body = base64.b64encode(b'{"action":"stop","service":"a","reason":"\xff"}').decode()
    letter = await bury("", body_b64=body)
    with pytest.raises(InvalidCommand, match="UTF-8"):
        await dead.requeue(letter)
    assert (await dead.requeue(letter, {"reason": "ÿ"})).reason == "ÿ"


@pytest.mark.parametrize("changes", [{"id": "x"}, {"issuer": SELF_HEAL}])
async def test_ids_and_the_reserved_issuer_are_not_for_setting(dead, bury, changes):
    letter = await bury({"action": "stop", "service": "a"})
    with pytest.raises(InvalidCommand):
        await dead.requeue(letter, changes)


async def test_an_id_that_somebody_took_is_passed_over(dead, bury, fake_redis):
    letter = await bury({"action": "stop", "service": "a"})
    taken = {"id": f"{letter}:r1", "status": "queued", "action": "start", "service": "a"}
    await fake_redis.hset(KEYS.command(f"{letter}:r1"), mapping=taken)
    receipt = await dead.requeue(letter)
    assert receipt.id == f"{letter}:r2"


async def test_dropping_counts_what_was_there(dead, bury, fake_redis):
    one, two = await bury({"action": "stop", "service": "a"}), await bury({"action": "stop", "service": "b"})
    await dead.requeue(one)
    assert await dead.drop(one, "1-1", "nonsense") == 1
    assert await dead.drop("nonsense") == 0
    assert [left.letter.dead_id for left in await dead.list()] == [two]
    assert not await fake_redis.exists(KEYS.requeues)
