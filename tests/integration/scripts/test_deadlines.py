"""Expiry and `not_before`, both by the room's clock."""

import random

import pytest

from tests.support.scripts import START, TTL, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")


def restart(room: Room, command_id: str, service: str = "web", **fields: object) -> str:
    answer = room.publish(action="restart", service=service, id=command_id, **fields)
    assert answer[0] == "ok"
    return str(answer[1]["entry"])


def run_all(room: Room) -> list[str]:
    """Take, begin and settle until nothing is left; return the ids in the order in which they ran."""
    order = []
    while grants := room.take(free=1).grants:
        room.begin(grants[0])
        room.settle(grants[0])
        order.append(grants[0].id)
    return order


# Expiry


def test_an_unstarted_command_past_its_deadline_ends_as_expired_in_a_blocked_lane_too(room: Room):
    restart(room, "busy")
    restart(room, "short", expires_at=room.time(5000))
    restart(room, "long")
    grant = room.take(lease=60_000).only()
    room.begin(grant)
    room.renew(grant, lease=60_000)
    room.pass_time(4999)
    taken = room.take("w2")
    assert (room.status("short"), taken.due) == ("queued", room.now + 1)
    room.pass_time(1)
    room.take("w2")
    receipt = room.receipt("short")
    assert (receipt["status"], receipt["code"], receipt["error"]) == ("expired", "410", "expired")
    assert receipt["finished_at"] == room.time()
    assert "started_at" not in receipt
    assert "attempt" not in receipt
    assert room.told() == [("command.started", "busy"), ("command.settled", "short")]
    assert room.lane("web") == ["busy", "long"]
    assert room.pending() == 2


def test_a_command_found_overdue_after_an_outage_never_runs(room: Room):
    restart(room, "published", expires_at=room.time(1000))
    room.add(action="restart", service="db", id="raw", expires_at=room.time(1000))
    room.add(action="restart", service="old", id="default")
    restart(room, "alive", service="x", expires_at=room.time(2 * TTL))
    room.pass_time(TTL)
    assert run_all(room) == ["alive"]
    assert {room.status(name) for name in ("published", "raw", "default")} == {"expired"}
    assert (room.pending(), room.client.xlen(room.keys.commands)) == (0, 0)


def test_the_default_deadline_is_the_later_of_entry_time_and_not_before_plus_the_time_to_live(room: Room):
    restart(room, "plain")
    restart(room, "delayed", not_before=room.time(60_000))
    restart(room, "past", not_before=room.time(-60_000))
    room.add(action="stop", service="db", id="raw")
    room.pass_time(1000)
    room.take(free=0)
    expected = {"plain": TTL, "delayed": TTL + 60_000, "past": TTL, "raw": TTL}
    for name, after in expected.items():
        assert room.receipt(name)["expires_at"] == room.time(after - 1000)


def test_an_entrys_time_is_never_later_than_when_it_was_seen(room: Room):
    room.client.xadd(room.keys.commands, {"action": "stop", "service": "web"}, id=f"{START + 10 * TTL}-0")
    room.take(free=0)
    assert room.receipt(f"{START + 10 * TTL}-0")["expires_at"] == room.time(TTL)


def test_the_last_of_all_times_is_a_deadline_like_any_other(room: Room):
    restart(room, "k1", not_before="9999-12-31T23:59:59.998Z")
    room.add(action="stop", service="db", id="k2", not_before="9999-12-31T23:59:59.999Z")
    room.take()
    assert room.receipt("k1")["expires_at"] == room.receipt("k2")["expires_at"] == "9999-12-31T23:59:59.999Z"
    assert room.status("k1") == room.status("k2") == "scheduled"


def test_begin_and_settle_find_a_deadline_that_no_take_has_seen(room: Room):
    restart(room, "k1", expires_at=room.time(1000))
    restart(room, "k2", service="db", expires_at=room.time(1000))
    grants = room.take().grants
    room.pass_time(1000)
    assert room.begin(grants[0]) == ["ended", "expired"]
    assert room.settle(grants[1], started=True).word == "ended"
    assert room.status("k1") == room.status("k2") == "expired"
    assert room.told() == [("command.settled", "k1"), ("command.settled", "k2")]
    assert room.client.zcard(room.keys.leases) == 0
    assert room.pending() == 0


def test_what_has_begun_does_not_expire(room: Room):
    restart(room, "k1", expires_at=room.time(1000))
    grant = room.take(lease=9000).only()
    room.begin(grant)
    room.renew(grant, lease=9000)
    room.pass_time(5000)
    room.take("w2")
    assert room.status("k1") == "running"
    assert room.settle(grant).word == "ok"
    assert room.status("k1") == "succeeded"


