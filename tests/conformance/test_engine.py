"""What every answer to the engine port does alike: in memory, behind HTTP, and on a real engine."""

import asyncio
import time
from contextlib import aclosing

import pytest

from tests.support.engine import Bench
from tests.support.waiting import eventually, holds
from worker.core.container import EngineConnected, EngineHint, EngineSignal, Health
from worker.ports import EngineBusy, EngineFailed, EngineUnavailable

GRACE, BOUND = 5, 20.0


async def heard(signals, wanted: str, container_id: str, within: float = 5.0) -> list[EngineSignal]:
    """Collect signals up to the hint of that action."""
    seen: list[EngineSignal] = []
    async with asyncio.timeout(within):
        async for signal in signals:
            seen.append(signal)
            if (
                isinstance(signal, EngineHint)
                and signal.container_id == container_id
                and signal.action == wanted
            ):
                return seen
    raise AssertionError(f"the signals ended after {seen}")


def hints_of(seen: list[EngineSignal], container_id: str) -> list[EngineHint]:
    return [one for one in seen if isinstance(one, EngineHint) and one.container_id == container_id]


async def test_an_engine_has_one_identity(bench: Bench):
    identity = await bench.engine.identify()
    assert identity
    assert await bench.client().identify() == identity
    await bench.engine.ping()


async def test_a_list_shows_what_opted_in_whether_it_runs_or_not(bench: Bench):
    running = await bench.add("up", labels={"pointsman.service": "up"})
    created = await bench.add("new", running=False)
    hidden = await bench.add("hidden", labels={"pointsman.enable": "false"})
    rows = {row.id: row for row in await bench.engine.list()}
    assert rows[running].name == bench.name("up")
    assert rows[running].state == "running"
    assert rows[running].running
    assert rows[running].labels["pointsman.service"] == "up"
    assert rows[created].state == "created"
    assert not rows[created].running
    assert hidden not in rows
    await bench.rename(created, bench.name("renamed"))
    await bench.remove(running)
    rows = {row.id: row for row in await bench.engine.list()}
    assert rows[created].name == bench.name("renamed")
    assert running not in rows
    assert await bench.engine.inspect(running) is None


async def test_a_container_is_started_stopped_and_started_again(bench: Bench):
    engine = bench.engine
    one = await bench.add("c", running=False, stop_timeout=7)
    new = await bench.look(one)
    assert (new.state, new.running, new.ever_started) == ("created", False, False)
    assert (new.id, new.name, new.short_id) == (one, bench.name("c"), one[:12])
    assert (new.health, new.restart_policy, new.stop_timeout) == (Health.NONE, "no", 7)

    await engine.start(one)
    first = await bench.look(one)
    assert (first.state, first.running, first.ever_started) == ("running", True, True)
    assert bool(first.addresses) is bench.networked
    await engine.start(one)
    assert await bench.look(one) == first, "the start of a running one changes nothing"

    await engine.stop(one, GRACE, BOUND)
    stopped = await bench.look(one)
    assert (stopped.state, stopped.running) == ("exited", False)
    assert stopped.started_at == first.started_at, "a stop leaves StartedAt as it was"
    assert stopped.finished_at > first.finished_at
    assert not stopped.addresses
    await engine.stop(one, GRACE, BOUND)
    assert await bench.look(one) == stopped, "the stop of a stopped one changes nothing"

    await engine.restart(one, GRACE, BOUND)
    again = await bench.look(one)
    assert again.running
    assert again.started_at > first.started_at
    await engine.restart(one, GRACE, BOUND)
    assert (await bench.look(one)).started_at > again.started_at
    assert await bench.effects(one) == ["start", "die", "start", "die", "start"]


async def test_a_process_that_does_not_leave_is_killed_after_its_grace(bench: Bench):
    one = await bench.add("c", ignores_term=True)
    began = time.monotonic()
    await bench.engine.stop(one, 1, BOUND)
    assert 1.0 <= time.monotonic() - began < 5.0
    assert (await bench.look(one)).exit_code == 137
    await bench.engine.start(one)
    await bench.engine.stop(one, 0, BOUND)
    assert await bench.effects(one) == ["start", "die", "start", "die"]


async def test_a_restart_goes_on_when_its_caller_has_gone(bench: Bench):
    one = await bench.add("c", slow_term=1.0)
    await bench.engine.ping()
    before = await bench.look(one)
    caller = asyncio.create_task(bench.engine.restart(one, GRACE, BOUND))
    await holds(lambda: not caller.done(), during=0.3, what="the restart is at work")
    caller.cancel()
    await asyncio.wait({caller})
    assert await bench.look(one) == before, "until it is done the engine shows the former run"
    now = await eventually(lambda: started_since(bench, one, before.started_at), within=8)
    assert now
    assert await bench.effects(one) == ["start", "die", "start"]


