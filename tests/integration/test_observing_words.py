"""What the engine's events are good for, and what is made good where they fail: breaks, deaths, ends, neighbours."""

import asyncio
from typing import Any

import pytest

from contracts.times import parse_ms
from tests.support.clinic import Clinic
from tests.support.waiting import eventually, holds
from tests.support.wire import MakeWire
from tests.support.workers import LEASE, worker_here
from worker.adapters.simulated import SimulatedEngine
from worker.core.container import Container

LEFT_ALONE = {"pointsman.self-heal": "false"}
#: No period helps within a test.
SELDOM = {"resync": 3600}


@pytest.mark.parametrize("how", ["cut", "deaf", "gone"])
async def test_after_each_break_everything_is_looked_at_whatever_events_were_lost(
    clinic: Clinic, how: str
) -> None:
    engine = clinic.engine
    clinic.add("web", labels=LEFT_ALONE)
    clinic.add("old")
    async with clinic.worker("w1", engine.client(look_bound=0.3), **SELDOM) as worker:
        await clinic.becomes("web", status="running")
        await clinic.becomes("old", status="running")
        await clinic.at_rest()
        engine.lose_events()
        if how == "deaf":
            engine.hang("ping", "list", "inspect")
        elif how == "gone":
            engine.outage()
        if how != "cut":
            await eventually(lambda: not worker.gauge.up, what="the worker knows")
        at = await clinic.revision()
        engine.kill("web")
        engine.remove("old")
        clinic.add("new")
        if how == "cut":
            engine.cut_events()
        else:
            assert await clinic.is_at(at)
            engine.recover()
        await clinic.becomes("web", status="stopped", failure_count="1", within=3)
        await clinic.becomes("old", status="not_found", within=3)
        await clinic.becomes("new", status="running", within=3)


async def test_a_silence_shorter_than_the_set_time_is_told_nobody(clinic: Clinic) -> None:
    clinic.add("web")
    async with clinic.worker(engine_silence=30, **SELDOM) as worker:
        await clinic.becomes("web", status="running")
        await clinic.at_rest()
        at = await clinic.revision()
        clinic.engine.outage()
        await eventually(lambda: not worker.gauge.up)
        await holds(lambda: clinic.is_at(at), during=1.2)
        clinic.engine.recover()
        await eventually(lambda: worker.gauge.up)
        clinic.engine.kill("web")
        await clinic.becomes("web", status="running", failure_count="1")
        kinds = [one["type"] for one in await clinic.view.events() if ".engine." in one["type"]]
        assert kinds == ["pointsman.engine.available"]


async def test_of_two_with_one_name_the_other_has_it_when_the_first_is_renamed(clinic: Clinic) -> None:
    clinic.add("web")
    other = clinic.add("web2", labels={"pointsman.service": "web"})
    async with clinic.worker(**SELDOM):
        await clinic.becomes("web", status="not_found", reason="ambiguous")
        clinic.engine.rename("web", "elsewhere")
        await clinic.becomes("web", status="running", container_id=other[:12], within=1)
        await clinic.becomes("elsewhere", status="running", within=1)


async def test_want_of_memory_is_told_as_such_from_the_first_word_on(clinic: Clinic) -> None:
    clinic.add("web", labels=LEFT_ALONE)
    async with clinic.worker(**SELDOM):
        await clinic.becomes("web", status="running")
        at = await clinic.revision()
        clinic.engine.kill("web", oom=True)
        one = await clinic.becomes("web", status="stopped", last_exit_code="137")
        assert (one["reason"], one["failure_count"]) == ("oom_killed", "1")
        assert "memory" in one["message"]
        await clinic.at_rest()
        told = await clinic.told("web", at)
        assert [event["data"]["service"]["reason"] for event in told] == ["oom_killed"]


