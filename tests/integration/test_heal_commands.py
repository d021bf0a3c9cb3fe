"""A heal is an ordinary command: its order, its refusals, its ends; and who waits for whom."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from contracts.times import parse_ms
from publisher import Publisher
from tests.support.clinic import Clinic
from tests.support.waiting import eventually, holds
from worker.adapters.clock import SystemClock
from worker.app import Worker
from worker.core.container import Health

SLOW = {"pointsman.backoff-base": "0.6", "pointsman.backoff-max": "0.6"}


async def heals(clinic: Clinic, service: str) -> list[dict[str, Any]]:
    """Return the settled heals of a service, in order."""
    return [
        one["data"]["command"]
        for one in await clinic.view.events()
        if one["type"] == "pointsman.command.settled"
        and one["data"]["command"]["issuer"] == "self-heal"
        and one["data"]["command"]["service"] == service
    ]


async def starts(clinic: Clinic, service: str, count: int) -> bool:
    return len(clinic.engine.effects(service, "start")) == count


async def test_a_plan_is_dropped_when_somebody_starts_it_before(clinic: Clinic) -> None:
    clinic.add("web", labels=SLOW)
    async with clinic.worker():
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        planned = (await clinic.becomes("web", status="stopped"))["restart_scheduled_at"]
        first = await clinic.view.settled(await clinic.view.add("start", "web"))
        assert first["code"] == "200"
        one = await clinic.becomes("web", status="running", restart_scheduled_at=None)
        assert parse_ms(planned) > parse_ms(one["observed_at"])
        await holds(lambda: starts(clinic, "web", 2), during=0.8)
        assert await heals(clinic, "web") == []


@pytest.mark.parametrize("first", ["stop", "heal"])
async def test_a_heal_keeps_order_with_manual_commands(clinic: Clinic, first: str) -> None:
    clinic.add("web", labels=SLOW)
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        due = (await clinic.becomes("web", status="stopped"))["restart_scheduled_at"]
        plan = f"self-heal:web:{clinic.engine.look('web').short_id}:{parse_ms(due)}"
        free, worker.consumer._limits = worker.consumer._limits, _no_lanes(worker.consumer._limits)
        stop = await clinic.view.add("stop", "web") if first == "stop" else ""
        await eventually(lambda: clinic.view.receipt(plan))
        stop = stop or await clinic.view.add("stop", "web")
        worker.consumer._limits = free
        stopped = await clinic.view.settled(stop)
        healed = await clinic.view.settled(plan)
        assert stopped["code"] == "200"
        assert healed["code"] == ("412" if first == "stop" else "200")
        await clinic.becomes("web", status="stopped", desired="stopped", restart_scheduled_at=None)
        assert [one.kind for one in clinic.engine.effects("web")] == (
            ["start", "die"] if first == "stop" else ["start", "die", "start", "die"]
        )


async def test_a_heal_that_finds_nothing_to_heal_is_refused_and_planned_no_more(clinic: Clinic) -> None:
    clinic.add("web", labels=SLOW, stop_delay=0.8)
    clinic.add("other")
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        await clinic.becomes("web", status="stopped", failure_count="1")
        # It comes back by itself as the heal is published, unseen by the observer: no look at the death is left.
        agenda = worker.observer.agenda
        await eventually(lambda: not agenda._busy and (agenda.next_due() or inf) > SystemClock().boot())
        clinic.engine.lose_events()
        agenda.look_soon = lambda *_, **__: None  # type: ignore[method-assign]
        await worker.engine.start(clinic.engine.look("web").id)
        receipt = (await eventually(lambda: heals(clinic, "web")))[0]
        assert (receipt["status"], receipt["code"], receipt["error"]) == (
            "rejected",
            412,
            "precondition_failed",
        )
        assert receipt["message"] == "Service 'web' needs no healing"
        assert receipt["changed"] is None
        one = await clinic.becomes("web", restart_scheduled_at=None)
        assert one["failure_count"] == "1"
        assert len(clinic.engine.effects("web", "start")) == 2


async def test_a_heal_that_expires_behind_a_slow_command_gets_a_later_time(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.healer.HEAL_TTL", 0.4)
    clinic.add("web", labels=SLOW)
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        due = (await clinic.becomes("web", status="stopped"))["restart_scheduled_at"]
        # Nobody takes lanes for a while: the heal is published and expires.
        free, worker.consumer._limits = worker.consumer._limits, _no_lanes(worker.consumer._limits)
        expired = (await eventually(lambda: heals(clinic, "web"), within=5))[0]
        assert (expired["status"], expired["attempt"]) == ("expired", None)
        worker.consumer._limits = free
        later = await eventually(lambda: _planned_after(clinic, "web", due), within=5)
        assert later
        await clinic.becomes("web", status="running", failure_count="1")
        first, second = await heals(clinic, "web")
        assert first["id"] != second["id"]
        assert second["status"] == "succeeded"


async def test_a_cancelled_heal_gets_a_later_time(clinic: Clinic) -> None:
    clinic.add("web", labels=SLOW)
    async with clinic.worker() as worker:
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        due = (await clinic.becomes("web", status="stopped"))["restart_scheduled_at"]
        free, worker.consumer._limits = worker.consumer._limits, _no_lanes(worker.consumer._limits)
        plan = f"self-heal:web:{clinic.engine.look('web').short_id}:{parse_ms(due)}"
        await eventually(lambda: clinic.view.receipt(plan), within=5)
        async with Publisher(clinic.server.url) as publisher:
            await publisher.cancel(plan)
        worker.consumer._limits = free
        assert await eventually(lambda: _planned_after(clinic, "web", due), within=5)
        await clinic.becomes("web", status="running")


async def test_a_failed_heal_counts_and_the_next_waits_longer(clinic: Clinic) -> None:
    labels = {"pointsman.backoff-base": "0.2", "pointsman.backoff-max": "5"}
    clinic.add("web", labels=labels)
    async with clinic.worker():
        await clinic.becomes("web", status="running")
        clinic.engine.container("web").behaviour.start_error = "no such file"
        clinic.engine.kill("web")
        one = await clinic.becomes("web", failure_count="3", reason="start_failed")
        assert (one["message"], one["last_start_error"]) == ("no such file", "no such file")
        clinic.engine.container("web").behaviour.start_error = None
        await clinic.becomes("web", status="running")
        first, second, third = await heals(clinic, "web")
        assert [first["status"], second["status"], third["status"]] == ["failed", "failed", "succeeded"]
        assert first["message"] == "no such file"
        assert parse_ms(second["called_at"]) - parse_ms(first["finished_at"]) >= 400
        assert parse_ms(third["called_at"]) - parse_ms(second["finished_at"]) >= 800


async def test_nothing_is_healed_while_the_engine_is_unknown(clinic: Clinic) -> None:
    clinic.add("web", labels=SLOW)
    async with clinic.worker():
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        await clinic.becomes("web", status="stopped")
        clinic.engine.outage()
        entries = await clinic.view.client.xlen(clinic.view.keys.commands)
        await holds(lambda: _entries(clinic, entries), during=1.2)
        clinic.engine.recover()
        await clinic.becomes("web", status="running", failure_count="1")


async def test_a_heal_is_an_ordinary_command_that_names_the_run_it_is_for(clinic: Clinic) -> None:
    clinic.add("web", labels=SLOW)
    clinic.add("sick", health=True, labels=SLOW | {"pointsman.grace": "0"})
    async with clinic.worker():
        for name in ("web", "sick"):
            await clinic.becomes(name, status="running")
        clinic.engine.kill("web")
        clinic.engine.set_health("sick", Health.UNHEALTHY, "out of order")
        failures = [(name, await clinic.becomes(name, failure_count="1")) for name in ("sick", "web")]
        for (name, failed), action in zip(failures, ("restart", "start"), strict=True):
            due, short = parse_ms(failed["restart_scheduled_at"]), failed["container_id"]
            receipt = await clinic.view.settled(f"self-heal:{name}:{short}:{due}")
            assert (receipt["action"], receipt["issuer"], receipt["status"]) == (
                action,
                "self-heal",
                "succeeded",
            )
            assert (receipt["expect_container_id"], receipt["expect_started_at"]) == (
                short,
                failed["started_at"],
            )
            published = int(receipt["entry"].split("-")[0])
            assert 59_900 <= parse_ms(receipt["expires_at"]) - published <= 60_000
            assert 0 <= published - due < 500
            assert receipt["reason"] == failed["message"]


@pytest.mark.parametrize("self_heal", [True, False])
async def test_healing_can_be_turned_off_for_all(clinic: Clinic, self_heal: bool) -> None:
    clinic.add("web")
    async with clinic.worker(self_heal=self_heal):
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        if self_heal:
            await clinic.becomes("web", status="running", failure_count="1")
        else:
            one = await clinic.becomes("web", status="stopped", failure_count="1")
            assert one.get("restart_scheduled_at") is None
            await holds(lambda: starts(clinic, "web", 1), during=0.5)


async def test_any_number_of_workers_make_one_heal(clinic: Clinic) -> None:
    for n in range(6):
        clinic.add(f"s{n}")
    async with (
        clinic.worker("w1"),
        clinic.worker("w2", clinic.engine.client()),
        clinic.worker("w3", clinic.engine.client()),
    ):
        for n in range(6):
            await clinic.becomes(f"s{n}", status="running")
        for n in range(6):
            clinic.engine.kill(f"s{n}")
        for n in range(6):
            await clinic.becomes(f"s{n}", status="running", failure_count="1", restart_scheduled_at=None)
            assert len(clinic.engine.effects(f"s{n}", "start")) == 2
            assert len(await heals(clinic, f"s{n}")) == 1
    assert clinic.engine.overlaps == []


async def test_a_new_observer_counts_the_heals_that_are_under_way(clinic: Clinic) -> None:
    far = clinic.engine.client()
    clinic.add("late", start_delay=2.0)
    clinic.add("early")  # comes first in the order, fails second
    async with clinic.worker("w1", far, heals_at_once=1) as one:
        for name in ("late", "early"):
            await clinic.becomes(name, status="running")
        assert await clinic.observer(one) is one
        async with clinic.worker("w2", heals_at_once=1) as other:
            one.consumer._limits = _no_lanes(one.consumer._limits)
            clinic.engine.kill("late")
            await eventually(lambda: _begun(clinic, "late"), within=5)
            clinic.engine.kill("early")
            await clinic.becomes("early", status="stopped", failure_count="1")
            far.faults.outage()
            await eventually(lambda: _observes(clinic, other, one), within=5)
            assert len(clinic.engine.effects("late", "start")) == 1
            for name in ("late", "early"):
                await clinic.becomes(name, status="running", failure_count="1", restart_scheduled_at=None)
                await eventually(lambda name=name: heals(clinic, name))
            (late,), (early,) = await heals(clinic, "late"), await heals(clinic, "early")
            assert early["accepted_at"] >= late["finished_at"]
            far.faults.recover()


async def test_a_service_waits_for_what_it_needs(clinic: Clinic) -> None:
    clinic.add("db", health=True, labels=SLOW | {"pointsman.grace": "0"})
    clinic.add("app", labels={"pointsman.depends-on": "db"})
    async with clinic.worker():
        await clinic.becomes("db", status="running")
        await clinic.becomes("app", status="running")
        clinic.engine.set_health("db", Health.UNHEALTHY)
        await clinic.becomes("db", status="unhealthy")
        clinic.engine.container("db").behaviour.health = True
        clinic.engine.container("db").behaviour.health_delay = 0.3
        clinic.engine.kill("app")
        one = await clinic.becomes("app", status="stopped", reason="waits_for_dependency")
        assert one["message"].startswith("Waits for 'db'")
        await clinic.becomes("db", status="running", health="healthy")
        await clinic.becomes("app", status="running")
        (db,), (app,) = await heals(clinic, "db"), await heals(clinic, "app")
        assert db["finished_at"] < app["accepted_at"]


async def test_a_ring_is_told_and_not_followed(clinic: Clinic) -> None:
    clinic.add("a", labels={"pointsman.depends-on": "b"})
    clinic.add("b", labels={"com.docker.compose.depends_on": "a:service_started:false"})
    told: list[str] = []
    async with clinic.worker() as worker:
        worker.healer._log.warning = lambda action, *_, **fields: told.append(
            f"{action} {fields.get('ring')}"
        )  # type: ignore[method-assign]
        for name in "ab":
            await clinic.becomes(name, status="running")
        clinic.engine.kill("a")
        clinic.engine.kill("b")
        for name in "ab":
            await clinic.becomes(name, status="running", failure_count="1")
    assert told == ["dependency_cycle a -> b"]


@pytest.mark.parametrize("label", ["pointsman.protected", "pointsman.self-heal"])
async def test_what_is_never_touched_stays_as_it_is(clinic: Clinic, label: str) -> None:
    clinic.add("web", labels={label: "true" if label.endswith("protected") else "false"})
    async with clinic.worker():
        await clinic.becomes("web", status="running")
        clinic.engine.kill("web")
        one = await clinic.becomes("web", status="stopped", failure_count="1")
        assert one.get("restart_scheduled_at") is None
        await holds(lambda: starts(clinic, "web", 1), during=0.5)


async def test_a_long_name_is_healed_too(clinic: Clinic) -> None:
    name = "n" * 128
    clinic.add("web", labels={"pointsman.service": name})
    async with clinic.worker():
        await clinic.becomes(name, status="running")
        clinic.engine.kill("web")
        await clinic.becomes(name, status="running", failure_count="1")


async def test_disabled_when_exhausted_by_setting_until_enabled(clinic: Clinic) -> None:
    clinic.add("web", labels={"pointsman.max-failures": "2"}, exit_after=0.05, exit_code=1)
    async with clinic.worker(on_exhausted="disable"):
        one = await clinic.becomes("web", status="disabled", reason="exhausted")
        assert (one["enabled"], one.get("restart_scheduled_at")) == ("0", None)
        made = len(clinic.engine.effects("web", "start"))
        await holds(lambda: starts(clinic, "web", made), during=0.6)
        receipt = await clinic.view.settled(await clinic.view.add("restart", "web"))
        assert (receipt["code"], receipt["error"]) == ("400", "service_disabled")
        clinic.engine.container("web").behaviour.exit_after = None
        await clinic.view.settled(await clinic.view.add("enable", "web"))
        await clinic.becomes("web", status="running", failure_count="0")
        kinds = [one["type"] for one in await clinic.told("web") if one["type"].endswith("exhausted")]
        assert len(kinds) == 1


def _no_lanes(limits: Any) -> Any:
    return replace(limits, capacity=0)


async def _planned_after(clinic: Clinic, service: str, due: str) -> bool:
    later = (await clinic.view.snapshot(service)).get("restart_scheduled_at")
    return later is not None and later > due


async def _observes(clinic: Clinic, wanted: Worker, other: Worker) -> bool:
    return await clinic.observer(wanted, other) is wanted


async def _begun(clinic: Clinic, service: str) -> bool:
    events = await clinic.view.events()
    return any(
        one["type"] == "pointsman.command.started" and one["data"]["command"]["service"] == service
        for one in events
    )


async def _entries(clinic: Clinic, count: int) -> bool:
    return bool(await clinic.view.client.xlen(clinic.view.keys.commands) == count)
