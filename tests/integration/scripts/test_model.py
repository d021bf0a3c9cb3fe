"""Any story that producers, workers and time can tell ends as in the model of plain lists.

POINTSMAN_MODEL_SECONDS sets how long stories are tried, for each version of Redis.
"""

import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_stories

from tests.integration.scripts.model import MAX_ATTEMPTS, SETTLED, Known, Model
from tests.support.redis import RedisServer
from tests.support.scripts import LEASE, START, Grant, Room, connect

SECONDS = float(os.environ.get("POINTSMAN_MODEL_SECONDS", "20"))
STEPS = 60

WORKERS = st.sampled_from(["w1", "w2", "w3"])
PICKS = st.integers(0, 30)
AFTER = st.sampled_from([None] * 6 + [1000, 4000, 30_000])
DELAY = st.sampled_from([None] * 9 + [-1, 500, 3000])
SERVICES = st.sampled_from(["a", "a", "a", "b", "c"])
ACTIONS = st.sampled_from(["restart", "restart", "restart", "stop"])
FLAGS = st.booleans()


OUTCOMES = st.sampled_from(["succeeded", "succeeded", "failed", "rejected"])
GARBAGE = ({"action": "explode"}, {"service": "a"}, {"action": "stop", "service": ""})


def busy(story: "Story") -> bool:
    """Say whether any worker thinks that it holds something."""
    return any(story.hands.values())