async def test_a_call_that_outlasts_its_bound_is_busy_and_may_yet_finish(bench: Bench):
    one = await bench.add("c", slow_term=0.8)
    before = await bench.look(one)
    with pytest.raises(EngineBusy):
        await bench.engine.restart(one, GRACE, 0.3)
    assert (await bench.look(one)).started_at == before.started_at
    await eventually(lambda: started_since(bench, one, before.started_at), within=8)
    with pytest.raises(EngineBusy):
        await bench.engine.stop(one, GRACE, 0.2)
    await eventually(lambda: stopped(bench, one), within=8)


async def test_two_restarts_at_once_are_one_effect_and_a_start_during_a_stop_is_none(bench: Bench):
    one = await bench.add("c", slow_term=0.5)
    await asyncio.gather(*(bench.engine.restart(one, GRACE, BOUND) for _ in range(2)))
    assert await bench.effects(one) == ["start", "die", "start"]
    stop = asyncio.create_task(bench.engine.stop(one, GRACE, BOUND))
    await holds(lambda: not stop.done(), during=0.1, what="the stop is at work")
    await bench.engine.start(one)
    await stop
    assert not (await bench.look(one)).running


async def test_a_start_that_fails_leaves_the_times_and_tells_why(bench: Bench):
    one = await bench.add("c", breakable=True)
    await bench.engine.stop(one, GRACE, BOUND)
    await bench.break_start(one)
    before = await bench.look(one)
    with pytest.raises(EngineFailed, match=r"create failed|does not exist") as failed:
        await bench.engine.start(one)
    assert failed.value.http_status >= 400
    with pytest.raises(EngineFailed, match="OCI runtime create failed") as failed:
        await bench.engine.restart(one, GRACE, BOUND)
    assert failed.value.http_status >= 400
    after = await bench.look(one)
    assert (after.started_at, after.finished_at) == (before.started_at, before.finished_at)
    assert "OCI runtime create failed" in after.error
    assert not after.running


async def test_no_such_container(bench: Bench):
    gone = "0" * 64
    assert await bench.engine.inspect(gone) is None
    for call in (
        lambda: bench.engine.start(gone),
        lambda: bench.engine.stop(gone, GRACE, BOUND),
        lambda: bench.engine.restart(gone, GRACE, BOUND),
    ):
        with pytest.raises(EngineFailed, match="No such container") as failed:
            await call()
        assert failed.value.http_status == 404


async def test_a_paused_container_runs_and_cannot_be_started(bench: Bench):
    one = await bench.add("c")
    await bench.pause(one)
    paused = await bench.look(one)
    assert (paused.state, paused.running, paused.paused) == ("paused", True, True)
    with pytest.raises(EngineFailed, match="paused") as failed:
        await bench.engine.start(one)
    assert failed.value.http_status == 409
    await bench.engine.restart(one, GRACE, BOUND)
    again = await bench.look(one)
    assert (again.state, again.paused) == ("running", False)
    assert again.started_at > paused.started_at


async def test_a_container_that_exits_at_once_was_restarted(bench: Bench):
    one = await bench.add("c", exits=3)
    await eventually(lambda: stopped(bench, one))
    before = await bench.look(one)
    await bench.engine.restart(one, GRACE, BOUND)
    await eventually(lambda: stopped(bench, one))
    after = await bench.look(one)
    assert after.started_at > before.started_at
    assert (after.state, after.exit_code) == ("exited", 3)


async def test_the_engine_owns_a_container_in_its_restart_loop(bench: Bench):
    one = await bench.add("c", exits=5, restart_policy="always")

    async def restarting():
        found = await bench.look(one)
        return found if found.restarting else None

    found = await eventually(restarting, within=10)
    assert (found.state, found.running, found.restart_policy) == ("restarting", True, "always")
    assert found.exit_code == 5
    assert found.engine_restarts >= 1
    await bench.engine.stop(one, GRACE, BOUND)
    assert (await bench.look(one)).state == "exited"


async def test_health_is_what_the_check_found(bench: Bench):
    one = await bench.add("c", health=True)
    await eventually(lambda: has_health(bench, one, Health.HEALTHY))
    async with aclosing(bench.engine.signals()) as signals:
        assert await anext(signals) == EngineConnected()
        await bench.set_health(one, healthy=False)
        await heard(signals, "health_status: unhealthy", one)
    assert (await bench.look(one)).health is Health.UNHEALTHY
    await bench.set_health(one, healthy=True)
    await eventually(lambda: has_health(bench, one, Health.HEALTHY))
    await bench.engine.stop(one, GRACE, BOUND)
    assert (await bench.look(one)).health is Health.UNHEALTHY, "nobody is healthy who does not run"


async def test_callers_who_ask_together_each_see_what_they_did_before(bench: Bench):
    ids = [await bench.add(f"c{number}", running=False) for number in range(4)]

    async def start_and_list(container_id: str) -> bool:
        await bench.engine.start(container_id)
        rows = {row.id: row for row in await bench.engine.list()}
        return rows[container_id].running

    assert all(await asyncio.gather(*(start_and_list(one) for one in ids)))


