"""Who is alive, who observes, and what the observer may write."""

import json

import pytest

from tests.support.scripts import ALIVE, LEASE, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")


def beat(room: Room, name: str, instance: str | None = None, **fields: object) -> list[str]:
    flat = [str(item) for pair in fields.items() for item in pair]
    return list(room.call("beat", name, instance or f"{name}-i", ALIVE, *flat))


def leave(room: Room, name: str, instance: str | None = None) -> int:
    return int(room.call("leave", name, instance or f"{name}-i"))


# Workers


def test_a_worker_joins_once_however_often_it_beats(room: Room):
    room.client.hset(room.keys.meta, mapping={"engine_id": "e", "engine_status": "available"})
    epoch = room.client.hget(room.keys.meta, "epoch")
    assert beat(room, "w1", host="h", pid=7) == ["ok", str(room.now), epoch, "1", "e", "available"]
    for _ in range(3):
        room.pass_time(ALIVE - 1)
        assert beat(room, "w1", host="h2")[0] == "ok"
    assert room.told() == [("worker.joined", "w1")]
    assert room.client.zscore(room.keys.workers, "w1") == room.now
    worker = room.client.hgetall(room.keys.worker("w1"))
    assert worker == {"instance": "w1-i", "host": "h2", "pid": "7"}
    assert 0 < room.client.pttl(room.keys.worker("w1")) <= 2 * ALIVE
    assert room.events()[0]["data"]["worker"] == {
        "name": "w1",
        "host": "h",
        "pid": 7,
        **dict.fromkeys(("started_at", "version", "engine_status", "running", "capacity")),
    }


def test_a_name_is_its_holders_until_the_beat_lapses(room: Room):
    beat(room, "w1", "first")
    room.pass_time(ALIVE - 1)
    before = room.dump()
    assert beat(room, "w1", "second") == ["taken", "1"]
    assert room.dump() == before
    room.pass_time(1)
    assert beat(room, "w1", "second")[0] == "ok"
    assert room.told() == [("worker.joined", "w1"), ("worker.left", "w1"), ("worker.joined", "w1")]
    assert beat(room, "w1", "first") == ["taken", str(ALIVE)]
    assert leave(room, "w1", "first") == 0


def test_whoever_beats_bids_farewell_to_the_dead_once(room: Room):
    for name in ("w1", "w2", "w3"):
        beat(room, name, host=f"of {name}")
    room.pass_time(ALIVE)
    beat(room, "w3")
    beat(room, "w3")
    assert leave(room, "w1") == 1  # it comes back only to say what has been said
    told = room.told()
    assert told[3:] == [
        ("worker.left", "w1"),
        ("worker.left", "w2"),
        ("worker.left", "w3"),
        ("worker.joined", "w3"),
    ]
    assert room.events()[3]["data"]["worker"]["host"] == "of w1"
    assert room.client.zrange(room.keys.workers, 0, -1) == ["w3"]


def test_a_frozen_worker_that_comes_back_joins_again(room: Room):
    beat(room, "w1")
    beat(room, "w2")
    room.pass_time(ALIVE)
    beat(room, "w2")
    beat(room, "w1")
    assert room.told()[2:] == [
        ("worker.left", "w1"),
        ("worker.left", "w2"),
        ("worker.joined", "w2"),
        ("worker.joined", "w1"),
    ]


def test_a_goodbye_is_told_at_once_and_once_and_leaves_the_observers_place(room: Room):
    beat(room, "w1", host="h")
    room.be_observer("w1-i")
    assert leave(room, "w1") == 1
    assert leave(room, "w1") == 0
    assert room.told() == [("worker.joined", "w1"), ("worker.left", "w1")]
    assert room.events()[1]["data"]["worker"]["host"] == "h"
    for key in (room.keys.workers, room.keys.worker("w1"), room.keys.observer):
        assert room.client.exists(key) == 0


def test_a_goodbye_leaves_anothers_observation_alone(room: Room):
    beat(room, "w1")
    room.be_observer("w2-i")
    leave(room, "w1")
    assert room.client.hget(room.keys.observer, "instance") == "w2-i"