class Story(RuleBasedStateMachine):
    """Do the same to a room and to the model; compare the answers, then everything."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.client = connect(self.server)
        self.client.flushall()
        self.room = Room(self.client)
        self.room.epoch()
        self.model = Model(START)
        self.hands: dict[str, list[Grant]] = {"w1": [], "w2": [], "w3": []}
        self.stale: list[Grant] = []
        self.told = 0
        self.names = 0
        self.restarts = 0

    def teardown(self) -> None:
        self.client.close()

    # Producers

    def _fields(
        self, action: str, service: str, after: int | None, delay: int | None, coalesce: bool
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the fields for the wire and for the model."""
        wire, plain = {"action": action, "service": service}, {"action": action, "service": service}
        if coalesce:
            wire["coalesce"] = plain["coalesce"] = "1"
        if delay is not None:
            wire["not_before"], plain["due"] = self.room.time(delay), str(self.room.now + delay)
        if after is not None and (delay is None or after > delay):
            wire["expires_at"], plain["expires"] = self.room.time(after), str(self.room.now + after)
        return wire, plain

    def _name(self, pick: int) -> str:
        """Return a new id, or one that was used before."""
        if pick < self.names and pick < 10:
            return f"k{pick}"
        self.names += 1
        return f"k{self.names - 1}"

    @rule(
        pick=PICKS,
        action=ACTIONS,
        service=SERVICES,
        after=AFTER,
        delay=DELAY,
        coalesce=st.sampled_from([True, True, False]),
        published=FLAGS,
        times=st.sampled_from([1, 1, 1, 3]),
    )
    def ask(self, pick: int, published: bool, times: int, **asked: Any) -> None:
        for _ in range(times):
            wire, plain = self._fields(**asked)
            if pick < 25:
                wire["id"] = plain["id"] = self._name(pick)
            if published and "id" in wire:
                self._publish(wire, plain)
            else:
                self.model.add(self.room.add(**wire), plain)

    def _publish(self, wire: dict[str, str], plain: dict[str, str]) -> None:
        answer = self.room.publish(**wire)
        if plain["id"] not in self.model.known:
            assert answer[0] == "ok"
            self.model.publish(plain, answer[1]["entry"])
        elif self.model.is_same(plain):
            assert answer[0] == "duplicate"
            self.model.known[plain["id"]].duplicates += 1
        else:
            assert answer[0] == "conflict"

    @rule(what=st.sampled_from(["cancel"] * 4 + ["garbage", "loss", "window", "epoch"]), pick=PICKS)
    def mischief(self, what: str, pick: int) -> None:
        match what:
            case "cancel":
                self._cancel(pick)
            case "garbage":
                self.model.add(self.room.add(**GARBAGE[pick % len(GARBAGE)]), None)
            case "loss":
                self._lose_an_entry(pick)
            case "window":
                self._end_a_window(pick)
            case _:
                assert self.room.epoch(forced=True)[2] == "1"

    def _cancel(self, pick: int) -> None:
        known = list(self.model.known.values())
        names = [one.id for one in known if one.unstarted or pick % 4 == 0]
        names += [one.entry for one in known if pick % 4 == 1]
        names += [entry.at for entry in self.model.unread]
        name = names[pick % len(names)] if names else "nobody"
        assert self.room.cancel(name)[0] == self.model.cancel(name)

    def _lose_an_entry(self, pick: int) -> None:
        """Let a published entry vanish from the stream before anybody has read it."""
        published = [entry for entry in self.model.unread if entry.published]
        if published:
            entry = published[pick % len(published)]
            self.client.xdel(self.room.keys.commands, entry.at)
            assert entry.fields is not None
            assert self.room.call("lost", 10**9, 0, 100) == ["", entry.fields["id"]]
            self.model.lose(entry)

    def _end_a_window(self, pick: int) -> None:
        settled = [name for name, known in self.model.known.items() if known.status in SETTLED]
        if settled:
            name = settled[pick % len(settled)]
            self.client.delete(self.room.keys.command(name))
            self.model.forget(name)

    @rule(ms=st.sampled_from([1, 500, 1000, LEASE // 2, LEASE, LEASE, 2 * LEASE]))
    def pass_time(self, ms: int) -> None:
        self.room.pass_time(ms)
        self.model.now = self.room.now

    # Workers

    @rule(worker=WORKERS, free=st.sampled_from([0, 1, 2, 3]))
    def take(self, worker: str, free: int) -> None:
        mark = self.room.token()
        taken = self.room.take(worker, free=free, count=1000, mark=mark, max_attempts=MAX_ATTEMPTS)
        assert not taken.more
        self._granted(worker, taken.grants, self.model.take(worker, mark, free))
        assert taken.due == self.model.next_deadline()

    def _granted(self, worker: str, grants: list[Grant], expected: list[tuple[str, str, bool]]) -> None:
        assert [(grant.id, grant.token, grant.takeover) for grant in grants] == expected
        self.hands[worker] += grants

    def _grant(self, worker: str, pick: int) -> Grant:
        """Return what somebody holds, the worker first; now and then what is held no more."""
        hand = self.hands[worker] or [grant for hand in self.hands.values() for grant in hand]
        if pick > 25:
            hand = self.stale[-3:] or hand
        return hand[pick % len(hand)]

    def _drop(self, grant: Grant) -> None:
        for hand in self.hands.values():
            if grant in hand:
                hand.remove(grant)
        self.stale.append(grant)

    @precondition(busy)
    @rule(worker=WORKERS, pick=PICKS)
    def begin(self, worker: str, pick: int) -> None:
        grant = self._grant(worker, pick)
        answer = self.room.begin(grant)
        assert answer[0] == self.model.begin(grant.service, grant.id, grant.token)

    @precondition(busy)
    @rule(worker=WORKERS, pick=PICKS, status=OUTCOMES, writes=FLAGS, want=FLAGS)
    def settle(self, worker: str, pick: int, status: str, writes: bool, want: bool) -> None:
        grant = self._grant(worker, pick)
        self.restarts += 1
        known = self.model.known.get(grant.id)
        at_once = known is not None and known.status == "queued" and status == "succeeded"
        writes = writes and self.room.snapshot(grant.service) == grant.snapshot
        mark = self.room.token()
        before = len(self.model.events)
        expected = self.model.settle(grant.service, grant.id, grant.token, status, at_once=at_once)
        if expected == "ok" and writes:
            kind = "service.changed" if grant.snapshot else "service.discovered"
            self.model.events.insert(before + at_once, (kind, grant.service))
        settled = self.room.settle(
            grant,
            outcome={"status": status, "code": 200},
            started=at_once,
            want=int(want),
            mark=mark,
            memo="{}" if writes else "",
            snapshot={"status": "running", "restart_count": self.restarts} if writes else {},
        )
        assert settled.word == expected
        if expected == "ok":
            nexts = self.model.next_after_settle(grant.worker, mark) if want else []
            self._granted(grant.worker, settled.grants, nexts)
            self._drop(grant)

    @precondition(busy)
    @rule(
        worker=WORKERS,
        pick=PICKS,
        what=st.sampled_from(["hand back", "rest", "renew", "crash", "crash", "crash", "reconcile"]),
    )
    def live_or_die(self, worker: str, pick: int, what: str) -> None:
        grants = list(self.hands[worker])
        match what:
            case "hand back" | "rest":
                grant, rest = self._grant(worker, pick), 2000 if what == "rest" else 0
                held = self.model.hand_back(grant.service, grant.id, grant.token, rest)
                assert self.room.handback(grant, rest=rest) == held
                self._drop(grant)
            case "renew":
                expected = [self.model.renew(grant.service, grant.id, grant.token) for grant in grants]
                assert self.room.renew(*grants) == expected
            case "crash":
                for grant in grants:
                    self._drop(grant)
            case _:
                tokens = {grant.token for grant in grants[:-1]}
                freed = self.model.reconcile(worker, tokens)
                assert self.room.call("reconcile", f"{worker}-i", *tokens) == freed

    # Everything

    # Everything

    @invariant()
    def the_room_is_as_the_model(self) -> None:
        model, keys = self.model, self.room.keys
        known = list(model.known.values())
        with self.client.pipeline(transaction=False) as pipe:
            for one in known:
                pipe.hgetall(keys.command(one.id))
                pipe.lrange(keys.joiners(one.id), 0, -1)
            for service in "abc":
                pipe.zrange(keys.lane(service), 0, -1)
            pipe.zrange(keys.ready, 0, -1)
            pipe.zrange(keys.leases, 0, -1, withscores=True)
            pipe.zrange(keys.expiries, 0, -1, withscores=True)
            pipe.zrange(keys.scheduled, 0, -1)
            pipe.xrange(keys.commands)
            pipe.xpending(keys.commands, "workers")
            pipe.xlen(keys.dead)
            pipe.xrange(keys.changes, min=f"{self.told + 1}-0")
            answers: list[Any] = pipe.execute()
        *per_known, a, b, c, ready, leases, expiries, scheduled, stream, pending, dead, changes = answers
        for one, receipt, joiners in zip(known, per_known[::2], per_known[1::2], strict=True):
            assert seen(receipt) == expected_of(one)
            assert joiners == one.joiners
        assert {"a": a, "b": b, "c": c} == {name: model.lanes.get(name, []) for name in "abc"}
        assert ready == model.ready
        assert dict(leases) == {service: hold.until for service, hold in model.holds.items()}
        assert not {*ready} & {*dict(leases)}
        assert {name for name, lane in model.lanes.items() if lane} == {*ready, *dict(leases)}
        assert dict(expiries) == model.expiries()
        assert [name.split(":", 1)[1] for name in scheduled] == [one.id for one in model.scheduled()]
        waiting = [entry.at for entry in model.unread]
        assert sorted(at for at, _ in stream) == sorted(waiting + model.pending())
        assert pending["pending"] == len(model.pending())
        assert dead == model.letters
        self._compare_events(changes)

    def _compare_events(self, changes: list[tuple[str, dict[str, str]]]) -> None:
        told = []
        for at, fields in changes:
            self.told += 1
            assert at == f"{self.told}-0"
            event = fields["event"]
            kind = event.split('"type":"pointsman.', 1)[1].split('"', 1)[0]
            told.append((kind, event.split('"subject":"', 1)[1].split('"', 1)[0]))
        assert told == self.model.events
        self.model.events = []


def seen(receipt: dict[str, str]) -> dict[str, object]:
    return {
        "status": receipt.get("status"),
        "into": receipt.get("coalesced_into"),
        "attempt": int(receipt.get("attempt", 0)),
        "duplicates": int(receipt["duplicates"]),
        "entry": receipt["entry"],
    }


def expected_of(known: Known) -> dict[str, object]:
    return {
        "status": known.status,
        "into": known.into,
        "attempt": known.attempt,
        "duplicates": known.duplicates,
        "entry": known.entry,
    }


@pytest.mark.redis_versions("7", "6.2")
@pytest.mark.timeout(SECONDS * 3 + 120)
def test_every_story_ends_as_in_the_model(redis_server: RedisServer):
    class Told(Story):
        server = redis_server

    few = settings(
        max_examples=20,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        print_blob=True,
    )
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        run_stories(Told, settings=few)