async def test_signals_tell_of_managed_containers_with_exit_codes_and_labels(bench: Bench):
    one = await bench.add("c", labels={"pointsman.room": "somewhere"})
    hidden = await bench.add("hidden", labels={"pointsman.enable": "false"})
    async with aclosing(bench.engine.signals()) as signals:
        assert await anext(signals) == EngineConnected()
        await bench.kill(hidden)
        await bench.engine.restart(one, GRACE, BOUND)
        await bench.kill(one)
        await bench.rename(one, bench.name("renamed"))
        await bench.remove(one)
        seen = await heard(signals, "destroy", one)
    told = hints_of(seen, one)
    assert not hints_of(seen, hidden)
    lately = [hint.action for hint in told if hint.action not in {"create", "stop", "restart"}]
    assert lately[-5:] == ["die", "start", "die", "rename", "destroy"]
    assert [hint.exit_code for hint in told if hint.action == "die"] == [0, 137]
    assert all(hint.labels["pointsman.room"] == "somewhere" for hint in told)
    assert all(hint.name == bench.name("c") for hint in told if hint.action == "die")
    assert told[-1].name == bench.name("renamed")
    times = [hint.time_ns for hint in told]
    assert times == sorted(set(times))
    assert abs(times[-1] - time.time_ns()) < 60_000_000_000


async def test_signals_survive_a_cut_and_tell_each_event_once(bench: Bench):
    one = await bench.add("c")
    async with aclosing(bench.engine.signals()) as signals:
        await anext(signals)
        await bench.engine.stop(one, GRACE, BOUND)
        await heard(signals, "die", one)
        await bench.cut_events()
        await bench.engine.start(one)
        seen = await heard(signals, "start", one)
        assert EngineConnected() in seen, "whoever was cut off is told to look at everything"
        assert not [hint for hint in hints_of(seen, one) if hint.action == "die"], (
            "what was told is not repeated"
        )


async def test_an_outage_is_told_at_once_and_what_happened_meanwhile_afterwards(bench: Bench):
    one = await bench.add("c")
    async with aclosing(bench.engine.signals()) as signals:
        await anext(signals)
        await bench.outage()
        for call in (
            bench.engine.ping,
            bench.engine.list,
            lambda: bench.engine.inspect(one),
            bench.engine.identify,
            lambda: bench.engine.restart(one, GRACE, BOUND),
        ):
            with pytest.raises(EngineUnavailable):
                await asyncio.wait_for(call(), 2)
        await bench.kill(one)
        await bench.recover()
        seen = await heard(signals, "die", one)
        assert EngineConnected() in seen
        assert hints_of(seen, one)[-1].exit_code == 137
    assert not (await bench.look(one)).running
    assert (await bench.effects(one)).count("die") == 1


async def test_an_engine_that_accepts_and_never_answers(bench: Bench):
    one = await bench.add("c")
    other = bench.client()
    assert await other.inspect(one)
    async with aclosing(bench.engine.signals()) as signals:
        await anext(signals)
        await bench.stall()
        with pytest.raises(EngineBusy):
            await other.restart(one, GRACE, 0.3)
        with pytest.raises(EngineUnavailable):
            await other.ping()
        with pytest.raises((EngineBusy, EngineUnavailable)):
            await bench.engine.restart(one, GRACE, 0.3)
        await bench.recover()
        await bench.engine.ping()
        await bench.rename(one, bench.name("renamed"))  # a late restart may be at work on the process
        await heard(signals, "rename", one)


async def test_signals_can_be_left_and_taken_up_again(bench: Bench):
    one = await bench.add("c")
    signals = bench.engine.signals()
    assert await anext(signals) == EngineConnected()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(drain(signals), 0.02)
    await bench.kill(one)
    await heard(signals, "die", one)
    waiting = asyncio.create_task(drain(signals))
    await holds(lambda: not waiting.done(), during=0.02, what="the reader waits")
    await signals.aclose()
    async with asyncio.timeout(2):
        await waiting


async def test_a_closed_engine_answers_nobody_and_keeps_nobody_waiting(bench: Bench):
    one = await bench.add("c", slow_term=2.0)
    engine = bench.client()
    signals = engine.signals()
    await anext(signals)
    waiting = [
        asyncio.create_task(drain(signals)),
        asyncio.create_task(engine.restart(one, GRACE, BOUND)),
    ]
    await holds(lambda: not any(task.done() for task in waiting), during=0.2, what="both wait")
    async with asyncio.timeout(2):
        await engine.close()
        await engine.close()
        await asyncio.wait(waiting)
    assert waiting[0].exception() is None
    assert isinstance(waiting[1].exception(), EngineUnavailable)
    with pytest.raises(EngineUnavailable):
        await engine.list()
    with pytest.raises(StopAsyncIteration):
        await anext(engine.signals())
    await bench.remove(one)


async def drain(signals) -> None:
    async for _ in signals:
        pass


async def started_since(bench: Bench, container_id: str, started_at: str) -> bool:
    found = await bench.look(container_id)
    return found.running and found.started_at > started_at


async def stopped(bench: Bench, container_id: str) -> bool:
    return not (await bench.look(container_id)).running


async def has_health(bench: Bench, container_id: str, health: Health) -> bool:
    return (await bench.look(container_id)).health is health
