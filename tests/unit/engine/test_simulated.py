"""What the simulated engine promises beyond the port: records, faults, time, and speed."""

import asyncio
import time

import pytest

from tests.support.waiting import eventually, holds
from worker.adapters.simulated import SimulatedEngine
from worker.core.container import EngineConnected, EngineHint, Health
from worker.ports import EngineBusy, EngineFailed, EngineUnavailable

SECOND = 1_000_000_000


class ManualTime:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + int(seconds * SECOND), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        await asyncio.sleep(0)
        for due, woken in self._sleepers:
            if due <= self.now and not woken.done():
                woken.set_result(None)
        for _ in range(5):  # those woken go on, and tell those who wait for them
            await asyncio.sleep(0)

    async def sleeps(self, count: int) -> None:
        await eventually(lambda: sum(not woken.done() for _, woken in self._sleepers) == count)


@pytest.fixture
def manual() -> ManualTime:
    return ManualTime()


def actions(signals_taken: list[object]) -> list[str]:
    return [one.action for one in signals_taken if isinstance(one, EngineHint)]


async def take_all(signals) -> list[object]:
    """Take what is there."""
    taken: list[object] = []
    while True:
        waiting = asyncio.ensure_future(anext(signals))
        await asyncio.wait({waiting}, timeout=0)
        await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            return taken
        taken.append(waiting.result())


async def test_every_effect_is_in_the_journal(simulated: SimulatedEngine):
    one, other = simulated.add("one"), simulated.add("other", running=False)
    await simulated.restart(one, 5, 5)
    await simulated.start(other)
    simulated.kill("one")
    assert [effect.kind for effect in simulated.effects("one")] == ["start", "die", "start", "die"]
    assert [effect.container_id for effect in simulated.effects(kind="start")] == [one, one, other]
    times = [effect.time_ns for effect in simulated.journal]
    assert times == sorted(set(times)), "each has a time of its own"
    simulated.remove("one")
    assert len(simulated.effects(one)) == 4, "what was removed is still known by its id"


async def test_an_overlap_is_an_action_asked_for_while_another_is_at_work(simulated: SimulatedEngine):
    one, other = simulated.add("one", stop_delay=0.05), simulated.add("other", stop_delay=0.05)
    await asyncio.gather(simulated.restart(one, 5, 5), simulated.restart(other, 5, 5))
    await simulated.restart(one, 5, 5)
    assert not simulated.overlaps
    await asyncio.gather(simulated.restart(one, 5, 5), simulated.stop(one, 5, 5))
    assert [(overlap.running, overlap.asked) for overlap in simulated.overlaps] == [("restart", "stop")]


async def test_time_is_what_the_test_says(manual: ManualTime):
    engine = SimulatedEngine(clock=manual.clock, sleep=manual.sleep)
    one = engine.add("one", stop_delay=3, start_delay=2, health=True, health_delay=30)
    first = engine.look(one)
    assert first.started_at.startswith("2023-11-14T22:13:20.0000000")
    assert first.health is Health.STARTING
    restart = asyncio.create_task(engine.restart(one, 10, 60))
    await manual.sleeps(3)  # the health check, the process that leaves, the bound
    await manual.advance(2.9)
    assert engine.look(one) == first
    await manual.advance(0.1)
    assert engine.look(one).state == "exited"
    await manual.advance(2)
    await restart
    assert engine.look(one).started_at.startswith("2023-11-14T22:13:25")
    await manual.advance(26)
    assert engine.look(one).health is Health.STARTING, "the check of the former run says nothing of this one"
    await manual.advance(4)
    assert engine.look(one).health is Health.HEALTHY
    await engine.close()


async def test_a_grace_is_waited_for_and_no_longer(manual: ManualTime):
    engine = SimulatedEngine(clock=manual.clock, sleep=manual.sleep)
    one = engine.add("one", ignores_term=True)
    with_bound = asyncio.create_task(engine.stop(one, 10, 8))
    await manual.sleeps(2)
    await manual.advance(8)
    with pytest.raises(EngineBusy):
        await with_bound
    assert engine.look(one).running
    await manual.advance(2)
    assert (engine.look(one).state, engine.look(one).exit_code) == ("exited", 137)
    await engine.close()


async def test_a_recreated_container_has_another_id_and_the_same_name(simulated: SimulatedEngine):
    old = simulated.add("one", labels={"pointsman.service": "web"}, health=False)
    new = simulated.recreate("one", image="simulated:2")
    assert new != old
    assert await simulated.inspect(old) is None
    found = simulated.look("one")
    assert (found.id, found.image, found.labels["pointsman.service"]) == (new, "simulated:2", "web")
    assert found.health is Health.UNHEALTHY
    with pytest.raises(EngineFailed, match="already in use"):
        simulated.add("one")


async def test_labels_can_be_changed_and_taken_away(simulated: SimulatedEngine):
    one = simulated.add("one")
    signals = simulated.signals()
    simulated.relabel("one", {"pointsman.port": "80"})
    assert (await simulated.list())[0].labels["pointsman.port"] == "80"
    simulated.relabel("one", {"pointsman.enable": None})
    assert not await simulated.list()
    simulated.kill(one)
    assert actions(await take_all(signals)) == ["update"], "who opted out is not told of"


