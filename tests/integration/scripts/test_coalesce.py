"""`coalesce`: a command joins the lane's last one where nothing is lost by it."""

import pytest

from tests.support.scripts import Grant, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")

JOIN = {"action": "restart", "service": "web", "coalesce": "1"}


def add(room: Room, *ids: str, **fields: object) -> None:
    for command_id in ids:
        room.publish(**(JOIN | fields), id=command_id)


def running(room: Room, command_id: str = "busy") -> Grant:
    room.publish(action="restart", service="web", id=command_id)
    grant = room.take().only()
    room.begin(grant)
    return grant


def into(room: Room, command_id: str) -> str | None:
    return room.receipt(command_id).get("coalesced_into")


def test_a_hundred_restarts_while_one_runs_are_one_more(room: Room):
    grant = running(room)
    names = [f"j{n}" for n in range(100)]
    add(room, *names)
    room.take(count=200)
    assert room.lane("web") == ["busy", "j0"]
    assert [into(room, name) for name in names] == [None] + ["j0"] * 99
    assert {room.status(name) for name in names} == {"queued"}
    assert room.pending() == room.client.xlen(room.keys.commands) == 2  # joiners are acknowledged
    [more] = room.settle(grant, want=1).grants
    room.begin(more)
    after = room.revision()
    outcome = {"status": "succeeded", "code": 200, "message": "done", "changed": 1}
    room.settle(more, outcome=outcome)
    assert room.told(after=after) == [("command.settled", name) for name in names]
    for name in names:
        receipt = room.receipt(name)
        assert {key: receipt[key] for key in outcome} == {key: str(value) for key, value in outcome.items()}
        assert receipt["finished_at"] == room.time()
        assert room.client.pttl(room.keys.command(name)) > 0
    revisions = [int(room.receipt(name)["revision"]) for name in names]
    assert revisions == list(range(after + 1, after + 101))
    assert room.take().grants == []
    assert room.client.exists(room.keys.joiners("j0")) == 0
    assert room.client.zcard(room.keys.expiries) == 0


def test_at_most_a_thousand_join(room: Room):
    running(room)
    for n in range(1002):
        room.client.xadd(room.keys.commands, JOIN | {"id": f"j{n}"})
    while room.take(count=500).more:
        pass
    assert room.client.llen(room.keys.joiners("j0")) == 1000
    assert room.lane("web") == ["busy", "j0", "j1001"]


def test_a_thousand_joiners_begin_settle_and_are_told(room: Room):
    for n in range(1001):
        room.client.xadd(room.keys.commands, JOIN | {"id": f"j{n}"})
    while room.take(count=500, free=0).more:
        pass
    grant = room.take().only()
    assert room.begin(grant)[0] == "ok"
    assert room.client.zcard(room.keys.expiries) == 0
    assert room.settle(grant).word == "ok"
    assert [name for kind, name in room.told() if kind == "command.settled"] == [f"j{n}" for n in range(1001)]


@pytest.mark.parametrize(
    "other",
    [
        {"action": "stop"},
        {"timeout": "5"},
        {"expect_container_id": "0123456789ab"},
        {"expect_started_at": "t"},
    ],
)
def test_only_the_same_command_is_joined(room: Room, other: dict[str, str]):
    running(room)
    add(room, "first")
    add(room, "second", **other)
    room.take()
    assert room.lane("web") == ["busy", "first", "second"]


def test_only_the_last_of_the_lane_is_joined(room: Room):
    running(room)
    add(room, "restart", "stop", action="restart")
    add(room, "halt", action="stop")
    add(room, "again", action="restart")
    room.take()
    assert room.lane("web") == ["busy", "restart", "halt", "again"]
    assert into(room, "stop") == "restart"
    assert into(room, "again") is None


def test_what_runs_is_not_joined_and_what_does_not_ask_does_not_join(room: Room):
    running(room)
    add(room, "first")
    room.take()
    assert room.lane("web") == ["busy", "first"]
    add(room, "second", coalesce="0")
    room.take()
    assert room.lane("web") == ["busy", "first", "second"]
    add(room, "third")  # the last one need not have asked itself
    room.take()
    assert into(room, "third") == "second"


def test_a_command_that_is_granted_but_not_begun_can_be_joined(room: Room):
    add(room, "first")
    grant = room.take().only()
    add(room, "second")
    room.take("w2")
    assert into(room, "second") == "first"
    room.begin(grant)
    room.settle(grant)
    assert room.status("second") == "succeeded"


