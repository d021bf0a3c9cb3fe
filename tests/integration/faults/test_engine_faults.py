"""The engine is away, deaf, unwilling or changes under our hands: what waits, what ends how, and what stays true."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.keys import Keys
from contracts.times import format_ms
from tests.support.processes import Programs
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually, holds
from tests.support.workers import RoomView, Workers, worker_here
from worker.adapters.docker import DockerEngine, Timing
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer
from worker.crashpoints import VARIABLE

#: Quick to notice and quick to come back.
QUICK = Timing(
    connect=0.5, look=0.5, ping=0.3, start=5, idle=0.1, renew=60, backoff_first=0.02, backoff_most=0.2
)


@dataclass
class Stage:
    """A room with services on a simulated engine, reached through the real adapter."""

    server: RedisServer
    engine: SimulatedEngine
    front: SimulatedServer
    view: RoomView
    room: str

    def add(self, name: str, **behaviour: Any) -> str:
        return self.engine.add(name, labels={"pointsman.room": self.room}, **behaviour)

    @contextlib.asynccontextmanager
    async def worker(self, name: str = "here", **settings: Any) -> AsyncIterator[None]:
        engine = DockerEngine(self.front.url, timing=QUICK)
        try:
            async with worker_here(self.server.url, engine, room=self.room, name=name, **settings):
                yield
        finally:
            await engine.close()

    async def expiring(self, action: str, service: str, seconds: float, **fields: object) -> str:
        """Publish a command that expires so soon."""
        now = await self.view.client.time()
        deadline = now[0] * 1000 + now[1] // 1000 + int(seconds * 1000)
        return await self.view.add(action, service, expires_at=format_ms(deadline), **fields)

    async def statuses(self) -> dict[str, str]:
        names = await self.view.client.smembers(self.view.keys.services)
        return {name: (await self.view.snapshot(name))["status"] for name in names}

    async def engine_is(self, word: str, *, within: float = 10.0) -> None:
        async def look() -> bool:
            return await self.view.client.hget(self.view.keys.meta, "engine_status") == word

        await eventually(look, within=within, what=f"the engine is told to be {word}")

    def effects(self, name: str) -> list[str]:
        """Return what happened to a container, but for its first start."""
        return [one.kind for one in self.engine.effects(name)][1:]


@pytest.fixture
async def stage(
    redis_server: RedisServer, simulated: SimulatedEngine, short_directory: Path, room: str
) -> AsyncIterator[Stage]:
    async with (
        SimulatedServer(simulated, socket=short_directory / "docker.sock") as front,
        async_client(redis_server) as client,
    ):
        yield Stage(redis_server, simulated, front, RoomView(client, Keys(room)), room)


@pytest.mark.parametrize("fault", ["outage", "hang"])
async def test_while_the_engine_is_away_what_has_begun_waits_and_the_rest_expires(stage: Stage, fault: str):
    for name in ("begun", "other", "third"):
        stage.add(name, stop_delay=0.3)
    view = stage.view
    async with stage.worker(capacity=1):  # which the begun head takes up
        for name in ("begun", "other", "third"):
            await view.knows(name)
        await stage.engine_is("available")
        begun = await stage.expiring("restart", "begun", 4.0)
        await view.becomes(begun, status="running")
        getattr(stage.front.faults, fault)()
        before = await stage.statuses()
        behind = await stage.expiring("restart", "begun", 1.5)
        waiting = await stage.expiring("stop", "other", 1.5)
        disabled = await view.add("disable", "third")
        receipt = await view.settled(disabled, within=3)
        assert (receipt["code"], receipt["changed"]) == ("200", "1")
        enabled = await view.add("enable", "third")
        assert (await view.settled(enabled, within=3))["code"] == "200"
        for command in (behind, waiting):
            receipt = await view.settled(command, within=4)
            assert (receipt["status"], receipt["code"], receipt.get("attempt")) == ("expired", "410", None)
        await stage.engine_is("unavailable")
        assert (await view.receipt(begun))["status"] == "running"
        receipt = await view.settled(begun, within=6)
        assert (receipt["status"], receipt["code"]) == ("failed", "503")
        assert receipt["error"] == "engine_unavailable"
        assert receipt["finished_at"] >= receipt["expires_at"]
        assert await stage.statuses() == before
        assert stage.effects("other") == []
        stage.front.faults.recover()
        await stage.engine_is("available")
        again = await view.add("restart", "other")
        assert (await view.settled(again))["code"] == "200"
        await view.rests()


async def test_a_begun_head_whose_worker_died_is_ended_at_its_deadline_too(
    stage: Stage, programs: Programs, workers: Workers
):
    stage.add("one")
    view = stage.view
    async with stage.worker("scout"):
        await view.knows("one")
    begun = await stage.expiring("restart", "one", 6.0)
    doomed = workers.start(stage.server.url, stage.front.url, room=stage.room, crash="after-begin:kill")
    await doomed.ends(within=6)
    behind = await stage.expiring("stop", "one", 1.0)
    stage.front.faults.outage()
    async with stage.worker("heir"):
        assert (await view.settled(behind, within=5))["status"] == "expired"
        receipt = await view.settled(begun, within=9)
        assert (receipt["status"], receipt["code"], receipt["worker"]) == ("failed", "503", "heir")
        await view.rests()
    assert stage.effects("one") == []


@pytest.mark.parametrize("late", ["now", "after"])
async def test_a_call_whose_answer_never_came_is_seen_to_have_worked(stage: Stage, late: str):
    stage.add("one")
    async with stage.worker():
        await stage.view.knows("one")
        stage.front.faults.hang("restart", late=late)
        command = await stage.view.add("restart", "one")
        await eventually(lambda: stage.front.requests.get("restart"), what="the engine is asked")
        stage.front.faults.recover()
        receipt = await stage.view.settled(command)
        assert (receipt["code"], receipt["attempt"]) == ("200", "1")
        await stage.view.rests()
    assert stage.effects("one") == ["die", "start"]


async def test_a_call_dropped_by_a_deaf_engine_is_made_again_after_grace_and_margin(stage: Stage):
    stage.add("one")
    async with stage.worker():
        await stage.view.knows("one")
        stage.front.faults.fail_next("restart", 0)  # the connection breaks, and nothing was done
        command = await stage.view.add("restart", "one")
        receipt = await stage.view.settled(command)
        assert (receipt["code"], receipt["attempt"]) == ("200", "1")
        await stage.view.rests()
    assert stage.effects("one") == ["die", "start"]


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize("action", ["restart", "stop"])
async def test_an_engines_refusal_is_told_in_its_own_words(stage: Stage, status: int, action: str):
    stage.add("one")
    async with stage.worker():
        await stage.view.knows("one")
        stage.front.faults.fail_next(action, status, "the kettle is on fire")
        receipt = await stage.view.settled(await stage.view.add(action, "one"))
        assert (receipt["status"], receipt["code"], receipt["error"]) == ("failed", "500", "engine_error")
        assert "the kettle is on fire" in receipt["message"]
        assert stage.effects("one") == []
        stage.front.faults.fail_next(action, status, "done, but complaining", effect=True)
        receipt = await stage.view.settled(await stage.view.add(action, "one"))
        assert receipt["code"] == "200", receipt
        await stage.engine_is("available")
        await stage.view.rests()
    assert stage.effects("one") == (["die", "start"] if action == "restart" else ["die"])


@pytest.mark.parametrize("call", ["list", "inspect"])
async def test_refused_looks_are_taken_again(stage: Stage, call: str):
    stage.add("one", stop_delay=0.3)
    async with stage.worker():
        await stage.view.knows("one")
        stage.front.faults.fail_next(call, 500, times=4)
        command = await stage.view.add("restart", "one")
        await stage.view.becomes(command, status="running")
        stage.front.faults.fail_next(call, 500, times=4)
        receipt = await stage.view.settled(command)
        assert (receipt["code"], receipt["attempt"]) == ("200", "1")
        await stage.view.rests()
    assert stage.effects("one") == ["die", "start"]


@pytest.mark.parametrize("point", ["after-first-look", "after-begin"])
@pytest.mark.parametrize("action", ["restart", "stop"])
async def test_a_container_made_anew_between_look_and_call_is_the_one_acted_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, point: str, action: str
):
    stage.add("one")
    async with stage.worker("scout"):
        await stage.view.knows("one")
    monkeypatch.setenv(VARIABLE, f"{point}:sleep=0.4")
    command = await stage.view.add(action, "one")
    async with stage.worker():
        await eventually(lambda: stage.view.receipt(command), what="it is taken")
        if point == "after-begin":
            await stage.view.becomes(command, status="running")
        else:
            await eventually(lambda: stage.front.requests.get("inspect", 0) > 2, what="it is looked at")
        other = stage.engine.recreate("one")
        receipt = await stage.view.settled(command)
        assert receipt["code"] == "200", receipt
        assert receipt["after_container_id"] == other[:12]
        await stage.view.rests()
    done = [one.kind for one in stage.engine.effects(other)]
    if action == "stop":
        assert done == ["start", "die"]
    else:  # one that was started after the begin is a restart done
        assert done == (["start"] if point == "after-begin" else ["start", "die", "start"])


@pytest.mark.parametrize("action", ["restart", "stop"])
async def test_a_container_gone_between_begin_and_call_is_not_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, action: str
):
    stage.add("one")
    async with stage.worker("scout"):
        await stage.view.knows("one")
    monkeypatch.setenv(VARIABLE, "after-begin:sleep=0.4")
    command = await stage.view.add(action, "one")
    async with stage.worker():
        await stage.view.becomes(command, status="running")
        stage.engine.remove("one")
        receipt = await stage.view.settled(command)
        assert (receipt["status"], receipt["code"]) == ("rejected", "404"), receipt
        await stage.view.rests()


async def test_a_command_for_the_container_that_went_does_not_touch_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    container = stage.add("one")
    async with stage.worker("scout"):
        await stage.view.knows("one")
    monkeypatch.setenv(VARIABLE, "after-begin:sleep=0.4")
    command = await stage.view.add("restart", "one", expect_container_id=container[:12])
    async with stage.worker():
        await stage.view.becomes(command, status="running")
        other = stage.engine.recreate("one")
        receipt = await stage.view.settled(command)
        assert (receipt["code"], receipt["error"]) == ("412", "precondition_failed"), receipt
    assert [one.kind for one in stage.engine.effects(other)] == ["start"]


@pytest.mark.parametrize("fault", ["cut_events", "stall_events", "lose_events"])
async def test_commands_and_statuses_do_without_events(stage: Stage, fault: str):
    stage.add("one")
    async with stage.worker(resync=1.0, self_heal=False):
        await stage.view.knows("one")
        getattr(stage.engine, fault)()
        receipt = await stage.view.settled(await stage.view.add("restart", "one"))
        assert receipt["code"] == "200"
        stage.engine.kill("one")

        async def told() -> bool:
            return (await stage.view.snapshot("one"))["status"] == "stopped"

        await eventually(told, within=10, what="the death is seen")
        stage.engine.recover()


async def test_a_worker_without_its_engine_leaves_the_work_to_one_that_has_it(
    stage: Stage, short_directory: Path
):
    names = [f"s{number}" for number in range(4)]
    for name in names:
        stage.add(name)
    async with SimulatedServer(stage.engine, socket=short_directory / "other.sock") as other:
        able = Stage(stage.server, stage.engine, other, stage.view, stage.room)
        async with stage.worker("cut-off"), able.worker("able"):
            for name in names:
                await stage.view.knows(name)
            await stage.engine_is("available")
            stage.front.faults.outage()
            commands = [await stage.view.add("restart", name) for name in names * 3]
            for command in commands:
                receipt = await stage.view.settled(command)
                assert (receipt["code"], receipt["attempt"]) == ("200", "1"), receipt
            last = (await stage.view.receipt(commands[-1]))["worker"]
            assert last == "able"
            await holds(
                lambda: _still_available(stage), during=3.0, what="the engine is told to be available"
            )
            await stage.view.rests()
        for name in names:
            assert stage.effects(name) == ["die", "start"] * 3


async def _still_available(stage: Stage) -> bool:
    return await stage.view.client.hget(stage.view.keys.meta, "engine_status") == "available"
