"""One command of a service at a time, in stream order, whoever works; only the holder of the token writes."""

import pytest

from tests.support.scripts import LEASE, MAX_ATTEMPTS, Grant, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")


def add(room: Room, service: str, *ids: str, action: str = "restart", **fields: object) -> None:
    for command_id in ids:
        room.publish(action=action, service=service, id=command_id, **fields)


def begun(room: Room, service: str = "web", command_id: str = "k1", worker: str = "w1") -> Grant:
    add(room, service, command_id)
    grant = room.take(worker).only()
    assert room.begin(grant)[0] == "ok"
    return grant


# Order


def test_one_lease_at_a_time_in_stream_order_whoever_takes(room: Room):
    add(room, "web", "a", "b", "c")
    order = []
    for worker in ("w1", "w2", "w3"):
        grant = room.take(worker).only()
        assert room.take("other").grants == []
        room.begin(grant)
        assert room.take("other").grants == []
        assert room.settle(grant).word == "ok"
        order.append(grant.id)
    assert order == ["a", "b", "c"]
    assert room.take().grants == []
    assert room.lane("web") == []


def test_a_slow_service_delays_no_other_however_long_its_lane(room: Room):
    add(room, "slow", *(f"s{n}" for n in range(200)))
    add(room, "fast", "f1")
    taken = room.take(free=2, count=500)
    assert [grant.id for grant in taken.grants] == ["s0", "f1"]
    assert room.take(free=10).grants == []
    assert room.client.zcard(room.keys.leases) == 2


