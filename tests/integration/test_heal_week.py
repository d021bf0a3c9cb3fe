"""A simulated week of the wired loop: observer, healer, consumer and executor, every script in a real Redis."""

import asyncio
import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from contracts.times import parse_ms
from tests.support.redis import RedisServer
from tests.support.virtual import SELDOM, VirtualLoop, VirtualRoom, on_virtual_time
from worker.adapters.simulated import SimulatedEngine
from worker.core.heal import backoff
from worker.core.labels import ServiceLabels
from worker.core.policy import policy_for
from worker.limits import Limits

HOUR, DAY = 3600.0, 86_400.0
WEEK = 7 * DAY
#: Longer than any default, so that the week has fewer heals to go through.
LONGEST = 1800.0
#: From a heal's time to its call nothing takes simulated time, but times are whole milliseconds.
SLACK = 0.01


class Week:
    """What a room has told in a week, by service."""

    def __init__(self, room: VirtualRoom) -> None:
        entries = room.link.send("XRANGE", room.keys.changes, "-", "+")
        self.events: list[dict[str, Any]] = [json.loads(fields[1]) for _, fields in entries]
        self.heals: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.events:
            data = event["data"]
            if event["type"] == "pointsman.command.settled" and data["command"]["issuer"] == "self-heal":
                self.heals[data["command"]["service"]].append(data["command"])
            elif "service" in data:
                self.told[data["service"]["name"]].append(event)

    def count(self, service: str, kind: str) -> int:
        return sum(event["type"] == f"pointsman.service.{kind}" for event in self.told[service])

    def snapshot(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.told[service][-1]["data"]["service"]
        return found


def seconds(stamp: str) -> float:
    return parse_ms(stamp) / 1000


def delays(week: Week, service: str) -> list[float]:
    """Return the seconds from each heal's end to the next one's begin."""
    return [
        seconds(after["started_at"]) - seconds(before["finished_at"])
        for before, after in pairwise(week.heals[service])
    ]


@pytest.mark.timeout(120)
def test_a_week(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server)
        engine = room.engine

        def add(name: str, category: str, *needs: str, **settings: Any) -> None:
            labels = {
                "pointsman.category": category,
                "pointsman.depends-on": ",".join(needs),
                "pointsman.backoff-max": str(LONGEST),
            }
            engine.add(name, labels=labels | settings.pop("labels", {}), **settings)

        add("steady", "infrastructure", health=True)
        add("crashing", "ai")
        add("flapping", "monitoring")
        add("sick", "monitoring", health=False, health_delay=5.0)
        add("daily", "infrastructure")
        add("hopeless", "ai", labels={"pointsman.on-exhausted": "disable"})
        add("broken", "monitoring", start_error="no such file")
        add("needy", "ai", "crashing", "unheard-of")
        add("left-alone", "ai", exit_after=1.0, labels={"pointsman.self-heal": "false"})

        async def a_week() -> None:  # it sleeps on the loop's virtual time, which jumps
            await asyncio.sleep(60)
            for name, after in (("crashing", 0.0), ("flapping", 3.0), ("hopeless", 1.0)):
                engine.container(name).behaviour.exit_after = after
                engine.kill(name, 1)
            engine.kill("needy")
            engine.kill("broken")
            for _ in range(7):
                await asyncio.sleep(HOUR)
                engine.kill("daily", 9)
                await asyncio.sleep(DAY - HOUR)

        await room.run(a_week)
        week = Week(room)
        journal = {name: engine.effects(name, "start") for name in ("crashing", "flapping", "sick", "daily")}
        check(week, {name: len(effects) for name, effects in journal.items()})
        revisions = [int(event["revision"]) for event in week.events]
        assert revisions == list(range(1, len(revisions) + 1))
        ids = [heal["id"] for heals in week.heals.values() for heal in heals]
        assert len(ids) == len(set(ids))
        assert room.link.send("XLEN", room.keys.commands) == 0

    on_virtual_time(tell)


def check(week: Week, starts: dict[str, int]) -> None:
    for service, category in (("crashing", "ai"), ("flapping", "monitoring"), ("sick", "monitoring")):
        policy = policy_for(ServiceLabels(category=category, backoff_max=LONGEST))
        heals = week.heals[service]
        assert {heal["status"] for heal in heals} == {"succeeded"}
        assert starts[service] == len(heals) + 1  # and the one that began it all
        waits = delays(week, service)
        for n, wait in enumerate(waits, start=2):
            due = backoff(n, policy, 0.0) if n < policy.limit else policy.longest
            # A run of some seconds is part of the wait for the next one, never more.
            assert due - SLACK <= wait <= due * 1.1 + 35 + SLACK, (service, n, wait, due)
        assert WEEK / (policy.longest * 1.1 + 35) - 10 <= len(heals) <= WEEK / policy.longest + policy.limit
        last = week.snapshot(service)
        assert (week.count(service, "exhausted"), last["failure_count"]) == (1, len(heals) + 1)
        assert last["enabled"] is True
    assert week.heals["sick"][0]["action"] == "restart"
    assert week.snapshot("sick")["restart_count"] == len(week.heals["sick"])
    assert week.heals["crashing"][0]["action"] == "start"

    assert len(week.told["steady"]) == 1
    assert week.heals["steady"] == []

    daily = week.heals["daily"]
    assert (len(daily), starts["daily"]) == (7, 8)
    assert week.snapshot("daily")["failure_count"] == 0  # forgotten a minute later, each time
    died = [
        seconds(event["data"]["service"]["last_exit_at"])
        for event in week.told["daily"]
        if event["data"]["service"]["failure_count"] == 1 and "failure_count" in event["data"]["changed"]
    ]
    for death, heal in zip(died, daily, strict=True):
        assert 2.0 - SLACK <= seconds(heal["called_at"]) - death <= 2.2 + SLACK

    hopeless = week.snapshot("hopeless")
    assert (hopeless["status"], hopeless["reason"], hopeless["failure_count"]) == ("disabled", "exhausted", 5)
    assert (len(week.heals["hopeless"]), week.count("hopeless", "exhausted")) == (4, 1)

    broken = week.heals["broken"]
    assert {(heal["status"], heal["error"]) for heal in broken} == {("failed", "engine_error")}
    assert week.snapshot("broken")["reason"] == "exhausted"
    assert WEEK / (LONGEST * 1.1) - 3 <= len(broken) <= WEEK / LONGEST + 3

    assert week.heals["needy"] == []
    assert week.snapshot("needy")["reason"] == "waits_for_dependency"
    assert week.heals["left-alone"] == []
    assert week.snapshot("left-alone")["failure_count"] == 1


def test_after_an_outage_of_everything_few_are_healed_at_once_and_in_order(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server, heals_at_once=3)
        engine = room.engine
        rank = {"infrastructure": 0, "ai": 1, "monitoring": 2}
        names: dict[str, str] = {}
        for category in rank:
            for n in range(6):
                name = names[f"{category}-{n}"] = category
                engine.add(
                    f"{category}-{n}",
                    labels={
                        "pointsman.category": name,
                        "pointsman.backoff-base": "5",
                        "pointsman.backoff-max": "5",
                    },
                    start_delay=2.0,
                )

        async def outage() -> None:  # on virtual time too
            await asyncio.sleep(30)
            engine.outage()
            for name in names:
                engine.kill(name)
            await asyncio.sleep(HOUR)
            before = room.link.send("HGET", room.keys.meta, "revision")
            assert all(
                room.link.send("HMGET", room.keys.service(name), "status", "failure_count")
                == ["running", "0"]
                for name in names
            )
            assert before == room.link.send("HGET", room.keys.meta, "revision")
            engine.recover()
            await asyncio.sleep(120)

        await room.run(outage)
        week = Week(room)
        spans = []
        for name in names:
            (heal,) = week.heals[name]
            spans.append((seconds(heal["called_at"]), seconds(heal["finished_at"]), rank[names[name]]))
            assert week.snapshot(name)["status"] == "running"
            counts = [event["data"]["service"]["failure_count"] for event in week.told[name]]
            assert max(counts) == 1
        spans.sort()
        for begun, _, _ in spans:
            assert sum(start <= begun < end for start, end, _ in spans) <= 3
        assert [order for _, _, order in spans] == sorted(order for _, _, order in spans)

    on_virtual_time(tell)


def test_what_fails_at_once_is_not_healed_at_once(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server)
        names = [f"s{n}" for n in range(30)]
        for name in names:
            room.engine.add(name)

        async def crash() -> None:
            await asyncio.sleep(10)
            for name in names:
                room.engine.kill(name)
            await asyncio.sleep(30)

        await room.run(crash)
        week = Week(room)
        delays = []
        for name in names:
            down = next(one for one in week.told[name] if one["data"]["service"]["status"] == "stopped")
            due = down["data"]["service"]["restart_scheduled_at"]
            delays.append(seconds(due) - seconds(down["data"]["service"]["last_exit_at"]))
        assert all(2.0 - SLACK <= delay <= 2.2 + SLACK for delay in delays), delays
        assert len({round(delay, 3) for delay in delays}) > 20

    on_virtual_time(tell)


def test_what_no_event_told_is_found_within_thirty_seconds(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server, limits=replace(SELDOM, resync=Limits().resync))
        room.engine.add("web", labels={"pointsman.self-heal": "false"})
        killed: list[float] = []

        async def unheard() -> None:
            await asyncio.sleep(100)
            room.engine.lose_events()
            await asyncio.sleep(1)
            killed.append(loop.now_ms / 1000)
            room.engine.kill("web")
            await asyncio.sleep(60)

        await room.run(unheard)
        *_, last = Week(room).told["web"]
        assert last["data"]["service"]["status"] == "stopped"
        assert 1 < seconds(last["time"]) - killed[0] <= 30

    on_virtual_time(tell)


def test_failures_are_not_forgotten_in_an_outage_but_at_the_look_after_it(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server)
        for name in ("well", "ill"):
            room.engine.add(name)

        def failures(name: str) -> str:
            found: str = room.link.send("HGET", room.keys.service(name), "failure_count")
            return found

        async def outage() -> None:
            await asyncio.sleep(10)
            for name in ("well", "ill"):
                room.engine.kill(name)
            await asyncio.sleep(10)
            assert (failures("well"), failures("ill")) == ("1", "1")
            room.engine.outage()
            await asyncio.sleep(30)
            room.engine.kill("ill")
            await asyncio.sleep(HOUR)
            assert (failures("well"), failures("ill")) == ("1", "1")
            room.engine.recover()
            await asyncio.sleep(1)
            assert (failures("well"), failures("ill")) == ("0", "2")

        await room.run(outage)

    on_virtual_time(tell)


def test_a_service_gone_for_seven_days_is_removed_if_it_was_wanted(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        room = VirtualRoom(loop, redis_server)
        names = ("wanted", "disabled", "stopped", "late", "here")

        async def a_long_week() -> None:
            for name in names:
                room.engine.add(name)
            await asyncio.sleep(10)
            for action, name in (("disable", "disabled"), ("stop", "stopped"), ("disable", "late")):
                room.link.send("XADD", room.keys.commands, "*", "action", action, "service", name)
            room.consumer.nudge()
            await asyncio.sleep(10)
            for name in names[:-1]:
                room.engine.remove(name)
            await asyncio.sleep(6 * DAY)
            room.link.send("XADD", room.keys.commands, "*", "action", "enable", "service", "late")
            room.consumer.nudge()
            await asyncio.sleep(DAY - HOUR)
            await room.observer.forget_long_gone()
            assert len(room.link.send("SMEMBERS", room.keys.services)) == 5
            await asyncio.sleep(2 * HOUR)
            await room.observer.forget_long_gone()

        await room.run(a_long_week)
        week = Week(room)
        removed = [event for event in week.events if event["type"] == "pointsman.service.removed"]
        assert [event["subject"] for event in removed] == ["wanted"]
        assert removed[0]["data"]["service"]["status"] == "not_found"
        assert sorted(room.link.send("SMEMBERS", room.keys.services)) == [
            "disabled",
            "here",
            "late",
            "stopped",
        ]
        assert room.link.send("EXISTS", room.keys.service("wanted"), room.keys.state("wanted")) == 0

    on_virtual_time(tell)


def test_the_time_of_a_heal_survives_a_restart_of_all_workers(redis_server: RedisServer) -> None:
    async def tell(loop: VirtualLoop) -> None:
        engine = SimulatedEngine(clock=lambda: loop.now_ms * 1_000_000)
        first = VirtualRoom(loop, redis_server, engine=engine)
        labels = {"pointsman.backoff-base": "300", "pointsman.backoff-max": "300"}
        engine.add("web", labels=labels)
        planned: list[str] = []

        async def before() -> None:
            await asyncio.sleep(10)
            engine.kill("web")
            await asyncio.sleep(1)
            planned.append(first.link.send("HGET", first.keys.service("web"), "restart_scheduled_at"))

        await first.run(before)
        first.link.send("DEL", first.keys.observer)
        second = VirtualRoom(loop, redis_server, engine=engine)

        async def later() -> None:
            await asyncio.sleep(100)
            assert second.link.send("HGET", first.keys.service("web"), "restart_scheduled_at") == planned[0]
            await asyncio.sleep(300)

        await second.run(later)
        (heal,) = Week(second).heals["web"]
        assert heal["id"].endswith(f":{parse_ms(planned[0])}")
        assert 0 <= seconds(heal["called_at"]) - seconds(planned[0]) < SLACK
        assert Week(second).snapshot("web")["status"] == "running"
        await engine.close()

    on_virtual_time(tell)
