"""Begins and settlements that go together: each is judged and written for itself."""

import json

import pytest

from tests.support.scripts import LEASE, Grant, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")
SERVICES = ("a", "b", "c", "d")


def granted(room: Room, *names: str, begun: bool = False) -> dict[str, Grant]:
    """Give a worker the heads of these services, whose commands are called as they are."""
    for name in names:
        room.publish(action="restart", service=name, id=name)
    grants = {grant.service: grant for grant in room.take().grants}
    if begun:
        for grant in grants.values():
            assert room.begin(grant)[0] == "ok"
    return grants


def test_a_refusal_is_the_answer_of_one_and_touches_no_other(room: Room):
    grants = granted(room, *SERVICES, begun=True)
    after = len(room.events())
    room.client.hset(room.keys.base + "lease:b", "token", "of another")
    room.client.set(room.keys.base + "joiners:c", "no list")
    before = room.receipt("b"), room.receipt("c")
    answers = room.together(
        "settle",
        *(
            lambda name=name: room.settle(grants[name], memo="{}", snapshot={"restart_count": 1})
            for name in SERVICES
        ),
    )
    assert [answer[0] for answer in answers] == ["ok", "fenced", "refused", "ok"]
    assert "WRONGTYPE" in answers[2][1]
    assert (room.receipt("b"), room.receipt("c")) == before
    assert [room.receipt(name)["status"] for name in ("a", "d")] == ["succeeded"] * 2
    revisions = [int(event["revision"]) for event in room.events()[after:]]
    assert revisions == list(range(revisions[0], revisions[0] + 4))
    assert room.client.hget(room.keys.meta, "revision") == str(revisions[-1])
    left = {fields["id"] for _, fields in room.client.xrange(room.keys.commands)}
    assert left == {"b", "c"}


def test_what_expired_ends_in_the_midst_of_others_with_its_event_in_its_place(room: Room):
    soon = room.time(after=LEASE // 2)
    for name in SERVICES:
        late = {"expires_at": soon} if name == "b" else {}
        room.publish(action="restart", service=name, id=name, **late)
    grants = {grant.service: grant for grant in room.take().grants}
    room.pass_time(LEASE // 2)
    answers = room.together("begin", *(lambda name=name: room.begin(grants[name]) for name in SERVICES))
    assert [answer[0] for answer in answers] == ["ok", "ended", "ok", "ok"]
    told = [(event["type"].removeprefix("pointsman."), event["subject"]) for event in room.events()]
    assert told[-4:] == [
        ("command.started", "a"),
        ("command.settled", "b"),
        ("command.started", "c"),
        ("command.started", "d"),
    ]
    revisions = [int(event["revision"]) for event in room.events()]
    assert revisions == list(range(1, len(revisions) + 1))
    assert room.client.hget(room.keys.meta, "revision") == str(revisions[-1])


def test_each_settlement_brings_a_lane_of_its_own_while_there_are_some(room: Room):
    for name in (*SERVICES, "e", "f"):
        room.publish(action="restart", service=name, id=name)
    grants = {grant.service: grant for grant in room.take(free=4).grants}
    for grant in grants.values():
        room.begin(grant)
    answers = room.together(
        "settle", *(lambda name=name: room.settle(grants[name], want=1) for name in SERVICES)
    )
    assert [[item[0] for item in answer[4]] for answer in answers] == [["e"], ["f"], [], []]
    assert len({item[2] for answer in answers for item in answer[4]}) == 2


def test_an_entry_that_is_none_keeps_no_other_in_the_stream(room: Room):
    grants = granted(room, *SERVICES, begun=True)
    room.client.hset(room.keys.command("b"), "entry", "no id")
    answers = room.together("settle", *(lambda name=name: room.settle(grants[name]) for name in SERVICES))
    assert [answer[0] for answer in answers] == ["ok"] * 4
    assert [fields["id"] for _, fields in room.client.xrange(room.keys.commands)] == ["b"]
    assert room.client.xpending(room.keys.commands, "workers")["pending"] == 1


def test_out_of_memory_all_of_a_batch_is_settled_and_no_lane_given(room: Room):
    grants = granted(room, "a", "b", begun=True)
    room.publish(action="restart", service="c", id="c")
    room.client.config_set("maxmemory", 1)
    try:
        begins = room.together("begin", lambda: room.begin(grants["a"]), lambda: room.begin(grants["b"]))
        answers = room.together(
            "settle", lambda: room.settle(grants["a"], want=1), lambda: room.settle(grants["b"], want=1)
        )
    finally:
        room.client.config_set("maxmemory", 0)
    assert [answer[0] for answer in begins] == ["refused"] * 2
    assert [(answer[0], answer[4]) for answer in answers] == [("ok", []), ("ok", [])]
    assert json.loads(room.client.xrevrange(room.keys.changes, count=1)[0][1]["event"])["subject"] == "b"