def test_a_publisher_that_wants_a_worker_adds_nothing_without_one(room: Room):
    fields = {"action": "stop", "service": "web", "id": "k1"}
    before = room.dump()
    assert room.publish(**fields, wanted=True) == ["no_worker"]
    assert room.dump() == before
    beat(room, "w1")
    room.pass_time(ALIVE + 1)
    assert room.publish(**fields, wanted=True) == ["no_worker"]
    beat(room, "w2")
    assert room.publish(**fields, wanted=True)[0] == "ok"


def test_a_limit_keeps_the_stream_from_growing(room: Room):
    for n in range(3):
        assert room.publish(action="stop", service="web", id=f"k{n}", limit=3)[0] == "ok"
    before = room.dump()
    assert room.publish(action="stop", service="web", id="k9", limit=3)[:2] == ["full", "3"]
    assert room.dump() == before
    assert room.publish(action="stop", service="web", id="k1", limit=3)[0] == "duplicate"
    assert room.publish(action="stop", service="web", id="k9", limit=4)[0] == "ok"


# The observer


def observer(room: Room, instance: str, token: str, *, able: bool = True, lease: int = LEASE) -> list[str]:
    return list(room.call("observer", instance, token, lease, int(able)))


def test_there_is_one_observer_until_its_lease_lapses(room: Room):
    assert observer(room, "a", "t1")[:3] == ["mine", "t1", str(room.now)]
    room.pass_time(LEASE - 1)
    assert observer(room, "b", "t2") == ["other", "1"]
    assert observer(room, "a", "t3")[:2] == ["mine", "t1"]  # renewed, under the token that it had
    room.pass_time(LEASE)
    assert observer(room, "b", "t4")[:2] == ["mine", "t4"]
    assert observer(room, "a", "t5") == ["other", str(LEASE)]


def test_an_observer_without_an_engine_yields_to_one_that_has_it(room: Room):
    observer(room, "a", "t1")
    assert observer(room, "b", "t2") == ["other", str(LEASE)]
    assert observer(room, "a", "t3", able=False) == ["other", "0"]
    assert observer(room, "c", "t4", able=False) == ["other", "0"]
    assert observer(room, "b", "t5")[:2] == ["mine", "t5"]
    assert observer(room, "a", "t6")[0] == "other"


def test_where_nobody_reaches_the_engine_the_last_observer_goes_on(room: Room):
    observer(room, "a", "t1")
    assert observer(room, "b", "t2", able=False) == ["other", str(LEASE)]
    assert observer(room, "a", "t3", able=False)[:2] == ["mine", "t1"]
    observer(room, "b", "t4")
    room.pass_time(LEASE)  # the candidate is gone too
    assert observer(room, "a", "t5", able=False)[0] == "mine"


def test_each_epoch_asks_its_observer_once_to_publish_all_anew(room: Room):
    def restore(epoch: str = "") -> str:
        return str(room.call("observer", "a", "t1", LEASE, 1, epoch)[3])

    first = room.client.hget(room.keys.meta, "epoch")
    assert restore() == "1"
    assert restore("another") == "1"
    assert restore(first) == "0"
    assert restore() == "0"
    room.pass_time(1)
    second = room.epoch(forced=True)[0]
    assert restore(first) == "1"
    assert restore(second) == "0"


def test_only_the_observer_says_how_the_engine_is_and_an_event_when_it_turns(room: Room):
    room.be_observer(lease=LEASE)
    assert room.call("engine", "somebody", "available", "e1") == ["fenced"]
    assert room.call("engine", "observer", "available", "e1") == ["ok", "1"]
    seen = room.time()
    room.pass_time(1000)
    assert room.call("engine", "observer", "unavailable", "e1") == ["ok", "2"]
    assert room.call("engine", "observer", "unavailable", "e1") == ["ok", "2"]
    meta = room.client.hgetall(room.keys.meta)
    assert (meta["engine_status"], meta["engine_seen_at"]) == ("unavailable", seen)
    assert [event["data"]["engine"] for event in room.events()] == [
        {"id": "e1", "status": "available", "seen_at": seen},
        {"id": "e1", "status": "unavailable", "seen_at": seen},
    ]
    room.pass_time(LEASE)
    before = room.dump()
    assert room.call("engine", "observer", "available", "e1") == ["fenced"]
    assert room.dump() == before