def test_a_begun_command_past_its_deadline_is_still_taken_over(room: Room):
    restart(room, "k1", expires_at=room.time(1000))
    room.begin(room.take().only())
    room.pass_time(20_000)
    again = room.take("w2").only()
    assert again.takeover
    assert room.begin(again)[0] == "ok"
    assert room.settle(again).word == "ok"


def test_hundreds_that_expire_at_once_are_ended_batch_by_batch(room: Room):
    for n in range(250):
        restart(room, f"k{n}", service=f"s{n}", expires_at=room.time(1000))
    while room.take(free=0, count=100).more:
        pass
    room.pass_time(1000)
    calls = 1
    while room.take(free=0).more:
        calls += 1
    assert calls == 3
    assert {room.status(f"k{n}") for n in range(250)} == {"expired"}


# not_before


def test_a_command_is_in_no_lane_before_it_is_due_and_enters_at_the_tail(room: Room):
    restart(room, "later", not_before=room.time(10_000))
    restart(room, "now")
    assert room.status("later") == "scheduled"  # the publisher says so already
    taken = room.take(free=0)
    assert taken.due == room.now + 10_000
    assert room.lane("web") == ["now"]
    room.pass_time(9_999)
    room.take(free=0)
    assert room.status("later") == "scheduled"
    room.pass_time(1)
    room.take(free=0)
    assert room.status("later") == "queued"
    assert room.lane("web") == ["now", "later"]
    assert run_all(room) == ["now", "later"]
    assert room.client.zcard(room.keys.scheduled) == 0


def test_one_already_due_when_first_seen_enters_like_any_other(room: Room):
    restart(room, "a")
    restart(room, "due", not_before=room.time())
    restart(room, "past", not_before=room.time(-1))
    restart(room, "b")
    restart(room, "seen-late", not_before=room.time(1000))
    assert [room.status(name) for name in ("due", "past")] == ["queued", "queued"]
    room.pass_time(1000)
    assert run_all(room) == ["a", "due", "past", "b", "seen-late"]


def test_overdue_ones_enter_in_due_order_before_new_entries_however_many(room: Room):
    rng = random.Random(7)
    delays = rng.sample(range(1000, 60_000), 250)
    for n, delay in enumerate(delays):
        restart(room, f"k{n}", not_before=room.time(delay), expires_at=room.time(10_000_000))
    while room.take(free=0, count=100).more:
        pass
    restart(room, "new", expires_at=room.time(10_000_000))
    room.pass_time(60_000)
    while room.take(free=0).more:
        pass
    due_order = [f"k{n}" for n in sorted(range(250), key=delays.__getitem__)]
    assert room.lane("web") == [*due_order, "new"]


def test_ties_are_broken_by_entry_id_as_a_number(room: Room):
    due = room.time(10_000_000)
    entries = ["5-2", "5-10", "90-1", "1000-0", "1000-100", f"{START}-9", f"{START}-10", f"{START + 1}-0"]
    room.client.delete(room.keys.commands)
    for entry in entries:
        fields = {"action": "stop", "service": "web", "not_before": due, "expires_at": room.time(20_000_000)}
        room.client.xadd(room.keys.commands, fields, id=entry)
    room.epoch()
    room.take()
    assert {room.status(entry) for entry in entries} == {"scheduled"}
    room.pass_time(10_000_000)
    room.take(free=0)
    assert room.lane("web") == entries


def test_a_scheduled_command_runs_once_through_a_new_epoch(room: Room):
    restart(room, "k1", not_before=room.time(1000))
    room.take()
    room.epoch(forced=True)
    room.take("w2")
    room.pass_time(1000)
    room.epoch(forced=True)
    assert run_all(room) == ["k1"]
    assert run_all(room) == []


def test_a_scheduled_command_expires_only_after_it_was_due(room: Room):
    restart(room, "k1", not_before=room.time(1000), expires_at=room.time(1001))
    room.take()
    room.pass_time(1001)
    assert run_all(room) == []
    assert room.status("k1") == "expired"
    assert room.client.zcard(room.keys.scheduled) == 0
    assert room.pending() == 0


def test_the_next_deadline_is_the_earliest_of_lease_expiry_and_schedule(room: Room):
    assert room.take().due == 0
    restart(room, "k1", not_before=room.time(9000))
    assert room.take().due == room.now + 9000
    restart(room, "k2", service="db", expires_at=room.time(20_000))
    assert room.take(lease=3000).due == room.now + 3000
