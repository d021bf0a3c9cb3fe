"""The real engine out of reach for a whole minute, in three ways at once: cut off, deaf, and dead."""

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.times import parse_ms
from tests.support.dockerd import Containers
from tests.support.mortal import MortalEngine
from tests.support.waiting import eventually, holds
from tests.support.ward import MakeWard, Ward, brief
from tests.support.workers import Fields

MINUTE = 60.0
#: The room's own times for the engine, as they are by default; the leases stay short.
USUAL = {"engine_silence": 10.0, "engine_ping": 5.0, "heartbeat": 5.0}
#: So long that a heal planned before the outage falls due within it.
SLOW = {"backoff-base": "3", "backoff-max": "3", "max-failures": "50"}
RANK = {"infrastructure": 0, "ai": 1, "monitoring": 2}


class Sickbay:
    """The services of one room, each with a fate of its own before, in and after the outage."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self.docker = ward.docker
        self.before: dict[str, Fields] = {}
        self.begin = 0

    async def fill(self) -> None:
        """Make them all; one is down and one fails again and again before the engine goes."""
        ward = self.ward
        self.steady = await ward.make("steady")
        self.healthy = await ward.make("healthy", health=True)
        self.killed = await ward.make("killed")
        self.gone = await ward.make("gone")
        self.replaced = await ward.make("replaced")
        labels = {"grace": "1"}
        self.sick = await ward.make("sick", health=True, script="rm -f /tmp/sick", labels=labels)
        self.cured = await ward.make("cured", health=True, labels=labels | SLOW)
        self.planned = await ward.make("planned", labels=SLOW)
        self.failing = await ward.make("failing", exits=3, labels=SLOW)
        for name in (self.healthy, self.sick, self.cured):
            await ward.becomes(name, health="healthy", status="running")
        await ward.becomes(self.failing, status="stopped", failure_count="2")
        await asyncio.gather(
            asyncio.to_thread(self.docker.set_health, self.cured, healthy=False),
            asyncio.to_thread(self.docker.kill, self.planned),
        )
        await ward.becomes(self.cured, status="unhealthy", failure_count="1")
        await ward.becomes(self.planned, status="stopped", failure_count="1")

    def names(self) -> list[str]:
        """Return all that were there when the engine went."""
        return [name for name in vars(self).values() if isinstance(name, str)]

    async def take_down(self) -> None:
        """Remember how all is at the very end."""
        for name in self.names():
            self.before[name] = await _said_of(self.ward, name)
        self.begin = await self.ward.revision()

    async def live_through(self) -> None:
        """Let things happen that nobody sees."""
        docker, ward = self.docker, self.ward
        await asyncio.to_thread(docker.kill, self.killed)
        await asyncio.to_thread(docker.set_health, self.sick, healthy=False)
        await asyncio.to_thread(docker.set_health, self.cured, healthy=True)
        await asyncio.to_thread(docker.remove, self.gone)
        await asyncio.to_thread(docker.remove, self.replaced)
        await ward.remake(self.replaced)

    async def is_as_before(self) -> None:
        """See that nothing was written or told but that the engine is out of reach, and no heal began."""
        ward = self.ward
        for name, snapshot in self.before.items():
            assert await _said_of(ward, name) == snapshot
        told = [one["type"] for one in await ward.view.events() if int(one["revision"]) > self.begin]
        assert [kind for kind in told if ".worker." not in kind] == ["pointsman.engine.unavailable"]
        # Of an engine that went deaf it takes some seconds to know; a heal that fell due meanwhile waits.
        for _, command in await ward.client.xrange(ward.view.keys.commands):
            receipt = await ward.view.receipt(command["id"])
            assert (receipt["issuer"], receipt["status"]) == ("self-heal", "queued"), receipt

    async def is_right_again(self) -> None:
        """See what each has come to, by snapshot, events and the engine's own count."""
        ward = self.ward
        for name in (self.killed, self.planned):
            await ward.becomes(name, status="running", failure_count="1", restart_scheduled_at=None)
            await eventually(lambda name=name: ward.heals(name))
            *expired, heal = await ward.heals(name)
            assert heal["status"] == "succeeded"
            assert {one["status"] for one in expired} <= {"expired"}
            assert await ward.effects(name) == ["start", "die", "start"]
        due = self.before[self.planned]["restart_scheduled_at"]
        assert (await ward.heals(self.planned))[0]["id"].endswith(f":{parse_ms(due)}")
        killed = await ward.told(self.killed, self.begin)
        assert brief(killed) == [
            "service.changed stopped 1",
            "command.started start running",
            "service.changed running 1",
            "command.settled start succeeded",
        ]
        assert killed[0]["data"]["service"]["last_exit_code"] == 137

        await ward.becomes(
            self.sick, status="running", health="healthy", failure_count="1", restart_count="1"
        )
        assert await ward.effects(self.sick) == ["start", "die", "start"]
        await ward.becomes(self.cured, status="running", failure_count="1", restart_scheduled_at=None)
        assert await ward.effects(self.cured) == ["start"]
        assert {one["code"] for one in await ward.heals(self.cured)} <= {410, 412}

        for name in (self.steady, self.healthy):
            assert await ward.told(name, self.begin) == []
            assert await ward.effects(name) == ["start"]
        gone = await ward.becomes(self.gone, status="not_found", reason="no_container")
        assert gone.get("restart_scheduled_at") is None
        back = await ward.becomes(self.replaced, status="running", restart_scheduled_at=None)
        assert back["container_id"] != self.before[self.replaced]["container_id"]
        assert await ward.effects(self.replaced) == ["start"]
        assert await ward.heals(self.gone) == await ward.heals(self.replaced) == []

        at_least = int(self.before[self.failing]["failure_count"]) + 2

        async def failed_on() -> bool:
            one = await ward.view.snapshot(self.failing)
            return int(one["failure_count"]) >= at_least and one["status"] == "stopped"

        await eventually(failed_on, within=30, what="the failing one fails on, and is healed on")
        await ward.view.settled(await ward.view.add("stop", self.failing))
        one = await ward.becomes(self.failing, desired="stopped", restart_scheduled_at=None)
        effects, heals = Counter(await ward.effects(self.failing)), await ward.heals(self.failing)
        assert {heal["status"] for heal in heals} <= {"succeeded", "expired"}
        heals = [heal for heal in heals if heal["status"] == "succeeded"]
        assert effects["die"] == effects["start"] == len(heals) + 1 == int(one["failure_count"])
        for before, after in pairwise(heals):
            assert parse_ms(after["called_at"]) - parse_ms(before["finished_at"]) >= 3000