async def test_a_death_is_told_while_the_engine_still_lets_nobody_look(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add("web", labels=LEFT_ALONE)
    inspect, cleared_up = clinic.engine.inspect, asyncio.Event()

    async def locked(container_id: str) -> Container | None:
        if not clinic.engine.look("web").running:
            await cleared_up.wait()
        return await inspect(container_id)

    monkeypatch.setattr(clinic.engine, "inspect", locked)
    async with clinic.worker(**SELDOM):
        await clinic.becomes("web", status="running")
        await clinic.at_rest()
        at = await clinic.revision()
        clinic.engine.kill("web", 9)
        one = await clinic.becomes("web", status="stopped", last_exit_code="9", within=1)
        cleared_up.set()
        assert one["failure_count"] == "1"
        await holds(lambda: clinic.is_at(at + 1), during=0.5, what="the look finds nothing to add")


@pytest.mark.parametrize("at_once", [True, False])
async def test_how_a_run_ended_that_no_look_caught_is_known_by_the_event(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    clinic.add("web")
    clinic.add("gone")
    async with clinic.worker(**SELDOM) as worker:
        await clinic.becomes("web", status="running")
        await clinic.becomes("gone", status="running")
        if not at_once:  # as where somebody else observed when it was told
            monkeypatch.setattr(worker.observer._examiner, "hear_of_death", lambda *_: None)
        clinic.engine.kill("web", 42)
        await clinic.engine.start(clinic.engine.look("web").id)
        clinic.engine.remove("gone")
        one = await clinic.becomes("web", status="running", failure_count="1")
        assert (one["last_exit_code"], one.get("restart_scheduled_at")) == ("42", None)
        left = await clinic.becomes("gone", status="not_found")
        assert left["last_exit_code"] == "137"
        assert parse_ms(left["last_exit_at"]) > 0
        assert worker.observer.mine


async def test_why_a_service_waits_follows_what_it_waits_for(clinic: Clinic) -> None:
    clinic.add("db", labels=LEFT_ALONE)
    clinic.add("app", labels={"pointsman.depends-on": "db", "pointsman.backoff-base": "60"})
    async with clinic.worker(**SELDOM):
        await clinic.becomes("db", status="running")
        await clinic.becomes("app", status="running")
        clinic.engine.kill("app")
        await clinic.becomes("app", status="stopped", reason="exited")
        clinic.engine.kill("db")
        one = await clinic.becomes("app", reason="waits_for_dependency", within=2)
        assert "'db'" in one["message"]
        await clinic.engine.start(clinic.engine.look("db").id)
        await clinic.becomes("app", status="stopped", reason="exited", within=2)


async def test_the_container_that_a_worker_runs_in_is_shown_and_never_touched(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = clinic.add("own")
    monkeypatch.setattr("worker.app.own_container_id", lambda: own[:12])
    async with clinic.worker(**SELDOM):
        await clinic.becomes("own", status="running")
        receipt = await clinic.view.settled(await clinic.view.add("restart", "own"))
        assert (receipt["code"], receipt["error"]) == ("403", "protected_service")
        clinic.engine.kill("own")
        one = await clinic.becomes("own", status="stopped", failure_count="1")
        assert one.get("restart_scheduled_at") is None
        await holds(lambda: _starts(clinic.engine, "own") == 1, during=0.6, what="nobody starts it")


async def test_who_cannot_hear_of_its_lease_takes_it_for_lost_once_it_may_be(
    clinic: Clinic, make_wire: MakeWire
) -> None:
    clinic.add("web")
    wire = await make_wire(clinic.server)
    async with worker_here(wire.url, clinic.engine, name="cut", redis_timeout=0.3) as cut:
        await clinic.becomes("web", status="running")
        assert cut.observer.mine
        await wire.sever()
        await eventually(lambda: not cut.observer.mine, within=LEASE + 1, what="it stands down unheard")
        async with clinic.worker("heir") as heir:
            await clinic.becomes("web", status="running")
            await eventually(lambda: heir.observer.able, within=LEASE + 1)
            clinic.engine.kill("web")
            await clinic.becomes("web", status="running", failure_count="1", restart_scheduled_at=None)
            await wire.mend()
            await eventually(lambda: cut.link.up, within=5)
            at = await clinic.revision()
            await holds(lambda: heir.observer.mine and not cut.observer.mine, during=LEASE)
            told = [one for one in (await clinic.view.events())[at:] if ".worker." not in one["type"]]
            assert told == []
            assert _starts(clinic.engine, "web") == 2


async def test_the_events_of_other_rooms_and_of_what_is_not_managed_are_nobodys(clinic: Clinic) -> None:
    clinic.add("web")
    clinic.engine.add("foreign", labels={"pointsman.room": "elsewhere"})
    clinic.engine.add("plain", labels={"pointsman.enable": "false"})
    async with clinic.worker(resync=0.2):
        await clinic.becomes("web", status="running")
        clinic.engine.kill("foreign")
        clinic.engine.kill("plain")
        clinic.engine.kill("web")
        await clinic.becomes("web", status="running", failure_count="1")
        names: Any = await clinic.view.client.smembers(clinic.view.keys.services)
        assert names == {"web"}
        assert _starts(clinic.engine, "foreign") == _starts(clinic.engine, "plain") == 1


def _starts(engine: SimulatedEngine, name: str) -> int:
    return len(engine.effects(name, "start"))