async def test_a_restart_policy_brings_it_back_unless_it_was_stopped(simulated: SimulatedEngine):
    one = simulated.add("one", restart_policy="on-failure:2", restart_delay=0.01)
    for count in (1, 2):
        simulated.kill(one, 1)
        found = simulated.look(one)
        assert (found.state, found.running, found.engine_restarts) == ("restarting", True, count)
        await eventually(lambda: simulated.look(one).state == "running")
    simulated.kill(one, 1)
    assert simulated.look(one).state == "exited", "twice is all that was asked for"
    await simulated.start(one)
    assert simulated.look(one).engine_restarts == 0
    simulated.kill(one, 0)
    assert simulated.look(one).state == "exited", "a good end is no failure"
    await simulated.start(one)
    simulated.kill(one, 1)
    await simulated.stop(one, 5, 5)
    await holds(lambda: simulated.look(one).state == "exited", during=0.03)
    assert [effect.kind for effect in simulated.effects(one)].count("start") == 5
    with pytest.raises(EngineFailed, match="not running"):
        simulated.kill(one)


async def test_a_process_that_ends_by_itself(simulated: SimulatedEngine):
    one = simulated.add("one", exit_after=0.02, exit_code=3)
    assert simulated.look(one).running
    await eventually(lambda: simulated.look(one).state == "exited")
    assert simulated.look(one).exit_code == 3


async def test_out_of_memory_is_told(simulated: SimulatedEngine):
    one = simulated.add("one")
    signals = simulated.signals()
    simulated.kill(one, oom=True)
    assert actions(await take_all(signals)) == ["oom", "die"]
    assert simulated.look(one).oom_killed


async def test_the_next_calls_fail_as_told(simulated: SimulatedEngine):
    one = simulated.add("one")
    simulated.fail_next("restart", 409, "conflict", times=2)
    simulated.fail_next("restart", 500, "done, but do not ask how", effect=True)
    simulated.fail_next("inspect", 0, "reset by peer")
    for status in (409, 409, 500):
        with pytest.raises(EngineFailed) as failed:
            await simulated.restart(one, 5, 5)
        assert failed.value.http_status == status
    with pytest.raises(EngineUnavailable, match="reset by peer"):
        await simulated.inspect(one)
    assert len(simulated.effects(one, "start")) == 2, "one of the failures had its effect"
    assert await simulated.inspect(one)
    assert not simulated.faults.active
    with pytest.raises(ValueError, match="no such call"):
        simulated.fail_next("explode")


@pytest.mark.parametrize(("late", "while_hung", "after"), [("never", 1, 1), ("now", 2, 2), ("after", 1, 2)])
async def test_what_becomes_of_an_action_that_hangs(late: str, while_hung: int, after: int):
    engine = SimulatedEngine()
    one = engine.add("one")
    engine.hang("restart", late=late)
    with pytest.raises(EngineBusy):
        await engine.restart(one, 5, 0.02)
    assert await engine.inspect(one), "only restarts hang"
    assert len(engine.effects(one, "start")) == while_hung
    engine.recover()
    assert len(engine.effects(one, "start")) == after
    await engine.close()


async def test_a_hung_look_goes_on_when_the_engine_does():
    engine = SimulatedEngine(look_bound=5)
    engine.add("one")
    engine.hang()
    waiting = asyncio.create_task(engine.list())
    await holds(lambda: not waiting.done(), during=0.02)
    engine.recover()
    assert len(await waiting) == 1
    await engine.close()


async def test_ports_lose_sight_of_the_engine_one_by_one(simulated: SimulatedEngine):
    one = simulated.add("one")
    blind, seeing = simulated.client(), simulated.client()
    blind_signals, seeing_signals = blind.signals(), seeing.signals()
    blind.faults.outage()
    with pytest.raises(EngineUnavailable):
        await blind.inspect(one)
    await seeing.restart(one, 5, 5)
    assert actions(await take_all(seeing_signals)) == ["die", "stop", "start", "restart"]
    assert await take_all(blind_signals) == [EngineConnected()]
    blind.faults.recover()
    caught_up = await take_all(blind_signals)
    assert caught_up[0] == EngineConnected()
    assert actions(caught_up) == ["die", "stop", "start", "restart"]
    await blind.close()
    await seeing.ping()


async def test_lost_events_never_come(simulated: SimulatedEngine):
    one = simulated.add("one")
    signals = simulated.signals()
    simulated.lose_events()
    simulated.kill(one)
    simulated.recover()
    simulated.cut_events()
    await simulated.start(one)
    taken = await take_all(signals)
    assert actions(taken) == ["start"]
    assert taken.count(EngineConnected()) == 2


async def test_stalled_events_come_late(simulated: SimulatedEngine):
    one = simulated.add("one")
    signals = simulated.signals()
    await anext(signals)
    simulated.stall_events()
    simulated.kill(one)
    assert await take_all(signals) == []
    await simulated.ping()
    simulated.recover()
    assert actions(await take_all(signals)) == ["die"]


async def test_more_events_than_the_engine_keeps_are_lost_to_who_was_away(simulated: SimulatedEngine):
    one = simulated.add("one")
    signals = simulated.signals()
    await anext(signals)
    simulated.outage()
    for _ in range(200):
        simulated.machine.begin_restart(simulated.container(one), 5)
    simulated.recover()
    taken = await take_all(signals)
    assert taken[0] == EngineConnected()
    assert len(actions(taken)) < 256


async def test_without_delays_nothing_takes_a_task_and_little_takes_time(simulated: SimulatedEngine):
    ids = [simulated.add(f"c{number}") for number in range(100)]
    signals = simulated.signals()
    tasks = asyncio.all_tasks()
    began = time.process_time()
    for number in range(2_000):
        await simulated.restart(ids[number % 100], 10, 30)
    spent = time.process_time() - began
    assert asyncio.all_tasks() == tasks
    assert len(simulated.journal) == 100 + 4_000
    assert spent < 2_000 / 5_000, f"{2_000 / spent:.0f} restarts a second"
    await signals.aclose()