# Looks


def test_only_the_observer_writes_and_only_in_time(room: Room):
    room.be_observer(lease=LEASE)
    before = room.dump()
    assert room.observe("web", {"status": "running"}, observer="somebody") == ["fenced"]
    assert room.dump() == before
    assert room.observe("web", {"status": "running"}) == ["ok", "1", "1"]
    room.pass_time(LEASE)
    before = room.dump()
    assert room.observe("web", {"status": "stopped"}, ticket=2) == ["fenced"]
    assert room.dump() == before


def test_a_look_that_was_drawn_earlier_is_refused(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running"}, ticket=5)
    before = room.dump()
    assert room.observe("web", {"status": "stopped"}, ticket=4) == ["old"]
    assert room.dump() == before
    assert room.observe("web", {"status": "stopped"}, ticket=5)[0] == "ok"
    assert room.observe("web", {"status": "running"}, ticket=6)[0] == "ok"


def test_a_look_that_was_drawn_before_a_commands_own_is_refused(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running"}, ticket=room.draw())
    drawn = room.draw()
    room.publish(action="stop", service="web", id="k1")
    grant = room.take().only()
    room.begin(grant, memo="{}", snapshot={"desired": "stopped"})
    room.settle(grant, ver="2", memo="{}", snapshot={"status": "stopped"})
    assert room.observe("web", {"status": "running"}, ticket=drawn) == ["old"]
    assert room.snapshot("web")["status"] == "stopped"
    assert room.observe("web", {"status": "running"}, ticket=room.draw())[0] == "ok"


def test_a_look_at_a_held_service_is_refused_until_the_command_has_settled(room: Room):
    room.be_observer()
    room.publish(action="restart", service="web", id="k1")
    grant = room.take().only()
    before = room.dump()
    assert room.observe("web", {"status": "running"}, ticket=99) == ["held"]
    assert room.dump() == before
    room.begin(grant)
    assert room.observe("web", {"status": "running"}, ticket=99) == ["held"]
    room.pass_time(LEASE)
    room.take(free=0)  # its holder is lost: still the command's
    assert room.observe("web", {"status": "running"}, ticket=99) == ["held"]
    again = room.take("w2").only()
    room.settle(again)
    assert room.observe("web", {"status": "running"}, ticket=99)[0] == "ok"


def test_a_look_made_on_an_older_version_is_answered_with_the_newer(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running"}, memo='{"m":1}')
    answer = room.observe("web", {"status": "stopped"}, ticket=2, ver="0")
    assert answer == [
        "stale",
        [item for pair in room.snapshot("web").items() for item in pair],
        "1",
        '{"m":1}',
    ]


def test_exhausted_is_an_event_of_its_own_after_the_change(room: Room):
    room.be_observer()
    room.observe("web", {"status": "running"})
    room.observe("web", {"status": "unhealthy"}, ticket=2, exhausted=True)
    assert room.told() == [
        ("service.discovered", "web"),
        ("service.changed", "web"),
        ("service.exhausted", "web"),
    ]
    assert room.snapshot("web")["revision"] == "3"
    room.observe("web", {"status": "unhealthy"}, ticket=3, exhausted=True)
    assert room.told()[-1] == ("service.exhausted", "web")
    assert room.snapshot("web")["revision"] == "4"


# Forgetting and healing


def test_forget_takes_all_of_a_service_whose_container_is_gone(room: Room):
    room.be_observer()
    room.observe("web", {"status": "not_found", "restart_count": 3})
    held = room.snapshot("web")
    answer = room.call("forget", "web", "0123abcd", "me", "")
    assert answer == ["ok", [item for pair in held.items() for item in pair]]
    for key in (room.keys.service("web"), room.keys.state("web"), room.keys.services):
        assert room.client.exists(key) == 0
    event = room.events()[-1]
    assert (event["type"], event["data"]["service"]["restart_count"]) == ("pointsman.service.removed", 3)
    assert event["data"]["cause"] == {"kind": "command", "command_id": None, "issuer": "me", "reason": None}
    assert event["data"]["service"]["revision"] == int(event["revision"])
    assert room.call("forget", "web", "0123abcd", "", "") == ["unknown"]


def test_forget_refuses_what_is_there_or_held(room: Room):
    room.be_observer()
    room.observe("here", {"status": "stopped", "container_state": "exited"})
    room.observe("held", {"status": "not_found"})
    room.publish(action="start", service="held", id="k1")
    room.take()
    before = room.dump()
    assert room.call("forget", "here", "0123abcd", "", "")[0] == "present"
    assert room.call("forget", "held", "0123abcd", "", "") == ["held"]
    assert room.call("forget", "nobody", "0123abcd", "", "") == ["unknown"]
    assert room.dump() == before


def test_the_observer_removes_a_service_that_has_been_gone_for_long(room: Room):
    room.be_observer(lease=LEASE)
    room.observe("web", {"status": "not_found", "restart_count": 3})
    cause = '{"kind":"observation"}'
    before = room.dump()
    assert room.call("remove", "somebody", "web", "1", cause) == ["fenced"]
    assert room.call("remove", "observer", "web", "7", cause) == ["stale"]
    assert room.call("remove", "observer", "nobody", "0", cause) == ["stale"]
    assert room.dump() == before
    room.publish(action="start", service="web", id="k1")
    grant = room.take().only()
    assert room.call("remove", "observer", "web", "1", cause) == ["held"]
    room.settle(grant, outcome={"status": "rejected", "code": 404})
    assert room.call("remove", "observer", "web", "1", cause) == ["ok"]
    assert room.told()[-1] == ("service.removed", "web")
    assert room.events()[-1]["data"]["service"]["restart_count"] == 3
    for key in (room.keys.service("web"), room.keys.state("web"), room.keys.services):
        assert room.client.exists(key) == 0
    room.pass_time(LEASE)
    assert room.call("remove", "observer", "web", "1", cause) == ["fenced"]


def test_a_heartbeat_is_heard_takes_no_revision_and_is_kept_nowhere(room: Room):
    room.be_observer(lease=LEASE)
    room.observe("web", {"status": "running"})
    before = room.dump()
    with room.client.pubsub() as pubsub:
        pubsub.subscribe(room.keys.events)
        pubsub.get_message(timeout=1)
        assert room.call("heartbeat", "somebody") == ["fenced"]
        assert room.call("heartbeat", "observer") == ["ok"]
        event = json.loads(pubsub.get_message(timeout=1)["data"])
        assert room.dump() == before
        room.pass_time(LEASE)
        assert room.call("heartbeat", "observer") == ["fenced"]
        assert pubsub.get_message(timeout=0.05) is None
    epoch = room.client.hget(room.keys.meta, "epoch")
    assert event["type"] == "pointsman.room.heartbeat"
    assert event["id"] == f"{epoch}/1/hb/{room.now - LEASE}"
    assert (event["epoch"], event["revision"]) == (epoch, "1")


def heal(room: Room, planned: str, command_id: str = "heal:web:1") -> list[object]:
    fields = ("action", "restart", "service", "web", "issuer", "self-heal", "id", command_id)
    return list(room.call("heal", "web", planned, 1000, *fields))


def test_a_heal_is_made_once_when_it_is_due_and_still_planned(room: Room):
    room.be_observer()
    planned = room.time(5000)
    room.observe("web", {"status": "stopped", "restart_scheduled_at": planned})
    before = room.dump()
    assert heal(room, planned) == ["early", "5000"]
    assert heal(room, room.time(4000)) == ["moot"]
    assert heal(room, "") == ["moot"]
    assert room.dump() == before
    room.pass_time(5000)
    assert heal(room, planned)[0] == "ok"
    assert heal(room, planned)[0] == "duplicate"
    assert room.client.xlen(room.keys.commands) == 1
    assert room.take().only().receipt["issuer"] == "self-heal"


def test_a_heal_of_a_plan_that_was_dropped_is_moot(room: Room):
    room.be_observer()
    planned = room.time()
    room.observe("web", {"status": "stopped", "restart_scheduled_at": planned})
    room.observe("web", {"status": "running", "restart_scheduled_at": ""}, ticket=2)
    before = room.dump()
    assert heal(room, planned) == ["moot"]
    assert room.dump() == before
