"""Cancel wins or loses cleanly, in every state."""

import pytest

from tests.support.scripts import Room

pytestmark = pytest.mark.redis_versions("7", "6.2")


def publish(room: Room, **fields: object) -> None:
    room.publish(**({"action": "restart", "service": "web", "id": "k1"} | fields))


def assert_canceled(room: Room, command_id: str = "k1") -> None:
    receipt = room.receipt(command_id)
    assert (receipt["status"], receipt["code"], receipt["error"]) == ("canceled", "410", "canceled")
    assert receipt["finished_at"] == room.time()
    assert room.told() == [("command.settled", command_id)]
    assert (room.pending(), room.client.xlen(room.keys.commands)) == (0, 0)
    for key in (room.keys.expiries, room.keys.scheduled, room.keys.unread, room.keys.leases, room.keys.ready):
        assert room.client.zcard(key) == 0
    assert room.take().grants == []
    room.pass_time(10_000_000)
    assert room.take().grants == []
    assert room.told() == [("command.settled", command_id)]


def test_published_and_unread(room: Room):
    publish(room)
    answer = room.cancel("k1")
    assert answer == ["ok", room.receipt("k1")]
    assert_canceled(room)


def test_queued(room: Room):
    publish(room)
    room.take(free=0)
    assert room.cancel("k1")[0] == "ok"
    assert_canceled(room)


def test_scheduled(room: Room):
    publish(room, not_before=room.time(5000))
    room.take()
    assert room.status("k1") == "scheduled"
    assert room.cancel("k1")[0] == "ok"
    assert_canceled(room)


def test_granted_and_not_begun(room: Room):
    publish(room)
    grant = room.take().only()
    assert room.cancel("k1")[0] == "ok"
    before = room.dump()
    assert room.begin(grant) == ["fenced"]
    assert room.settle(grant, started=True).word == "fenced"
    assert room.handback(grant) == 0
    assert room.dump() == before
    assert_canceled(room)


def test_in_the_middle_of_a_lane(room: Room):
    for name in ("a", "k1", "b"):
        publish(room, id=name)
    room.take(free=0)
    assert room.cancel("k1")[0] == "ok"
    assert room.lane("web") == ["a", "b"]
    assert room.take().only().id == "a"


def test_running_and_settled_are_refused_and_nothing_changes(room: Room):
    publish(room)
    grant = room.take().only()
    room.begin(grant)
    before = room.dump()
    assert room.cancel("k1") == ["refused", room.receipt("k1")]
    assert room.dump() == before
    room.settle(grant)
    before = room.dump()
    assert room.cancel("k1") == ["refused", room.receipt("k1")]
    assert room.cancel(room.receipt("k1")["entry"]) == ["unknown"]
    assert room.dump() == before


def test_cancelled_twice_is_refused(room: Room):
    publish(room)
    room.cancel("k1")
    before = room.dump()
    assert room.cancel("k1") == ["refused", room.receipt("k1")]
    assert room.dump() == before


@pytest.mark.parametrize(
    "unknown", ["nobody", "", "1-1", "99999999999999999999999-0", "1-", "0-0", "-", "a b\n"]
)
def test_what_nobody_knows_is_unknown(room: Room, unknown: str):
    publish(room)
    before = room.dump()
    assert room.cancel(unknown) == ["unknown"]
    assert room.dump() == before


def test_a_raw_entry_that_no_worker_has_seen_by_its_stream_id(room: Room):
    entry = room.add(action="stop", service="web")
    assert room.cancel(entry) == ["ok", room.receipt(entry)]
    assert_canceled(room, entry)


def test_a_raw_entry_with_an_id_of_its_own_by_its_stream_id(room: Room):
    entry = room.add(action="stop", service="web", id="k1", not_before=room.time(5000))
    answer = room.cancel(entry)
    assert answer == ["ok", room.receipt("k1")]
    assert room.receipt("k1")["entry"] == entry
    assert room.receipt(entry) == {}
    assert_canceled(room)


def test_a_published_entry_by_its_stream_id(room: Room):
    publish(room)
    assert room.cancel(room.receipt("k1")["entry"])[0] == "ok"
    assert_canceled(room)


def test_a_raw_duplicate_by_its_stream_id_leaves_the_first_alone(room: Room):
    publish(room)
    entry = room.add(action="restart", service="web", id="k1")
    answer = room.cancel(entry)
    assert answer[0] == "refused"
    assert (answer[1]["id"], answer[1]["status"], answer[1]["duplicates"]) == ("k1", "queued", "1")
    assert room.take().only().id == "k1"
    assert room.receipt("k1")["duplicates"] == "1"


def test_a_raw_conflict_by_its_stream_id_is_the_conflict_that_it_is(room: Room):
    publish(room)
    entry = room.add(action="stop", service="web", id="k1")
    assert room.cancel(entry)[0] == "refused"
    assert room.receipt(entry)["error"] == "idempotency_conflict"
    assert room.status("k1") == "queued"
    assert len(room.dead()) == 1


def test_a_malformed_entry_by_its_stream_id_is_buried(room: Room):
    entry = room.add(action="explode", service="web")
    answer = room.cancel(entry)
    assert (answer[0], answer[1]["status"], answer[1]["code"]) == ("refused", "dead", "400")
    assert room.told() == [("command.dead", entry)]
    assert room.take().grants == []
    assert len(room.dead()) == 1


def test_it_works_before_any_worker_has_made_an_epoch(bare: Room):
    entry = bare.add(action="stop", service="web")
    assert bare.cancel(entry)[0] == "ok"
    assert bare.told() == [("command.settled", entry)]
    bare.publish(action="stop", service="web", id="k2")
    assert bare.cancel("k2")[0] == "ok"
    assert bare.take().grants == []


def test_a_cancel_burns_the_id_and_starts_its_window(room: Room):
    publish(room)
    room.cancel("k1", window=60_000)
    assert room.publish(action="restart", service="web", id="k1")[0] == "duplicate"
    assert 0 < room.client.pttl(room.keys.command("k1")) <= 60_000