async def _out_of_reach(ward: Ward, workers_there: int, how: str, *, observer_dies: bool) -> None:
    await ward.staff(workers_there, **USUAL)
    bay = Sickbay(ward)
    await bay.fill()
    began = asyncio.get_running_loop().time()
    if how == "cut off":
        await ward.proxy.refuse()
    else:
        ward.proxy.stall()
    await bay.take_down()
    await bay.live_through()
    await ward.engine_is("unavailable", within=20)
    if observer_dies:
        dead = await ward.kill_observer()
        await eventually(lambda: _another(ward, dead), within=5, what="another observes, blind")
    left = MINUTE - (asyncio.get_running_loop().time() - began)
    told = [one for one in await ward.view.events() if int(one["revision"]) > bay.begin]
    assert len([one for one in told if ".worker." not in one["type"]]) == 1, brief(told)
    await holds(lambda: _word_is(ward, "unavailable"), during=left, what="the engine is out of reach")
    await bay.is_as_before()
    if how == "deaf":
        ward.proxy.cut()  # what it was asked meanwhile is not asked now
    await ward.proxy.restore()
    await ward.engine_is("available", within=10)
    await bay.is_right_again()
    await _is_sound(ward)


async def _dead(ward: Ward, engine: MortalEngine, directory: Path) -> None:
    """Kill the engine itself: when it comes back, all that ran has ended."""
    await ward.staff(2, **USUAL)
    diaries: dict[str, Path] = {}
    for category in RANK:
        for number in range(3):
            diary = directory / f"{category}-{number}"
            diary.mkdir()
            labels = {"category": category, "backoff-base": "1", "backoff-max": "1", "grace": "2"}
            script = "echo started >> /needs/starts"
            diaries[await ward.make(category, labels=labels, script=script, needs=diary)] = diary
    names = list(diaries)
    before = {name: await _said_of(ward, name) for name in names}
    began, revision = asyncio.get_running_loop().time(), await ward.revision()
    await asyncio.to_thread(engine.kill)
    await ward.engine_is("unavailable", within=20)
    left = MINUTE - (asyncio.get_running_loop().time() - began)
    await holds(lambda: _word_is(ward, "unavailable"), during=left, what="the engine is dead")
    assert {name: await _said_of(ward, name) for name in names} == before
    assert await ward.revision() == revision + 1
    await asyncio.to_thread(engine.revive)
    ward.docker = engine.running
    await ward.engine_is("available", within=15)
    for name in names:
        await ward.becomes(name, status="running", failure_count="1", restart_scheduled_at=None, within=30)
    await ward.view.rests()

    def starts() -> dict[str, int]:
        return {name: len((diary / "starts").read_text().splitlines()) for name, diary in diaries.items()}

    # A process has begun before it has written that down.
    await eventually(lambda: min(starts().values()) == 2, what="each was started again")
    spans = []
    for name in names:
        (heal,) = await ward.heals(name)
        assert heal["status"] == "succeeded", heal
        rank = RANK[before[name]["category"]]
        spans.append((parse_ms(heal["accepted_at"]), parse_ms(heal["finished_at"]), rank))
        counts = [
            one["data"]["service"]["failure_count"] for one in await ward.told(name) if _of_service(one)
        ]
        assert max(counts) == 1
    spans.sort()
    assert max(sum(start <= at < end for start, end, _ in spans) for at, _, _ in spans) <= 4
    ranks = [rank for _, _, rank in spans]
    assert ranks == sorted(ranks)
    await _is_sound(ward)
    assert set(starts().values()) == {2}