def test_lanes_take_turns(room: Room):
    for service in ("a", "b", "c"):
        add(room, service, f"{service}1", f"{service}2")
    grant = room.take(free=1).only()
    order = [grant.id]
    while True:
        settled = room.settle(grant, want=1)
        assert settled.word == "ok"
        if not settled.grants:
            break
        grant = settled.grants[0]
        order.append(grant.id)
    assert order == ["a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_take_gives_no_more_than_is_wanted(room: Room):
    for n in range(10):
        add(room, f"s{n}", f"k{n}")
    assert room.take(free=0).grants == []
    assert len(room.take(free=3).grants) == 3
    assert len(room.take(free=100).grants) == 7


def test_a_grant_has_all_that_is_needed_to_run(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running", "port": 80}, memo='{"m":1}')
    published = room.publish(action="stop", service="web", id="k1", timeout=7, issuer="me")[1]
    grant = room.take().only()
    assert (grant.service, grant.id, grant.takeover, grant.ver, grant.memo) == (
        "web",
        "k1",
        False,
        "1",
        '{"m":1}',
    )
    assert grant.receipt == published
    assert grant.snapshot == room.snapshot("web")


# Leases


def test_a_lapsed_lease_of_an_unbegun_command_is_given_to_another_and_counts_no_attempt(room: Room):
    add(room, "web", "k1")
    first = room.take("w1").only()
    room.pass_time(LEASE - 1)
    assert room.take("w2").grants == []
    room.pass_time(1)
    second = room.take("w2").only()
    assert (second.id, second.takeover) == ("k1", False)
    assert "attempt" not in room.receipt("k1")
    assert second.token != first.token
    room.begin(second)
    assert room.receipt("k1")["attempt"] == "1"
    assert room.receipt("k1")["worker"] == "w2"


def test_max_attempts_losses_in_a_row_end_a_command_dead(room: Room):
    add(room, "web", "k1", "k2")
    for _ in range(MAX_ATTEMPTS):
        assert room.take().only().id == "k1"
        room.pass_time(LEASE)
    assert room.take().only().id == "k2"
    receipt = room.receipt("k1")
    assert (receipt["status"], receipt["code"], receipt["error"]) == ("dead", "500", "attempts_exhausted")
    [letter] = room.dead()
    assert (letter["kind"], letter["id"], letter["entry"]) == ("attempts_exhausted", "k1", receipt["entry"])
    assert room.told() == [("command.dead", "k1")]
    assert room.pending() == 1


@pytest.mark.parametrize("reset", ["handed back", "begun"])
def test_only_losses_in_a_row_count(room: Room, reset: str):
    add(room, "web", "k1")
    for _ in range(MAX_ATTEMPTS - 1):
        room.take()
        room.pass_time(LEASE)
    grant = room.take().only()
    if reset == "begun":
        room.begin(grant)
        assert "losses" not in room.receipt("k1")
        return
    room.handback(grant)
    for _ in range(MAX_ATTEMPTS - 1):
        assert room.take().only().id == "k1"
        room.pass_time(LEASE)
    assert room.take().only().id == "k1"


def test_a_begun_command_is_taken_over_with_its_evidence_and_one_attempt_more(room: Room):
    add(room, "web", "k1", "k2")
    grant = room.take("w1").only()
    room.begin(grant, evidence={"worker": "w1", "before_container_id": "c0ffee", "before_started_at": "t0"})
    called_at = room.receipt("k1")["called_at"]
    room.pass_time(LEASE)
    again = room.take("w2").only()
    assert (again.id, again.takeover) == ("k1", True)
    assert again.receipt == room.receipt("k1")
    kept = {name: again.receipt[name] for name in ("before_container_id", "before_started_at", "called_at")}
    assert kept == {"before_container_id": "c0ffee", "before_started_at": "t0", "called_at": called_at}
    assert (again.receipt["worker"], again.receipt["attempt"], again.receipt["status"]) == (
        "w2",
        "2",
        "running",
    )
    assert room.told() == [("command.started", "k1")]  # started is told of the first attempt only

    room.pass_time(1)
    assert room.begin(again, evidence={"before_container_id": "", "before_started_at": "t1"})[0] == "ok"
    renewed = room.receipt("k1")
    assert (renewed["attempt"], renewed["before_started_at"]) == ("2", "t1")
    assert "before_container_id" not in renewed
    assert renewed["called_at"] == room.time() != called_at
    assert renewed["started_at"] == called_at
    assert room.told() == [("command.started", "k1")]
    room.settle(again)
    assert room.take().only().id == "k2"


def test_the_takeover_that_would_make_one_attempt_too_many_ends_it_dead(room: Room):
    add(room, "web", "k1")
    add(room, "web", "k2")
    room.begin(room.take().only())
    for attempt in range(2, MAX_ATTEMPTS + 1):
        room.pass_time(LEASE)
        again = room.take().only()
        assert (again.id, again.receipt["attempt"]) == ("k1", str(attempt))
    room.pass_time(LEASE)
    assert room.take().only().id == "k2"
    receipt = room.receipt("k1")
    assert (receipt["status"], receipt["error"], receipt["attempt"]) == ("dead", "attempts_exhausted", "5")
    assert room.dead()[0]["attempts"] == "5"
    assert room.told() == [("command.started", "k1"), ("command.dead", "k1")]


def test_handbacks_of_a_begun_command_never_count(room: Room):
    grant = begun(room)
    for _ in range(2 * MAX_ATTEMPTS):
        assert room.handback(grant) == 1
        grant = room.take("w2").only()
        assert (grant.id, grant.takeover) == ("k1", True)
    assert room.settle(grant).word == "ok"
    assert room.dead() == []


def test_a_poisoned_lane_goes_on(room: Room):
    add(room, "web", "bad", "good")
    for _ in range(MAX_ATTEMPTS):
        room.begin(room.take().only())
        room.pass_time(LEASE)
    good = room.take().only()
    assert good.id == "good"
    room.begin(good)
    room.settle(good)
    assert (room.lane("web"), room.pending(), room.client.xlen(room.keys.commands)) == ([], 0, 0)


def test_a_take_that_waited_gives_nothing_to_a_worker_that_beats_no_more(room: Room):
    room.call("beat", "w1", "w1-i", 60_000)
    room.pass_time(1000)
    add(room, "a", "a")
    frozen = room.take("w1", beaten=1000)
    assert (frozen.grants, frozen.more) == ([], True)  # one that is only late takes again at once
    assert room.take("w1", beaten=1001).only().id == "a"
    add(room, "b", "b")
    assert room.take("nobody", beaten=1000).grants == []
    assert room.take("nobody").only().id == "b"


def test_a_lane_that_comes_with_a_settlement_brings_its_snapshot_or_leaves_it_out(room: Room):
    room.be_observer()
    room.observe("b", {"status": "running"})
    for service in ("a", "b"):
        add(room, service, service)
    first = room.take(free=1).only()
    assert (first.id, room.begin(first)[0]) == ("a", "ok")
    [lean] = room.settle(first, want=2).grants
    assert (lean.id, lean.snapshot, lean.ver) == ("b", {}, "1")
    room.handback(lean)
    add(room, "a", "a2")
    again = room.take(free=1).only()
    while again.id != "a2":
        room.handback(again)
        again = room.take(free=1).only()
    [whole] = room.settle(again, want=1).grants
    assert (whole.id, whole.snapshot["status"], whole.ver, whole.memo) == ("b", "running", "1", lean.memo)


def test_renew_prolongs_only_what_the_token_holds_before_its_deadline(room: Room):
    for service in ("a", "b", "c"):
        add(room, service, service)
    grants = {grant.id: grant for grant in room.take().grants}
    room.pass_time(LEASE - 1)
    assert room.renew(grants["a"], grants["b"]) == [True, True]
    room.pass_time(1)
    assert room.renew(grants["c"], grants["a"]) == [False, True]  # c lapsed though nobody has noticed
    stale = room.take("w2").only()
    assert stale.id == "c"
    assert room.renew(grants["c"], stale) == [False, True]
    room.pass_time(LEASE - 1)
    room.begin(grants["a"])
    room.pass_time(1)
    assert room.renew(grants["a"]) == [False]  # a begin prolongs nothing, unless it is asked to
    again = room.take("w3").grants
    room.pass_time(LEASE - 1)
    room.begin(next(grant for grant in again if grant.id == "a"), lease=LEASE)
    room.pass_time(1)
    assert "a" not in {grant.id for grant in room.take("w4").grants}


# Fences


def stale_grants(room: Room) -> dict[str, Grant]:
    """Return grants that hold nothing any more, each for another reason."""
    taken_over = begun(room, "taken-over", "k1")
    add(room, "handed-back", "k2")
    handed_back = room.take("w1").only()
    room.handback(handed_back)
    room.pass_time(LEASE)
    room.take("w2", free=10)
    add(room, "lapsed", "k3")
    lapsed = room.take("w1").only()
    room.renew(lapsed, lease=5)
    room.pass_time(5)  # nobody has noticed
    return {"taken over": taken_over, "lapsed": lapsed, "handed back": handed_back}


@pytest.mark.parametrize("why", ["taken over", "lapsed", "handed back"])
def test_a_stale_token_writes_nothing(room: Room, why: str):
    grant = stale_grants(room)[why]
    before = room.dump()
    fields = {"memo": "{}", "snapshot": {"status": "running"}}
    assert room.begin(grant, **fields) == ["fenced"]
    assert room.settle(grant, want=1, **fields).word == "fenced"
    assert room.settle(grant, started=True, **fields).word == "fenced"
    assert room.settle(grant, overdue=True).word == "fenced"
    assert room.renew(grant) == [False]
    assert room.handback(grant) == 0
    assert room.handback(grant, rest=1000) == 0
    assert room.dump() == before


def test_an_empty_token_holds_nothing(room: Room):
    grant = begun(room)
    room.handback(grant, rest=1000)
    nobody = Grant(grant.service, grant.id, "", grant.takeover, {}, {}, "0", "", "w2")
    before = room.dump()
    assert room.begin(nobody) == ["fenced"]
    assert room.settle(nobody).word == "fenced"
    assert room.handback(nobody) == 0
    assert room.renew(nobody) == [False]
    assert room.dump() == before


def test_a_settle_that_is_repeated_is_done_for_its_own_token_only(room: Room):
    grant = begun(room)
    assert room.settle(grant).word == "ok"
    before = room.dump()
    assert room.settle(grant, want=1).word == "done"
    assert room.settle(grant, started=True, memo="{}", snapshot={"status": "running"}).word == "done"
    other = Grant(grant.service, grant.id, "another", grant.takeover, {}, {}, "0", "", "w2")
    assert room.settle(other).word == "fenced"
    assert room.begin(grant) == ["fenced"]
    assert room.dump() == before


def test_a_decision_made_on_an_older_snapshot_is_answered_and_nothing_written(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running"}, memo='{"m":1}')
    add(room, "web", "k1")
    grant = room.take().only()
    before = room.dump()
    snapshot = [item for pair in room.snapshot("web").items() for item in pair]
    assert room.begin(grant, ver="0", snapshot={"desired": "stopped"}) == ["stale", snapshot, "1", '{"m":1}']
    assert room.settle(grant, ver="7", memo="{}").word == "stale"
    assert room.dump() == before
    assert room.begin(grant, snapshot={"desired": "stopped"}, memo="{}")[3] == "2"
    assert room.settle(grant, memo="{}").word == "stale"  # the begin has made version 2
    assert room.settle(grant, ver="2", memo="{}").word == "ok"


def test_what_needs_no_call_begins_and_settles_in_one_step(room: Room):
    add(room, "web", "k1", action="disable")
    grant = room.take().only()
    outcome = {"status": "succeeded", "code": 200, "changed": 1}
    room.settle(
        grant, outcome=outcome, started=True, memo="{}", snapshot={"status": "disabled", "enabled": 0}
    )
    assert room.told() == [
        ("command.started", "k1"),
        ("service.discovered", "web"),
        ("command.settled", "k1"),
    ]
    receipt = room.receipt("k1")
    assert (receipt["attempt"], receipt["worker"], receipt["started_at"]) == ("1", "w1", room.time())
    assert receipt["revision"] == "3"
    assert room.snapshot("web")["revision"] == "2"


def test_a_rejection_is_settled_alone(room: Room):
    add(room, "web", "k1")
    grant = room.take().only()
    room.settle(grant, outcome={"status": "rejected", "code": 404, "error": "service_not_found"})
    assert room.told() == [("command.settled", "k1")]
    assert "attempt" not in room.receipt("k1")
    assert room.snapshot("web") == {}


def test_an_engine_that_does_not_come_back_ends_a_begun_command_only_after_its_deadline(room: Room):
    add(room, "web", "k1", expires_at=room.time(1000))
    grant = room.take().only()
    room.begin(grant)
    before = room.dump()
    outcome = {"status": "failed", "code": 503, "error": "engine_unavailable"}
    assert room.settle(grant, overdue=True, outcome=outcome).word == "early"
    assert room.dump() == before
    room.pass_time(1000)
    assert room.settle(grant, overdue=True, outcome=outcome).word == "ok"
    assert room.status("k1") == "failed"


# Giving back


def test_a_handback_frees_the_lane_at_once_and_wakes_the_others(room: Room):
    add(room, "web", "k1")
    grant = room.take("w1").only()
    room.client.delete(room.keys.wake)
    assert room.handback(grant) == 1
    assert room.client.xlen(room.keys.wake) == 1
    assert room.handback(grant) == 0
    assert room.client.xlen(room.keys.wake) == 1
    again = room.take("w2").only()
    assert (again.id, again.takeover) == ("k1", False)
    assert room.begin(grant) == ["fenced"]
    room.begin(again)
    assert room.receipt("k1")["attempt"] == "1"


def test_a_rest_keeps_the_lane_closed_until_it_is_over(room: Room):
    add(room, "web", "k1", "k2")
    room.handback(room.take("w1").only(), rest=2000)
    assert room.take("w2").grants == []
    room.pass_time(1999)
    taken = room.take("w2")
    assert taken.grants == []
    assert taken.due == room.now + 1
    room.pass_time(1)
    again = room.take("w2").only()
    assert (again.id, room.receipt("k1").get("losses")) == ("k1", None)
    room.begin(again)
    room.handback(again, rest=2000)
    assert room.take("w2").grants == []
    room.pass_time(2000)
    once_more = room.take("w2").only()
    assert (once_more.id, once_more.takeover) == ("k1", True)


def test_reconcile_frees_what_this_process_does_not_know_and_nothing_else(room: Room):
    for service in ("known", "forgotten", "begun"):
        add(room, service, f"{service}-1")
    grants = {grant.service: grant for grant in room.take("w1").grants}
    room.begin(grants["begun"])
    add(room, "other", "other-1")
    other = room.take("w2").only()
    assert room.call("reconcile", "w1-i", grants["known"].token) == ["begun", "forgotten"]
    assert room.renew(grants["known"], other, grants["begun"], grants["forgotten"]) == [
        True,
        True,
        False,
        False,
    ]
    again = {grant.service: grant for grant in room.take("w3").grants}
    assert {name: grant.takeover for name, grant in again.items()} == {"begun": True, "forgotten": False}
    assert room.call("reconcile", "w1-i", grants["known"].token) == []


def test_a_reconciled_command_is_neither_lost_nor_attempted(room: Room):
    add(room, "web", "k1")
    for _ in range(2 * MAX_ATTEMPTS):
        room.take("w1")
        assert room.call("reconcile", "w1-i") == ["web"]
    grant = room.take("w1").only()
    room.begin(grant)
    for _ in range(2 * MAX_ATTEMPTS):
        assert room.call("reconcile", "w1-i") == ["web"]
        assert room.take("w1").only().takeover
    assert room.dead() == []


def test_a_settle_gives_the_longest_waiting_lane_next_if_it_is_wanted(room: Room):
    add(room, "a", "a1", "a2")
    add(room, "b", "b1")
    grant = room.take(free=1).only()
    room.begin(grant)
    assert room.settle(grant).grants == []
    [b1] = room.take(free=1).grants
    [a2] = room.settle(b1, want=1, mark="next").grants
    assert (b1.id, a2.id, a2.token) == ("b1", "a2", "next:1")
    assert room.begin(a2)[0] == "ok"


def test_a_settle_leaves_a_begun_head_where_it_waits_and_lets_others_know(room: Room):
    add(room, "web", "k1", "k2")
    k1 = room.take().only()
    add(room, "begun", "b1")
    begun = room.take("w2").only()
    room.begin(begun)
    room.handback(begun)
    room.client.delete(room.keys.wake)
    turn = room.client.zscore(room.keys.ready, "begun")
    assert room.settle(k1, want=1).grants == []
    assert room.client.zscore(room.keys.ready, "begun") == turn
    assert room.client.zrange(room.keys.ready, 0, -1) == ["begun", "web"]
    assert room.client.xlen(room.keys.wake) == 1
    assert [(grant.id, grant.takeover) for grant in room.take("w3").grants] == [("b1", True), ("k2", False)]


def test_who_wants_no_next_lane_wakes_those_who_may(room: Room):
    add(room, "web", "k1", "k2", "k3")
    k1 = room.take().only()
    room.client.delete(room.keys.wake)
    [k2] = room.settle(k1, want=1).grants
    assert room.client.exists(room.keys.wake) == 0
    room.settle(k2)
    assert room.client.xlen(room.keys.wake) == 1
    k3 = room.take("w2").only()
    room.client.delete(room.keys.wake)
    room.settle(k3)
    assert room.client.exists(room.keys.wake) == 0  # there is nothing left to do


# Without an engine


def test_without_an_engine_only_what_needs_none_is_given_wherever_it_waits(room: Room):
    for n in range(300):
        add(room, f"s{n}", f"k{n}")
    add(room, "blocked", "b1")
    add(room, "blocked", "b2", action="enable")
    add(room, "free", "f1", action="disable")
    add(room, "free2", "f2", action="enable")
    taken = room.take(free=10, count=1000, state_only=True)
    assert [grant.id for grant in taken.grants] == ["f1", "f2"]
    assert room.take(free=10, state_only=True).grants == []
    assert len(room.take(free=1000).grants) == 301


def test_without_an_engine_no_more_is_given_than_wanted(room: Room):
    for n in range(5):
        add(room, f"s{n}", f"k{n}", action="enable")
    assert len(room.take(free=2, state_only=True).grants) == 2
    assert room.take(free=0, state_only=True).grants == []
    assert len(room.take(free=5, state_only=True).grants) == 3


# What somebody else breaks


@pytest.mark.parametrize("kind", ["lane", "lease", "state", "service"])
def test_one_broken_lane_holds_up_no_other_and_goes_on_when_mended(room: Room, kind: str):
    add(room, "web", "k1", "k2")
    key = f"{room.keys.base}{kind}:web"
    room.take(free=0)
    saved = room.client.zrange(key, 0, -1, withscores=True) if kind == "lane" else []
    room.client.set(key, "broken")
    for n in range(3):
        add(room, f"s{n}", f"n{n}")
    assert [grant.id for grant in room.take().grants] == ["n0", "n1", "n2"]
    assert room.take(state_only=True).grants == []
    room.client.delete(key)
    if saved:
        room.client.zadd(key, dict(saved))
    assert room.take().only().id == "k1"


def test_entries_of_a_broken_lane_are_told_of_and_the_rest_is_placed(room: Room):
    room.client.set(room.keys.lane("web"), "broken")
    raw = room.add(action="restart", service="web")
    room.add(action="restart", service="db", id="k2")
    assert room.take().only().id == "k2"
    assert room.status(raw) == "dead"
    assert "lane:web" in room.dead()[0]["detail"]