@pytest.mark.parametrize(("later", "joined"), [(-1, True), (0, True), (1, False)])
def test_the_target_must_live_as_long_as_the_joiner(room: Room, later: int, joined: bool):
    add(room, "first", expires_at=room.time(10_000))
    add(room, "second", expires_at=room.time(10_000 + later))
    room.take(free=0)
    assert (into(room, "second") == "first") is joined


@pytest.mark.parametrize("by", ["publish", "publish with its own time to live", "raw"])
def test_commands_that_were_given_the_same_time_are_joined_however_far_apart_they_come(room: Room, by: str):
    running(room)
    names = [f"j{n}" for n in range(100)]
    for name in names:
        room.pass_time(7)
        if by == "raw":
            room.add(**JOIN, id=name)
        elif by == "publish":
            room.publish(**JOIN, id=name)
        else:
            room.publish(**JOIN, id=name, ttl=60_000)
        if name.endswith("9"):
            room.take()
    assert room.lane("web") == ["busy", "j0"]
    assert [into(room, name) for name in names[1:]] == ["j0"] * 99


def test_a_joiner_that_outlives_its_target_takes_its_place(room: Room):
    running(room)
    for name in ("target", "heir", "third"):
        room.pass_time(1000)
        add(room, name)
    room.take("w2", lease=10**6)
    assert into(room, "third") == "target"
    for name, heir in (("target", "heir"), ("heir", "third")):
        left = int(room.client.zscore(room.keys.expiries, name))
        room.at(left)
        room.take("w2", free=0)
        assert room.status(name) == "expired"
        assert room.lane("web") == ["busy", heir]


def test_joiners_that_expire_one_after_the_other_do_not_keep_redis_busy(room: Room):
    running(room)
    names = [f"j{n:03}" for n in range(401)]
    for name in names:
        room.client.xadd(room.keys.commands, JOIN | {"id": name})
    while room.take(count=500).more:
        pass
    room.pass_time(10_000_000)
    calls = 1
    room.client.config_resetstat()
    while room.take(free=0).more:
        calls += 1
    assert room.client.info("commandstats")["cmdstat_hset"]["calls"] / calls < 6000
    assert {room.status(name) for name in names} == {"expired"}


def test_it_is_judged_when_the_command_enters_the_lane(room: Room):
    add(room, "later", not_before=room.time(1000), expires_at=room.time(5000))
    room.take()
    assert into(room, "later") is None
    add(room, "first", expires_at=room.time(9000))
    room.take(free=0)
    room.pass_time(1000)
    room.take(free=0)
    assert into(room, "later") == "first"
    assert room.status("later") == "queued"


def test_a_joiner_can_be_cancelled_and_expires_alone_while_its_target_waits(room: Room):
    running(room)
    add(room, "target", expires_at=room.time(60_000))
    add(room, "short", expires_at=room.time(1000))
    add(room, "unwanted", "kept", expires_at=room.time(50_000))
    room.take()
    assert room.cancel("unwanted")[0] == "ok"
    room.pass_time(1000)
    room.take()
    statuses = {name: room.status(name) for name in ("target", "short", "unwanted", "kept")}
    assert statuses == {"target": "queued", "short": "expired", "unwanted": "canceled", "kept": "queued"}
    assert room.client.lrange(room.keys.joiners("target"), 0, -1) == ["kept"]
    assert room.told() == [
        ("command.started", "busy"),
        ("command.settled", "unwanted"),
        ("command.settled", "short"),
    ]


def test_once_the_target_has_begun_its_joiners_neither_cancel_nor_expire(room: Room):
    add(room, "target", expires_at=room.time(60_000))
    add(room, "joiner", expires_at=room.time(1000))
    grant = room.take().only()
    room.begin(grant)
    room.renew(grant, lease=60_000)
    before = room.receipt("joiner")
    assert room.cancel("joiner") == ["refused", before]
    room.pass_time(2000)
    room.take("w2")
    assert room.receipt("joiner") == before
    room.settle(grant)
    assert room.status("joiner") == "succeeded"