@pytest.mark.timeout(180)
async def test_a_minute_without_the_engine_is_told_and_taken_for_nothing_else(
    make_ward: MakeWard, mortal_engine: MortalEngine, tmp_path: Path
) -> None:
    cut, deaf, dead = make_ward(), make_ward(), make_ward(Containers(mortal_engine.running, "mortal"))
    async with asyncio.TaskGroup() as ways:
        ways.create_task(_out_of_reach(cut, 3, "cut off", observer_dies=True), name="cut off")
        ways.create_task(_out_of_reach(deaf, 2, "deaf", observer_dies=False), name="deaf")
        ways.create_task(_dead(dead, mortal_engine, tmp_path), name="dead")


async def _said_of(ward: Ward, service: str) -> Fields:
    """Return the snapshot without the time of the look: the last look may end after the engine has gone."""
    snapshot = await ward.view.snapshot(service)
    del snapshot["observed_at"]
    return snapshot


async def _is_sound(ward: Ward) -> None:
    await ward.view.rests()
    events = await ward.view.events()
    assert [one["type"].rpartition(".")[2] for one in events if ".engine." in one["type"]] == [
        "available",
        "unavailable",
        "available",
    ]
    revisions = [int(one["revision"]) for one in events]
    assert revisions == list(range(1, len(revisions) + 1))


async def _another(ward: Ward, dead: str) -> bool:
    return await ward.observer() not in {dead, None}


async def _word_is(ward: Ward, word: str) -> bool:
    return bool(await ward.client.hget(ward.view.keys.meta, "engine_status") == word)


def _of_service(event: dict[str, Any]) -> bool:
    return "service" in event["data"]
