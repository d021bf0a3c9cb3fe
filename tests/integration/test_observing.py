"""The observer wired to a real Redis and a simulated engine: hints, truth, unknown, handover, lost state."""

import asyncio
from typing import Any

import pytest

from tests.support.clinic import Clinic
from tests.support.redis import async_client
from tests.support.waiting import eventually, holds
from tests.support.workers import LEASE
from worker import warden
from worker.app import Worker
from worker.core.container import Health
from worker.lookout import Lookout

# Hints and truth


async def test_what_events_do_not_tell_is_found_by_the_period(clinic: Clinic) -> None:
    clinic.add("web", labels={"pointsman.self-heal": "false"})
    async with clinic.worker(resync=0.5):
        await clinic.becomes("web", status="running")
        clinic.engine.lose_events()
        clinic.engine.kill("web")
        await clinic.becomes("web", status="stopped", failure_count="1", within=2)
        clinic.engine.remove("web")
        await clinic.becomes("web", status="not_found", within=2)


async def test_a_new_room_is_told_of_its_engine_once_somebody_has_looked(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add("web")
    look, asked, answer = clinic.engine.list, asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        asked.set()
        await answer.wait()
        return await look()

    monkeypatch.setattr(clinic.engine, "list", slow)
    async with clinic.worker():
        await asyncio.wait_for(asked.wait(), 5)
        await holds(lambda: _is_untold(clinic), during=1.0)  # twice as long as it takes
        answer.set()
        await eventually(lambda: _engine(clinic, "available"))
        assert (await clinic.view.snapshot("web"))["status"] == "running"


async def test_an_engine_that_refuses_to_list_is_there_all_the_same(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warden, "LOOK_WITHIN", 1.0)
    clinic.engine.fail_next("list", 500, times=10_000)
    async with clinic.worker():
        await eventually(lambda: _engine(clinic, "available"), within=5)


@pytest.mark.parametrize("how", ["appears", "made anew", "renamed", "relabelled", "scaled", "removed"])
async def test_what_happens_to_containers_is_followed_within_a_second(clinic: Clinic, how: str) -> None:
    engine = clinic.engine
    clinic.add("web")
    async with clinic.worker():
        await clinic.becomes("web", status="running")
        match how:
            case "appears":
                clinic.add("new")
                await clinic.becomes("new", status="running", within=1)
            case "made anew":
                made = engine.recreate("web")
                await clinic.becomes("web", status="running", container_id=made[:12], within=1)
            case "renamed":
                engine.rename("web", "other")
                await clinic.becomes("other", status="running", within=1)
                await clinic.becomes("web", status="not_found", failure_count="0", within=1)
            case "relabelled":
                engine.relabel("web", {"pointsman.service": "other", "pointsman.category": "ai"})
                await clinic.becomes("other", status="running", category="ai", within=1)
                await clinic.becomes("web", status="not_found", within=1)
            case "scaled":
                clinic.add("web2", labels={"pointsman.service": "web"})
                one = await clinic.becomes("web", reason="ambiguous", status="not_found", within=1)
                assert engine.look("web").short_id in one["message"]
                assert engine.look("web2").short_id in one["message"]
                engine.remove("web2")
                await clinic.becomes("web", status="running", failure_count="0", within=1)
            case "removed":
                engine.remove("web")
                await clinic.becomes("web", status="not_found", within=1)


async def test_a_service_whose_look_hangs_delays_no_other(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = clinic.add("stuck")
    for n in range(20):
        clinic.add(f"s{n}")
    inspect = clinic.engine.inspect
    never = asyncio.Event()

    async def hanging(container_id: str) -> Any:
        if stuck.startswith(container_id) or container_id.startswith(stuck):
            await never.wait()
        return await inspect(container_id)

    monkeypatch.setattr(clinic.engine, "inspect", hanging)
    async with clinic.worker():
        for n in range(20):
            await clinic.becomes(f"s{n}", status="running", within=2)
        clinic.engine.kill("s7")
        await clinic.becomes("s7", status="running", failure_count="1", within=2)
        assert await clinic.view.snapshot("stuck") == {}
        never.set()
        await clinic.becomes("stuck", status="running", within=2)


@pytest.mark.parametrize("call", ["list", "inspect"])
@pytest.mark.parametrize("status", [500, 0])
async def test_no_answer_and_an_error_are_unknown_and_change_nothing(
    clinic: Clinic, call: str, status: int
) -> None:
    clinic.add("web")
    async with clinic.worker(resync=0.3):
        await clinic.becomes("web", status="running")
        await clinic.at_rest()
        at = await clinic.revision()
        clinic.engine.fail_next(call, status, "boom", times=5)
        await holds(lambda: clinic.is_at(at), during=1.5)
        clinic.engine.recover()
        clinic.engine.kill("web")
        await clinic.becomes("web", failure_count="1", status="running", within=5)


async def test_an_older_look_never_overwrites_a_newer(clinic: Clinic) -> None:
    clinic.add("web", labels={"pointsman.self-heal": "false"})
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        board, recorder = worker.board, worker.observer._recorder
        old, look = await board.ticket(), await Lookout(worker.engine, "default", None).look("web")
        clinic.engine.kill("web")
        await clinic.becomes("web", status="stopped")
        at = await clinic.revision()
        outcome = await recorder.record("web", old, look)
        assert outcome.name == "AGAIN"
        assert await clinic.is_at(at)


async def test_a_look_of_the_observer_adds_nothing_to_a_commands_events(clinic: Clinic) -> None:
    clinic.add("web", stop_delay=0.3)
    async with clinic.worker(resync=0.1):
        await clinic.becomes("web", status="running")
        await clinic.at_rest()
        at = await clinic.revision()
        await clinic.view.settled(await clinic.view.add("restart", "web"))
        await clinic.view.settled(await clinic.view.add("stop", "web"))
        done = await clinic.revision()
        kinds = [one["type"].rsplit(".", 1)[1] for one in (await clinic.view.events())[at:]]
        assert kinds == ["started", "changed", "settled", "started", "changed", "changed", "settled"]
        await holds(lambda: clinic.is_at(done), during=0.5)


async def test_readiness_reached_after_a_restart_is_one_change(clinic: Clinic) -> None:
    clinic.add("web", health=True, health_delay=0.3)
    async with clinic.worker():
        await clinic.becomes("web", status="running", health="healthy")
        await clinic.at_rest()
        at = await clinic.revision()
        command = await clinic.view.add("restart", "web")
        await clinic.becomes("web", status="running", restart_count="1", health="healthy")
        events = (await clinic.view.events())[at:]
        assert [(one["type"].rsplit(".", 1)[1], one["subject"]) for one in events] == [
            ("started", command),
            ("changed", "web"),
            ("settled", command),
            ("changed", "web"),
        ]
        assert events[-1]["data"]["cause"]["kind"] == "observation"


# Handover


async def test_the_observer_that_loses_its_engine_gives_way_to_one_that_has_it(clinic: Clinic) -> None:
    clinic.add("web")
    far = clinic.engine.client()
    async with clinic.worker("far", far) as one:
        await eventually(lambda: clinic.observer(one))
        async with clinic.worker("near") as other:
            await clinic.becomes("web", status="running")
            await asyncio.sleep(0)
            far.faults.outage()
            heir = await eventually(lambda: _is(clinic.observer(one, other), other), within=5 * LEASE)
            assert heir
            clinic.engine.kill("web")
            await clinic.becomes("web", status="running", failure_count="1")
            kinds = {one["type"] for one in await clinic.view.events()}
            assert "pointsman.engine.unavailable" not in kinds
            far.faults.recover()


async def test_where_no_worker_reaches_the_engine_the_last_observer_says_so_and_beats(clinic: Clinic) -> None:
    clinic.add("web")
    async with (
        async_client(clinic.server) as client,
        clinic.worker("w1", engine_silence=0.5, heartbeat=0.2) as one,
        clinic.worker("w2", clinic.engine.client(), engine_silence=0.5, heartbeat=0.2) as other,
    ):
        await clinic.becomes("web", status="running")
        channel = client.pubsub()
        await channel.subscribe(clinic.view.keys.events)
        clinic.engine.outage()
        await eventually(lambda: _engine(clinic, "unavailable"), within=5)
        beats = 0
        while beats < 3:
            message = await channel.get_message(timeout=5)
            assert message is not None, "no heartbeat"
            beats += "heartbeat" in str(message["data"])
        assert await clinic.observer(one, other) is not None
        clinic.engine.recover()
        await eventually(lambda: _engine(clinic, "available"), within=5)
        await channel.aclose()  # type: ignore[no-untyped-call]
        events = [one["type"] for one in await clinic.view.events() if ".engine." in one["type"]]
        assert [kind.rsplit(".", 1)[1] for kind in events] == ["available", "unavailable", "available"]


async def test_an_observer_that_leaves_hands_over_at_once_and_nothing_is_published_anew(
    clinic: Clinic,
) -> None:
    clinic.add("web")
    async with clinic.worker("w2", lease=5, margin=6) as other:
        async with clinic.worker("w1", lease=5, margin=6) as one:
            await clinic.becomes("web", status="running")
            await clinic.at_rest()
            first = await clinic.observer(one, other)
            assert first is not None
            at = len(await clinic.told("web"))
        if first is other:
            return
        await eventually(lambda: _is(clinic.observer(other), other), within=2)
        clinic.engine.kill("web")
        await clinic.becomes("web", status="running", failure_count="1")
        changes = [one for one in (await clinic.told("web"))[at:] if one["type"].endswith("changed")]
        assert [one["data"]["service"]["status"] for one in changes] == ["stopped", "running"]


# Redis loses what it had


async def _disabled_and_counted(clinic: Clinic) -> None:
    """Bring services where defaults would not."""
    await clinic.becomes("web", status="running")
    await clinic.becomes("off", status="running")
    await clinic.becomes("still", status="running")
    await clinic.view.settled(await clinic.view.add("restart", "web"))
    await clinic.view.settled(await clinic.view.add("disable", "off"))
    await clinic.view.settled(await clinic.view.add("stop", "still"))
    clinic.engine.kill("web")
    await clinic.becomes("web", failure_count="1", status="running", restart_scheduled_at=None)


async def _check_kept(clinic: Clinic) -> None:
    await clinic.becomes("web", status="running", restart_count="1", failure_count="1", reason=None)
    await clinic.becomes("off", status="disabled", enabled="0")
    await clinic.becomes("still", status="stopped", desired="stopped", restart_scheduled_at=None)
    events = await clinic.view.events()
    assert sorted(one["subject"] for one in events if one["type"].endswith("discovered")) == [
        "off",
        "still",
        "web",
    ]


async def test_after_redis_lost_everything_the_observer_publishes_what_it_remembers(clinic: Clinic) -> None:
    for name in ("web", "off", "still"):
        clinic.add(name)
    async with clinic.worker():
        await _disabled_and_counted(clinic)
        before = await clinic.view.epoch()
        await clinic.view.client.flushall()
        await clinic.at_rest()
        assert await clinic.view.epoch() != before
        await _check_kept(clinic)
        counts = {name: len(await clinic.told(name)) for name in ("web", "off", "still")}
        for name, count in counts.items():
            await holds(lambda name=name, count=count: _told(clinic, name, count), during=0.4)


async def test_a_stand_in_fills_the_gaps_when_the_observer_went_with_redis(clinic: Clinic) -> None:
    for name in ("web", "off", "still"):
        clinic.add(name)
    async with clinic.worker("w1") as one:
        await clinic.becomes("web", status="running")
        async with clinic.worker("w2", resync=0.2) as other:
            await _disabled_and_counted(clinic)
            await eventually(lambda: _remembers(other, "web", 1))
            clinic.add("late")
            await clinic.becomes("late", status="running")
            await eventually(lambda: _remembers(other, "late", 0))
            # The observer forgets, as one that died would.
            one.observer.memory.replace({})
            one.observer.step_down()
            await clinic.view.client.flushall()
            await clinic.at_rest()
            for name in ("web", "off", "still", "late"):
                await clinic.becomes(name, container_id=clinic.engine.look(name).short_id)
            await clinic.becomes("web", restart_count="1", failure_count="1")
            await clinic.becomes("off", status="disabled")
            await clinic.becomes("still", desired="stopped")


async def test_what_nobody_remembers_is_made_anew_and_says_so(clinic: Clinic) -> None:
    clinic.add("web")
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        worker.observer.memory.replace({})
        worker.observer.tenure.loaded = False
        await clinic.view.client.flushall()
        one = await clinic.becomes("web", reason="state_lost", status="running")
        assert "Redis lost" in one["message"]
        await clinic.view.settled(await clinic.view.add("restart", "web"))
        await clinic.becomes("web", reason=None, restart_count="1")


async def test_a_first_start_in_a_new_room_finds_nothing_lost(clinic: Clinic) -> None:
    clinic.add("web")
    async with clinic.worker():
        await clinic.becomes("web", status="running", reason=None)
        await clinic.at_rest()
    at = len(await clinic.told("web"))
    async with clinic.worker("w2") as other:
        await eventually(lambda: other.observer.able)
        await holds(lambda: _told(clinic, "web", at), during=0.5)


async def test_a_new_epoch_without_a_loss_publishes_each_snapshot_once(clinic: Clinic) -> None:
    for n in range(5):
        clinic.add(f"s{n}")
    async with clinic.worker("w1"), clinic.worker("w2", clinic.engine.client()):
        for n in range(5):
            await clinic.becomes(f"s{n}", status="running")
        await clinic.at_rest()
        at = await clinic.revision()
        await clinic.view.client.xgroup_destroy(clinic.view.keys.commands, "workers")
        await clinic.view.add("restart", "nobody")
        await clinic.at_rest()

        async def published() -> bool:
            return len([e for e in (await clinic.view.events())[at:] if e["type"].endswith("changed")]) >= 5

        await eventually(published)
        events = [one for one in (await clinic.view.events())[at:] if one["type"].endswith("service.changed")]
        assert sorted(one["subject"] for one in events) == [f"s{n}" for n in range(5)]
        assert all(one["data"]["changed"] == [] for one in events)


async def test_health_is_followed_by_the_engines_word(clinic: Clinic) -> None:
    clinic.add("web", health=True, labels={"pointsman.self-heal": "false"})
    async with clinic.worker():
        await clinic.becomes("web", status="running", health="healthy")
        clinic.engine.set_health("web", Health.UNHEALTHY, "out of order")
        one = await clinic.becomes("web", status="unhealthy", within=1)
        assert one["message"] == "out of order"


async def _told(clinic: Clinic, service: str, events: int) -> bool:
    return len(await clinic.told(service)) == events


async def _is(found: Any, wanted: object) -> bool:
    return await found is wanted


async def _is_untold(clinic: Clinic) -> bool:
    return await clinic.view.client.hget(clinic.view.keys.meta, "engine_status") is None


async def _engine(clinic: Clinic, word: str) -> bool:
    return bool(await clinic.view.client.hget(clinic.view.keys.meta, "engine_status") == word)


def _remembers(worker: Worker, name: str, failures: int) -> bool:
    state = worker.observer.states.get(name)
    return state is not None and state.snapshot is not None and state.snapshot.failure_count == failures