@pytest.mark.parametrize("how", ["cancel", "expiry", "begin finds it expired", "settle finds it expired"])
def test_a_target_that_ends_unbegun_hands_its_place_to_the_oldest_joiner(room: Room, how: str):
    grant = running(room)
    ends = room.time(1000 if how != "cancel" else 60_000)
    add(room, "target", expires_at=ends)
    add(room, "gone", "heir", "third", expires_at=ends)
    room.publish(action="stop", service="web", id="behind")
    room.take()
    room.cancel("gone")
    # The joiners ask for less than the target, so that they outlive it here only by the test's own hand.
    for name in ("heir", "third"):
        room.client.hset(room.keys.command(name), "expires_at", room.time(60_000))
        room.client.zadd(room.keys.expiries, {name: room.now + 60_000})
    word = "canceled" if how == "cancel" else "expired"
    match how:
        case "cancel":
            assert room.cancel("target")[0] == "ok"
            room.settle(grant)
        case "expiry":
            room.pass_time(1000)
            room.take(free=0)
            room.settle(grant)
        case _:
            [held] = room.settle(grant, want=1).grants
            room.pass_time(1000)
            if how.startswith("begin"):
                assert room.begin(held) == ["ended", "expired"]
            else:
                assert room.settle(held).word == "ended"
    assert room.status("target") == word
    assert room.lane("web") == ["heir", "behind"]
    assert into(room, "heir") is None
    assert into(room, "third") == "heir"
    assert room.client.lrange(room.keys.joiners("heir"), 0, -1) == ["third"]
    assert room.client.exists(room.keys.joiners("target")) == 0
    heir = room.take().only()
    assert heir.id == "heir"
    room.begin(heir)
    room.settle(heir)
    assert room.status("third") == "succeeded"


def test_a_lease_on_a_cancelled_target_is_void_and_the_heir_is_given_anew(room: Room):
    add(room, "target", "heir")
    grant = room.take("w1").only()
    room.client.delete(room.keys.wake)
    room.cancel("target")
    assert room.client.xlen(room.keys.wake) == 1  # others may take the heir
    assert room.begin(grant) == ["fenced"]
    assert room.renew(grant) == [False]
    assert room.settle(grant).word == "fenced"
    again = room.take("w2").only()
    assert again.id == "heir"
    assert room.begin(again)[0] == "ok"


def test_a_hand_over_tells_nobody_of_the_heir(room: Room):
    running(room)
    add(room, "target", "heir")
    room.take()
    after = room.revision()
    room.cancel("target")
    assert room.told(after=after) == [("command.settled", "target")]
    assert room.receipt("target")["status"] == "canceled"


@pytest.mark.parametrize("ends", [{"status": "rejected", "code": 403}, {"status": "failed", "code": 504}])
def test_joiners_share_every_outcome(room: Room, ends: dict[str, object]):
    add(room, "target", "joiner")
    grant = room.take().only()
    if ends["status"] == "failed":
        room.begin(grant)
    room.settle(grant, outcome=ends | {"error": "e", "message": "m"})
    for name in ("target", "joiner"):
        receipt = room.receipt(name)
        assert (receipt["status"], receipt["error"], receipt["message"]) == (ends["status"], "e", "m")


def test_joiners_of_a_dead_target_are_settled_dead_without_a_letter_of_their_own(room: Room):
    add(room, "target", "joiner")
    for _ in range(5):
        room.begin(room.take().only())
        room.pass_time(10_000)
    room.take()
    assert [room.status(name) for name in ("target", "joiner")] == ["dead", "dead"]
    assert [letter["id"] for letter in room.dead()] == ["target"]
    assert room.told()[-2:] == [("command.dead", "target"), ("command.settled", "joiner")]


def test_a_joiner_whose_target_began_is_found_settled_after_a_replay(room: Room):
    add(room, "target", "joiner")
    grant = room.take().only()
    room.begin(grant)
    room.epoch(forced=True)
    room.take()
    room.settle(grant)
    assert room.status("joiner") == "succeeded"
    assert room.take().grants == []


def test_no_receipt_is_made_of_a_joiner_that_somebody_deleted(room: Room):
    running(room)
    add(room, "target", "deleted", "heir", "also-deleted", "third")
    room.take()
    room.client.delete(room.keys.command("deleted"), room.keys.command("also-deleted"))
    room.cancel("target")
    assert room.lane("web") == ["busy", "heir"]
    assert room.receipt("deleted") == room.receipt("also-deleted") == {}
    assert into(room, "third") == "heir"
