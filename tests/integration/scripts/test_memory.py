"""Redis out of memory: nothing is taken or added, what runs still settles, no attempt is counted."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support.redis import MakeRedis, RedisServer
from tests.support.scripts import LEASE, Room, connect

OUT_OF_MEMORY = "command not allowed when used memory > 'maxmemory'"


@pytest.fixture(params=["7", "6.2"])
def server(request: pytest.FixtureRequest, make_redis: MakeRedis) -> RedisServer:
    return make_redis(request.param)


@pytest.fixture
def room(server: RedisServer) -> Iterator[Room]:
    with connect(server) as client:
        room = Room(client)
        room.epoch()
        yield room


def run_out(room: Room) -> None:
    """Leave no memory: every write that could need some is refused from now on."""
    room.client.config_set("maxmemory", "1")


def give_back(room: Room) -> None:
    room.client.config_set("maxmemory", "0")


def refused(room: Room, call: Callable[[], Any]) -> str:
    """Return the error of a call that must write nothing."""
    before = room.dump()
    with pytest.raises(redis.ResponseError, match=OUT_OF_MEMORY) as caught:
        call()
    assert room.dump() == before
    return str(caught.value)


def test_take_and_publish_write_nothing(room: Room):
    room.publish(action="restart", service="web", id="k1")
    room.publish(action="restart", service="db", id="k2", not_before=room.time(1000))
    room.take(free=0)
    room.add(action="restart", service="x", id="k3")
    room.pass_time(2000)
    run_out(room)
    refused(room, room.take)
    refused(room, lambda: room.take(state_only=True))
    refused(room, lambda: room.publish(action="stop", service="web", id="k4"))
    refused(room, lambda: room.publish(action="restart", service="web", id="k1"))
    give_back(room)
    assert sorted(grant.id for grant in room.take().grants) == ["k1", "k2", "k3"]


def test_takes_of_lapsed_leases_count_no_attempt(room: Room):
    for service in ("begun", "granted"):
        room.publish(action="restart", service=service, id=service)
    begun, _ = room.take().grants
    room.begin(begun)
    room.pass_time(LEASE)
    run_out(room)
    for _ in range(10):
        refused(room, room.take)
    give_back(room)
    grants = {grant.id: grant.receipt.get("attempt") for grant in room.take().grants}
    assert grants == {"begun": "2", "granted": None}
    assert room.receipt("granted")["losses"] == "1"


def test_a_begin_writes_nothing_and_can_be_handed_back(room: Room):
    room.publish(action="restart", service="web", id="k1")
    room.begin(room.take().only())
    again = room.take()
    room.pass_time(LEASE)
    again = room.take().only()
    room.publish(action="restart", service="db", id="k2")
    fresh = room.take().only()
    run_out(room)
    for grant in (fresh, again):
        refused(room, lambda grant=grant: room.begin(grant, memo="{}", snapshot={"desired": "running"}))
        assert room.handback(grant) == 1
    give_back(room)
    assert sorted(grant.id for grant in room.take().grants) == ["k1", "k2"]
    assert "attempt" not in room.receipt("k2")


def test_what_runs_is_renewed_settled_and_handed_back(room: Room):
    for name in ("a", "b", "c", "d"):
        room.publish(action="restart", service=name, id=name)
    room.publish(action="restart", service="a", id="a-join", coalesce=1)
    room.publish(action="restart", service="a", id="a2")
    grants = {grant.id: grant for grant in room.take().grants}
    for grant in grants.values():
        room.begin(grant)
    run_out(room)
    assert room.renew(*grants.values()) == [True] * 4
    settled = room.settle(grants["a"], memo='{"m":1}', snapshot={"status": "running"}, want=1)
    assert settled.word == "ok"
    assert settled.grants == []  # nothing new is given out
    assert room.settle(grants["b"], outcome={"status": "failed", "code": 500}).word == "ok"
    assert room.handback(grants["c"]) == 1
    assert room.handback(grants["d"], rest=1000) == 1
    statuses = {name: room.status(name) for name in ("a", "a-join", "a2", "b", "c", "d")}
    assert statuses == {
        "a": "succeeded",
        "a-join": "succeeded",
        "a2": "queued",
        "b": "failed",
        "c": "running",
        "d": "running",
    }
    assert room.snapshot("a")["status"] == "running"
    give_back(room)
    again = {grant.id: grant.receipt.get("attempt") for grant in room.take().grants}
    assert again == {"a2": None, "c": "2"}


def test_a_deadline_that_settle_finds_is_kept(room: Room):
    room.publish(action="restart", service="web", id="k1", expires_at=room.time(1000))
    room.publish(action="restart", service="web", id="k2")
    grant = room.take().only()
    room.pass_time(1000)
    run_out(room)
    assert room.settle(grant, want=1).word == "ended"
    assert room.status("k1") == "expired"
    assert room.lane("web") == ["k2"]


def test_reconcile_and_leave_still_work(room: Room):
    room.call("beat", "w1", "w1-i", LEASE)
    room.publish(action="restart", service="web", id="k1")
    room.take()
    run_out(room)
    assert room.call("reconcile", "w1-i") == ["web"]
    assert room.call("leave", "w1", "w1-i") == 1
    assert room.told() == [("worker.joined", "w1"), ("worker.left", "w1")]


@pytest.mark.parametrize(
    "name", ["lost", "cancel", "forget", "remove", "requeue", "epoch", "observe", "beat", "engine"]
)
def test_every_other_script_does_all_of_its_work_or_none(room: Room, name: str):
    room.be_observer()
    room.observe("gone", {"status": "not_found"})
    room.add(action="explode", service="web")
    room.publish(action="stop", service="x", id="k1")
    room.take(free=0)
    room.publish(action="stop", service="y", id="k2")
    room.client.xdel(room.keys.commands, room.receipt("k2")["entry"])
    letter = room.dead()[0]["dead_id"]
    calls: dict[str, Callable[[], Any]] = {
        "lost": lambda: room.call("lost", 1000, 0, 100),
        "cancel": lambda: room.cancel("k1"),
        "forget": lambda: room.call("forget", "gone", "0123abcd", "", ""),
        "remove": lambda: room.call("remove", "observer", "gone", "1", "{}"),
        "requeue": lambda: room.call("requeue", letter, 1000, "action", "stop", "service", "web"),
        "epoch": lambda: room.call("epoch", "0123abcd", "", 0, 1),
        "observe": lambda: room.observe("web", {"status": "running"}),
        "beat": lambda: room.call("beat", "w1", "w1-i", LEASE),
        "engine": lambda: room.call("engine", "observer", "available", ""),
    }
    before, revision = room.dump(), room.revision()
    run_out(room)
    try:
        calls[name]()
    except redis.ResponseError as error:
        if OUT_OF_MEMORY not in str(error) or room.dump() != before:
            raise
    else:
        assert len(room.events()) == room.revision() == revision + 1
