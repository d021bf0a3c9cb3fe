"""A worker asked to stop finishes or hands back and leaves nothing behind; a backlog does not swell it."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import StreamFull
from contracts.keys import Keys
from publisher import Publisher
from tests.support.processes import Program
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer

#: A lease so long that nothing seen here can be its lapse.
LONG: dict[str, Any] = {"lease": 30, "margin": 40, "alive": 30}
#: Python tells of every task, coroutine and connection that is not seen to its end.
STRICT = {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}
COMPLAINTS = ("never awaited", "never retrieved", "was destroyed but", "Unclosed", "unclosed", "Traceback")
BACKLOG = 100_000
MOST_MEMORY_MIB = 100


@dataclass
class Stage:
    """A room on a simulated engine, for real workers."""

    server: RedisServer
    engine: SimulatedEngine
    front: SimulatedServer
    workers: Workers
    view: RoomView
    room: str

    async def worker(self, name: str, **settings: Any) -> Program:
        chosen = LONG | STRICT | settings
        started = self.workers.start(self.server.url, self.front.url, room=self.room, name=name, **chosen)
        await started.says("serves the room", within=20)
        return started

    async def add(self, name: str, **behaviour: Any) -> None:
        self.engine.add(name, labels={"pointsman.room": self.room}, **behaviour)

    def effects(self, name: str) -> list[str]:
        return [one.kind for one in self.engine.effects(name)][1:]


@pytest.fixture
async def stage(
    redis_server: RedisServer,
    simulated: SimulatedEngine,
    short_directory: Path,
    workers: Workers,
    room: str,
) -> AsyncIterator[Stage]:
    async with (
        SimulatedServer(simulated, socket=short_directory / "docker.sock") as front,
        async_client(redis_server) as client,
    ):
        yield Stage(redis_server, simulated, front, workers, RoomView(client, Keys(room)), room)


async def _ends_quietly(worker: Program, *, within: float) -> None:
    ended = await worker.ends(within=within)
    assert ended.code == 0, ended.stderr
    found = [line for line in ended.stderr.splitlines() if any(word in line for word in COMPLAINTS)]
    assert found == []


async def test_an_idle_worker_leaves_at_once_and_says_goodbye(stage: Stage):
    await stage.add("one")
    worker = await stage.worker("w")
    await stage.view.knows("one")
    worker.terminate()
    await _ends_quietly(worker, within=5)
    assert await stage.view.client.zscore(stage.view.keys.workers, "w") is None
    groups = await stage.view.client.xinfo_groups(stage.view.keys.commands)
    assert groups[0]["consumers"] == 0


async def test_what_ends_within_the_grace_is_finished_and_what_waits_goes_to_another(stage: Stage):
    await stage.add("slow", stop_delay=4.0)  # longer than a worker takes to come up
    await stage.add("next")
    first = await stage.worker("first", capacity=1, shutdown=10)
    for name in ("slow", "next"):
        await stage.view.knows(name)
    running = await stage.view.add("restart", "slow")
    await stage.view.becomes(running, status="running", worker="first")
    second = await stage.worker("second")
    second.freeze()
    waiting = await stage.view.add("restart", "next")
    first.terminate()
    await first.says("Stopping")
    second.thaw()
    receipt = await stage.view.settled(running)
    assert (receipt["code"], receipt["worker"], receipt["attempt"]) == ("200", "first", "1")
    receipt = await stage.view.settled(waiting, within=10)
    assert (receipt["code"], receipt["worker"], receipt["attempt"]) == ("200", "second", "1")
    await _ends_quietly(first, within=10)
    second.terminate()
    await _ends_quietly(second, within=10)
    assert stage.effects("slow") == stage.effects("next") == ["die", "start"]
    assert await stage.view.leftovers() == {}


async def test_what_outlasts_the_grace_is_handed_back_and_taken_at_once(
    stage: Stage, request: pytest.FixtureRequest
):
    await stage.add("slow", stop_delay=6.0)
    first = await stage.worker("first", shutdown=1)
    await stage.view.knows("slow")
    command = await stage.view.add("restart", "slow", timeout=8)
    await stage.view.becomes(command, status="running", worker="first")
    second = await stage.worker("second", capacity=1)
    asked = time.monotonic()
    first.terminate()
    await stage.view.becomes(command, worker="second", within=5)
    taken = time.monotonic() - asked
    request.node.user_properties.append(("handed_back_and_taken_seconds", round(taken, 2)))
    await _ends_quietly(first, within=5)
    receipt = await stage.view.settled(command)
    assert (receipt["code"], receipt.get("recovered")) == ("200", "1")
    assert taken < 3, f"handed back and taken after {taken:.2f} s, with a lease of {LONG['lease']} s"
    assert stage.effects("slow") == ["die", "start"]
    second.terminate()
    await _ends_quietly(second, within=10)
    assert await stage.view.leftovers() == {}


async def test_a_worker_that_was_frozen_in_its_sleep_delays_nothing(stage: Stage):
    names = [f"s{number}" for number in range(6)]
    for name in names:
        await stage.add(name)
    short = {"lease": 2, "margin": 3, "beat": 0.2, "alive": 5}
    frozen = await stage.worker("frozen", **short)
    await stage.view.knows(names[-1])
    frozen.freeze()
    late = time.monotonic()
    other = await stage.worker("other", **short)
    # The take that it waits in brings it nothing once it has missed some beats; so nothing is delayed at all.
    await eventually(lambda: time.monotonic() > late + 0.2 * 4, what="it has missed some beats")
    asked = time.monotonic()
    receipts = [await stage.view.settled(await stage.view.add("restart", name)) for name in names[:3]]
    assert [one["worker"] for one in receipts] == ["other"] * 3
    assert time.monotonic() - asked < 1.5
    frozen.thaw()
    receipts = [await stage.view.settled(await stage.view.add("restart", name)) for name in names[3:]]
    assert [one["code"] for one in receipts] == ["200"] * 3
    for worker in (frozen, other):
        worker.terminate()
        await _ends_quietly(worker, within=10)
    assert [stage.effects(name) for name in names] == [["die", "start"]] * 6
    assert await stage.view.leftovers() == {}


async def test_a_worker_frozen_a_moment_ago_may_hold_a_command_for_its_lease(stage: Stage):
    await stage.add("one")
    short = {"lease": 2, "margin": 3, "beat": 1, "alive": 5}
    frozen = await stage.worker("frozen", **short)
    await stage.view.knows("one")
    frozen.freeze()
    other = await stage.worker("other", **short)
    asked = time.monotonic()
    receipt = await stage.view.settled(await stage.view.add("restart", "one"), within=10)
    assert (receipt["worker"], receipt["attempt"]) == ("other", "1")
    assert time.monotonic() - asked < 2 + 2  # lease and two seconds
    frozen.thaw()
    for worker in (frozen, other):
        worker.terminate()
        await _ends_quietly(worker, within=10)
    assert stage.effects("one") == ["die", "start"]
    assert await stage.view.leftovers() == {}


async def test_a_second_signal_ends_it_at_once(stage: Stage):
    await stage.add("slow", stop_delay=20.0)
    worker = await stage.worker("w", shutdown=30)
    await stage.view.knows("slow")
    command = await stage.view.add("restart", "slow", timeout=30)
    await stage.view.becomes(command, status="running")
    worker.terminate()
    await worker.says("Stopping")
    worker.terminate()
    await _ends_quietly(worker, within=3)


async def test_a_backlog_swells_no_worker_and_none_holds_more_than_it_can_run(
    stage: Stage, request: pytest.FixtureRequest
):
    names = [f"s{number}" for number in range(20)]
    for name in names:
        await stage.add(name)
    plain = {"PYTHONDEVMODE": "", "PYTHONASYNCIODEBUG": ""}
    worker = await stage.worker("w", capacity=4, **plain)
    for name in names:
        await stage.view.knows(name)
    worker.freeze()
    client, keys = stage.view.client, stage.view.keys
    for start in range(0, BACKLOG, 2000):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(start, start + 2000):
                pipe.xadd(keys.commands, {"action": "restart", "service": names[number % len(names)]})
            await pipe.execute()
    assert await client.xlen(keys.commands) == BACKLOG
    worker.thaw()
    most_held = 0

    async def all_read() -> bool:
        nonlocal most_held
        most_held = max(most_held, await client.zcard(keys.leases))
        assert worker.running, worker.tail()
        lanes = [await client.zcard(keys.lane(name)) for name in names]
        return sum(lanes) + (BACKLOG - await client.xlen(keys.commands)) >= BACKLOG

    await eventually(all_read, within=90, what="the whole backlog is read into lanes")
    peak = _peak_mib(worker)
    request.node.user_properties.append(("peak_mib", round(peak, 1)))
    assert peak < MOST_MEMORY_MIB, f"{peak:.0f} MiB"
    assert 0 < most_held <= 4
    assert await client.xlen(keys.commands) > 0, "there is to be work left while it is measured"


def _peak_mib(worker: Program) -> float:
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def test_a_publisher_with_a_limit_is_told_that_the_stream_is_full(stage: Stage):
    async with Publisher(stage.server.url, room=stage.room, stream_limit=5) as publisher:
        for number in range(5):
            await publisher.restart("one", id=f"c{number}")
        with pytest.raises(StreamFull, match="limit 5"):
            await publisher.restart("one", id="c5")
        assert (await publisher.restart("one", id="c0")).id == "c0"  # known already: nothing is added
    assert await stage.view.client.xlen(stage.view.keys.commands) == 5
    assert await stage.view.receipt("c5") == {}
