"""Lost entries are found, dead letters come back under ids of their own and keep their history."""

import json

import pytest
import redis

from tests.support.scripts import TTL, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")


def lose(room: Room, *ids: str, **fields: object) -> None:
    for command_id in ids:
        room.publish(**({"action": "stop", "service": "web", "id": command_id} | fields))
        room.client.xdel(room.keys.commands, room.receipt(command_id)["entry"])


def lost(room: Room, after: str = "0", count: int = 100) -> list[str]:
    return list(room.call("lost", 60_000, after, count))


def test_a_published_entry_that_vanished_is_dead_with_a_letter_and_an_event(room: Room):
    lose(room, "k1", reason="why")
    entry = room.receipt("k1")["entry"]
    assert lost(room) == ["", "k1"]
    receipt = room.receipt("k1")
    assert (receipt["status"], receipt["code"], receipt["error"]) == ("dead", "500", "entry_lost")
    assert 0 < room.client.pttl(room.keys.command("k1")) <= 60_000
    [letter] = room.dead()
    assert (letter["kind"], letter["id"], letter["entry"]) == ("entry_lost", "k1", entry)
    assert json.loads(letter["body"])["reason"] == "why"
    assert room.told() == [("command.dead", "k1")]
    assert lost(room) == [""]
    assert room.client.exists(room.keys.unread) == 0


def test_what_is_only_unread_or_anywhere_on_its_way_is_not_lost(room: Room):
    room.publish(action="stop", service="web", id="unread")
    assert lost(room) == [""]
    room.take(free=0)
    room.publish(action="stop", service="db", id="running")
    room.publish(action="stop", service="x", id="later", not_before=room.time(1000))
    room.publish(action="stop", service="y", id="target")
    room.publish(action="stop", service="y", id="joined", coalesce=1)
    room.begin(next(grant for grant in room.take().grants if grant.id == "running"))
    for name in ("unread", "running", "later", "target", "joined"):
        room.client.xdel(room.keys.commands, room.receipt(name)["entry"])  # not needed any more
    assert lost(room) == [""]
    assert room.dead() == []


def test_after_a_stream_that_is_gone_all_unread_are_found(room: Room):
    for n in range(5):
        room.publish(action="stop", service="web", id=f"k{n}")
    room.client.delete(room.keys.commands)
    assert lost(room) == ["", *(f"k{n}" for n in range(5))]
    assert {room.status(f"k{n}") for n in range(5)} == {"dead"}


@pytest.mark.parametrize("every", [0, 1, 3])
def test_pages_miss_nothing_however_many_come_in_one_millisecond(room: Room, every: int):
    names = [f"k{n:02}" for n in range(20)]
    for n, name in enumerate(names):
        lose(room, name) if n % 2 else room.publish(action="stop", service="web", id=name)
        if every and n % every == 0:
            room.pass_time(1)
    found, after = [], "0"
    while True:
        after, *ids = lost(room, after, 3)
        found += ids
        if not after:
            break
    assert sorted(found) == names[1::2]
    room.take(free=0)
    assert room.lane("web") == names[::2]


def test_what_settled_otherwise_is_only_taken_off_the_list(room: Room):
    lose(room, "k1", "k2")
    room.cancel("k1")
    room.client.zadd(room.keys.unread, {"k1": room.now, "nobody": room.now})
    assert lost(room) == ["", "k2"]
    assert room.status("k1") == "canceled"
    assert room.client.exists(room.keys.unread) == 0


# Requeue and drop


def bury(room: Room) -> str:
    """Make one dead letter, of a command that was lost too often; return its id."""
    room.publish(action="stop", service="web", id="k1", reason="why")
    for _ in range(5):
        room.take()
        room.pass_time(10_000)
    room.take()
    return room.dead()[-1]["dead_id"]


def requeue(room: Room, letter: str, **fields: str) -> list[object]:
    flat = [item for pair in fields.items() for item in pair]
    return list(room.call("requeue", letter, TTL, *flat))


def test_a_requeue_is_a_command_with_an_id_of_its_own_and_the_letters_history(room: Room):
    letter = bury(room)
    for n in (1, 2):
        answer = requeue(room, letter, action="stop", service="web", reason="why")
        assert answer[0] == "ok"
        receipt = room.receipt(f"{letter}:r{n}")
        assert (receipt["requeued_from"], receipt["status"], receipt["reason"]) == (letter, "queued", "why")
        assert receipt["history"] == room.dead()[0]["history"]
        grant = room.take().only()
        assert grant.id == f"{letter}:r{n}"
        room.begin(grant)
        room.settle(grant)
    assert len(room.dead()) == 1  # it stays until it is dropped


def test_a_requeue_is_never_a_duplicate_of_one_before(room: Room):
    letter = bury(room)
    requeue(room, letter, action="stop", service="web")
    room.client.delete(room.keys.requeues)
    assert requeue(room, letter, action="stop", service="web")[0] == "ok"
    assert room.status(f"{letter}:r2") == "queued"
    assert room.client.hget(room.keys.requeues, letter) == "2"


def test_a_requeue_that_dies_again_has_both_deaths_in_its_history(room: Room):
    letter = bury(room)
    requeue(room, letter, action="stop", service="web")
    for _ in range(5):
        room.take()
        room.pass_time(10_000)
    room.take()
    second = room.dead()[-1]
    history = json.loads(second["history"])
    assert [item["kind"] for item in history] == ["attempts_exhausted"] * 2
    assert [item["id"] for item in history] == ["k1", f"{letter}:r1"]
    assert json.loads(room.receipt(f"{letter}:r1").get("history", "[]"))[0]["id"] == "k1"


def test_a_malformed_body_must_be_mended_first(room: Room):
    entry = room.add(action="stop")
    room.take()
    letter = room.dead()[0]["dead_id"]
    before = room.dump()
    assert requeue(room, letter, action="stop")[0] == "malformed"
    assert room.dump() == before
    assert requeue(room, letter, action="stop", service="web")[0] == "ok"
    assert room.status(entry) == "dead"
    assert json.loads(room.receipt(f"{letter}:r1")["history"])[0]["error"] == "invalid_command"


@pytest.mark.parametrize("letter", ["1-1", "0-0"])
def test_what_is_no_letter_is_unknown(room: Room, letter: str):
    bury(room)
    before = room.dump()
    assert requeue(room, letter, action="stop", service="web") == ["unknown"]
    assert room.dump() == before


def test_dropping_takes_the_letters_and_the_counts_of_their_requeues(room: Room):
    letter = bury(room)
    requeue(room, letter, action="stop", service="web")
    assert room.client.hgetall(room.keys.requeues) == {letter: "1"}
    assert room.call("drop", letter, "5-5") == 1
    assert room.dead() == []
    assert room.client.exists(room.keys.requeues) == 0
    assert room.call("drop") == 0


def test_dropping_something_that_is_no_id_drops_nothing(room: Room):
    letter = bury(room)
    before = room.dump()
    with pytest.raises(redis.ResponseError, match="Invalid stream ID"):
        room.call("drop", letter, "nonsense")
    assert room.dump() == before


def test_the_dead_keep_the_newest_ten_thousand(room: Room):
    room.client.xadd(room.keys.dead, {"kind": "malformed"}, id="1-1")
    with room.client.pipeline(transaction=False) as pipe:
        for _ in range(9_999):
            pipe.xadd(room.keys.dead, {"kind": "malformed"})
        pipe.execute()
    room.add(action="explode")
    room.take()
    assert room.client.xlen(room.keys.dead) == 10_000
    assert room.client.xrange(room.keys.dead, count=1)[0][0] != "1-1"
