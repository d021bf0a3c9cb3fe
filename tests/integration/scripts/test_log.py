"""The numbered log and its epochs: no gap, no step back, one maker of each epoch."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from contracts import codec
from contracts.keys import GROUP
from contracts.times import parse_ms
from tests.support.redis import RedisServer
from tests.support.scripts import LEASE, Room, connect

pytestmark = pytest.mark.redis_versions("7", "6.2")


WHOLE = {
    "status": "running",
    "category": "ai",
    "enabled": 1,
    "desired": "running",
    "port": 80,
    "failure_count": 0,
    "restart_count": 0,
}


def play(room: Room) -> None:
    """Make events of every kind."""
    for name in ("w1", "w2"):
        room.call("beat", name, f"{name}-i", LEASE, "host", 'h"ost', "pid", 7)
    room.be_observer()
    for service in ("web", "db", "gone"):
        room.observe(service, WHOLE)
    room.observe("web", {"status": "unhealthy"}, ticket=2, exhausted=True)
    room.call("engine", "observer", "unavailable", "e1")
    room.call("engine", "observer", "available", "e1")
    room.publish(action="restart", service="web", id="k1", issuer='quo"te', reason="back\\slash/é\x01\n")
    room.publish(action="restart", service="web", id="k2", coalesce=1)
    room.publish(action="disable", service="db", id="k3")
    room.publish(action="stop", service="db", id="k4", expires_at=room.time(100))
    room.publish(action="stop", service="db", id="k5")
    room.add(action="explode", service="web")
    room.add(action="stop", service="web", id="k1")
    web, db = sorted(room.take().grants, key=lambda grant: grant.id)
    room.begin(web, memo="{}", snapshot={"desired": "running", "status": "running"})
    outcome = {"status": "succeeded", "code": 200, "changed": 1}
    restarted = {"restart_count": 1, "status": "running"}
    room.settle(web, ver="4", memo="{}", snapshot=restarted, outcome=outcome)
    room.settle(db, started=True, memo="{}", snapshot={"enabled": 0, "status": "disabled"})
    room.pass_time(100)
    room.take(free=0)
    room.cancel("k5")
    room.call("forget", "gone", "0123abcd", "me", "why")
    for _ in range(6):
        room.publish(action="stop", service="poison", id="k6")
        room.take("w2")
        room.pass_time(LEASE)
    room.call("leave", "w1", "w1-i")


def test_the_channel_and_the_stream_have_the_same_events_in_the_same_order(room: Room):
    with room.client.pubsub() as pubsub:
        pubsub.subscribe(room.keys.events)
        assert pubsub.get_message(timeout=1)["type"] == "subscribe"
        play(room)
        heard = []
        while message := pubsub.get_message(timeout=0.2):
            heard.append(message["data"])
    kept = [fields["event"] for _, fields in room.client.xrange(room.keys.changes)]
    assert heard == kept
    assert len(kept) == room.revision() > 20
    kinds = {kind for kind, _ in room.told()}
    expected = {
        *(f"service.{kind}" for kind in ("discovered", "changed", "removed", "exhausted")),
        *(f"command.{kind}" for kind in ("started", "settled", "dead")),
        *("worker.joined", "worker.left", "engine.unavailable", "engine.available"),
    }
    assert kinds == expected


def test_revisions_begin_at_one_and_grow_by_one(room: Room):
    play(room)
    assert [int(event["revision"]) for event in room.events()] == list(range(1, room.revision() + 1))
    assert {event["epoch"] for event in room.events()} == {room.client.hget(room.keys.meta, "epoch")}


def test_every_event_is_one_that_readers_can_read(room: Room):
    play(room)
    for _, fields in room.client.xrange(room.keys.changes):
        codec.event_from_json(fields["event"])
        event = json.loads(fields["event"])
        assert event["specversion"] == "1.0"
        assert event["datacontenttype"] == "application/json"
        assert event["time"] <= room.time()


def test_a_hash_has_the_revision_of_its_last_event(room: Room):
    play(room)
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for event in room.events():
        data = event["data"]
        if event["type"].startswith("pointsman.service."):
            last["service", event["subject"]] = data["service"]
        elif event["type"] in {"pointsman.command.settled", "pointsman.command.dead"}:
            last["command", event["subject"]] = data["command"]
    assert len(last) > 8
    for (kind, name), told in last.items():
        held = room.snapshot(name) if kind == "service" else room.receipt(name)
        if name == "gone":
            assert held == {}
            continue
        assert str(told["revision"]) == held["revision"]
        for field, value in told.items():
            text = {True: "1", False: "0"}.get(value, str(value)) if isinstance(value, bool) else value
            assert held.get(field) == (None if text is None else str(text)), (name, field)


def test_odd_text_is_told_as_it_was_given(room: Room):
    reason = 'a"b\\c/d\x00\x01\x1f\x7f\n\té漢😀 </script>'
    room.publish(action="stop", service="web", id="a:b/c._-1", reason=reason, issuer="'")
    room.cancel("a:b/c._-1")
    [event] = room.events()
    assert event["subject"] == "a:b/c._-1"
    assert event["data"]["command"]["reason"] == reason


def test_what_only_looks_anew_takes_no_revision(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running", "observed_at": "t1"})
    before = room.revision()
    assert room.observe("web", {"status": "running", "observed_at": "t2"}, ticket=2) == ["ok", "1", "2"]
    assert (room.revision(), room.snapshot("web")["observed_at"]) == (before, "t2")
    room.observe("web", {"status": "running", "observed_at": "t3"}, ticket=3, republish=True)
    assert room.told()[-1] == ("service.changed", "web")
    assert room.snapshot("web")["revision"] == str(before + 1)


def test_a_field_that_goes_is_told_and_gone(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running", "reason": "r", "message": "m"})
    room.observe("web", {"status": "stopped", "reason": ""}, ticket=2)
    data = room.events()[-1]["data"]
    assert sorted(data["changed"]) == ["reason", "status"]
    assert (data["previous_status"], data["service"]["reason"]) == ("running", None)
    assert "reason" not in room.snapshot("web")
    assert room.client.smembers(room.keys.services) == {"web"}


def test_in_service_the_clock_is_redis_time(redis_server: RedisServer):
    with connect(redis_server) as client:
        room = Room(client, clock=None)
        room.epoch()
        seconds, micros = client.time()
        room.publish(action="stop", service="web", id="k1")
        taken = room.take()
        grant = taken.only()
        called_at = room.begin(grant)[4]
        assert room.settle(grant).word == "ok"
        assert 0 <= taken.now - (seconds * 1000 + micros // 1000) < 10_000
        assert taken.due == taken.now + LEASE
        receipt = room.receipt("k1")
        times = [receipt[name] for name in ("accepted_at", "started_at", "called_at", "finished_at")]
        assert times == sorted(times)
        assert called_at == receipt["called_at"]
        assert all(abs(parse_ms(text) - taken.now) < 10_000 for text in times)


# Epochs


def test_the_first_epoch_makes_the_room(bare: Room):
    fields = {"action": "stop", "service": "web"}
    entry = bare.client.xadd(bare.keys.commands, fields, id=f"{bare.now}-1")  # a producer came first
    epoch, revision, made, _ = bare.epoch(random="0123abcd")
    assert (epoch, revision, made) == (f"{bare.now:013d}-0123abcd", "0", "1")
    meta = bare.client.hgetall(bare.keys.meta)
    assert meta["contract"] == "1"
    assert meta["redis_run_id"] == bare.client.info("server")["run_id"]
    assert bare.take().only().id == entry


def test_no_epoch_is_made_without_need(room: Room):
    play(room)
    before = room.dump()
    epoch = room.client.hget(room.keys.meta, "epoch")
    for seen, revision in ((epoch, room.revision()), (epoch, 0), ("", 0), ("1-aa", 10**9)):
        assert room.epoch(seen=seen, revision=revision) == [epoch, str(room.revision()), "0", ""]
    assert room.dump() == before


@pytest.mark.parametrize(
    "need",
    ["no meta", "no epoch", "no revision", "no stream", "no group", "another server", "seen more", "ahead"],
)
def test_a_new_epoch_goes_on_above_all_that_was(room: Room, need: str):
    room.publish(action="stop", service="web", id="k1")
    room.cancel("k1")
    room.publish(action="stop", service="web", id="k2")
    epoch, revision = room.client.hget(room.keys.meta, "epoch"), room.revision()
    seen = 0
    match need:
        case "no meta":
            room.client.delete(room.keys.meta)
        case "no epoch":
            room.client.hdel(room.keys.meta, "epoch")
        case "no revision":
            room.client.hdel(room.keys.meta, "revision")
        case "no stream":
            room.client.delete(room.keys.commands)
        case "no group":
            room.client.xgroup_destroy(room.keys.commands, GROUP)
        case "another server":
            room.client.hset(room.keys.meta, "redis_run_id", "0" * 40)
        case "seen more":
            seen = revision + 1
        case "ahead":
            room.client.xadd(room.keys.changes, {"event": "{}"}, id="50-0")
            revision = 50
    room.pass_time(1)
    new, went_on, made, why = room.epoch(random="ffffffff", seen=epoch, revision=seen)
    assert (made, int(went_on)) == ("1", revision)
    assert why
    assert new > epoch
    if need != "no stream":
        assert room.take().only().id == "k2"
    room.publish(action="stop", service="db", id="k3")
    room.cancel("k3")
    assert room.client.xrevrange(room.keys.changes, count=1)[0][0] == f"{revision + 1}-0"


def test_an_epoch_is_above_the_last_even_when_the_clock_went_back(room: Room):
    first = room.epoch()[0]
    room.now -= 60_000
    room.client.set(room.keys.base + "test-clock", room.now)
    second = room.call("epoch", "00000000", first, 0, 1)[0]
    assert second > first
    room.client.flushall()
    room.client.set(room.keys.base + "test-clock", room.now)
    third = room.call("epoch", "00000000", second, 5, 0)
    assert third[0] > second


@pytest.mark.redis_versions("7")
@pytest.mark.parametrize("broken", ["nothing there", "group gone", "ahead"])
def test_of_many_callers_one_makes_it(bare: Room, redis_server: RedisServer, broken: str):
    if broken != "nothing there":
        bare.epoch()
    if broken == "group gone":
        bare.client.xgroup_destroy(bare.keys.commands, GROUP)
    if broken == "ahead":
        bare.client.xadd(bare.keys.changes, {"event": "{}"}, id="7-0")
    seen = bare.client.hget(bare.keys.meta, "epoch") or ""

    def call(number: int) -> list[str]:
        with connect(redis_server) as client:
            return list(Room(client).call("epoch", f"{number:08x}", seen, 0, 0))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, range(16)))
    assert sorted(answer[2] for answer in answers) == ["0"] * 15 + ["1"]
    assert len({answer[0] for answer in answers}) == 1


@pytest.mark.parametrize(
    "ahead", ["an entry", "an entry that was deleted again", "XSETID", "one step", "the last of all ids"]
)
def test_a_log_that_is_ahead_is_refused_by_all_and_mended_by_a_new_epoch(room: Room, ahead: str):
    room.publish(action="stop", service="web", id="k0")
    room.cancel("k0")
    room.publish(action="restart", service="web", id="k1")
    grant = room.take().only()
    room.publish(action="restart", service="db", id="k2")
    changes = room.keys.changes
    last = {"one step": "2-0", "the last of all ids": "18446744073709551615-18446744073709551615"}.get(
        ahead, "999999-0"
    )
    if ahead == "XSETID":
        room.client.execute_command("XSETID", changes, last)
    else:
        room.client.xadd(changes, {"event": "{}"}, id=last)
    if ahead == "an entry that was deleted again":
        room.client.xdel(changes, last)
    seq = room.keys.base + "seq"  # a number of the room's order may be used up: it says nothing
    before = room.dump(seq)
    calls = (
        lambda: room.begin(grant),
        lambda: room.settle(grant),
        lambda: room.settle(grant, started=True),
        lambda: room.call("beat", "w1", "w1-i", LEASE),
        lambda: room.call("lost", 1000, 0, 10),
    )
    for call in calls:
        with pytest.raises(redis.ResponseError, match="NOEPOCH"):
            call()
        assert room.dump(seq) == before
    assert room.epoch()[2:] == ["1", "changes is ahead of meta"]
    if ahead not in {"XSETID", "an entry that was deleted again", "the last of all ids"}:
        room.client.xdel(changes, last)  # it was no event
    assert room.begin(grant)[0] == "ok"
    assert room.settle(grant).word == "ok"
    told = [event["epoch"] for event in room.events()]
    assert told[-1] == room.client.hget(room.keys.meta, "epoch")
    assert room.take().only().id == "k2"


def test_without_a_group_or_an_epoch_a_take_writes_nothing(room: Room):
    seq = room.keys.base + "seq"  # a number of it may be used up
    room.publish(action="stop", service="web", id="k1")
    room.client.xgroup_destroy(room.keys.commands, GROUP)
    before = room.dump(seq)
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        room.take()
    assert room.dump(seq) == before
    room.epoch()
    assert room.take().only().id == "k1"
    room.client.delete(room.keys.meta)
    before = room.dump(seq)
    with pytest.raises(redis.ResponseError, match="NOEPOCH"):
        room.take()
    assert room.dump(seq) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("epoch", 'x"y'), ("epoch", ""), ("revision", "1e3"), ("revision", "0x10"), ("revision", "-1")],
)
def test_a_meta_that_somebody_wrote_by_hand_gets_a_new_epoch(room: Room, field: str, value: str):
    room.publish(action="stop", service="web", id="k1")
    room.cancel("k1")
    room.client.hset(room.keys.meta, field, value)
    with pytest.raises(redis.ResponseError, match="NOEPOCH"):
        room.take()
    assert room.epoch()[1:3] == ["1", "1"]
    room.publish(action="stop", service="web", id="k2")
    room.cancel("k2")
    assert [int(event["revision"]) for event in room.events()] == [1, 2]


@pytest.mark.parametrize("key", ["meta", "changes"])
def test_a_key_of_a_wrong_type_is_named(room: Room, key: str):
    name = f"{room.keys.base}{key}"
    room.client.delete(name)
    room.client.set(name, "wrong")
    with pytest.raises(redis.ResponseError, match=f"^WRONGTYPE {name} holds a string"):
        room.take()
