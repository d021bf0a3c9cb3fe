"""Workers come and go, die and freeze; per service the engine does what the stream says, in its order."""

import asyncio
import itertools
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contracts.keys import Keys
from tests.support.processes import Program
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import LEASE, RoomView, Workers
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer

SERVICES = 50
WORKERS = 4
#: More for a longer run.
COMMANDS = int(os.environ.get("POINTSMAN_TEST_ORDER", "2000"))
SEED = int(os.environ.get("POINTSMAN_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
#: Commands published each second, and seconds between one misfortune and the next.
RATE = 100
MISFORTUNE = 1.5
ACTIONS = ("restart",) * 5 + ("start",) * 2 + ("stop",) * 3 + ("enable",) * 2 + ("disable",)


@dataclass
class Told:
    """One action that the engine was told to do, and how: recorded by the engine."""

    action: str
    grace: int | None
    began: float
    ended: float | None = None


class RecordingEngine:
    """The server's way to the engine, written down as it is gone."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.told: dict[str, list[Told]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def start(self, container_id: str) -> None:
        await self._write_down(container_id, Told("start", None, time.monotonic()), self._client.start)

    async def stop(self, container_id: str, grace: int, bound: float) -> None:
        told = Told("stop", grace, time.monotonic())
        await self._write_down(container_id, told, self._client.stop, grace, bound)

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        told = Told("restart", grace, time.monotonic())
        await self._write_down(container_id, told, self._client.restart, grace, bound)

    async def _write_down(self, container_id: str, told: Told, call: Any, *rest: Any) -> None:
        self.told[container_id].append(told)
        await call(container_id, *rest)
        told.ended = time.monotonic()


@dataclass
class Model:
    """What a service is by the contract after each command, in the stream's order."""

    running: bool = True
    wanted: bool = True
    enabled: bool = True
    told: list[tuple[str, int | None]] = field(default_factory=list)

    def meet(self, action: str, grace: int) -> str:
        """Let a command happen; return the code that its receipt is to have."""
        match action:
            case "enable":
                self.enabled = self.wanted = True
            case "disable":
                self.enabled = False
            case "start" if self.running and self.wanted:
                return "400"
            case "stop" if not self.running and not self.wanted:
                return "400"
            case "start" | "restart" if not self.enabled:
                return "400"
            case "stop":
                if self.running:
                    self.told.append(("stop", grace))
                self.running = self.wanted = False
            case _:
                self.told.append((action, grace if action == "restart" else None))
                self.running = self.wanted = True
        return "200"


class Crew:
    """Four workers, until something befalls them; whoever is lost is replaced."""

    def __init__(self, workers: Workers, redis_url: str, docker_url: str, room: str, rng: random.Random):
        self._start = lambda name: workers.start(
            redis_url, docker_url, room=room, name=name, self_heal=0, capacity=8
        )
        self._rng = rng
        self.alive: dict[str, Program] = {}
        self.started = 0
        self.befallen: dict[str, int] = defaultdict(int)

    def fill(self) -> None:
        while len(self.alive) < WORKERS:
            self.started += 1
            name = f"w{self.started}"
            self.alive[name] = self._start(name)

    async def suffer(self) -> None:
        """Let one worker be killed, stopped or frozen; a frozen one wakes up past its lease."""
        name = self._rng.choice(sorted(self.alive))
        one = self.alive[name]
        fate = self._rng.choice(["kill", "kill", "stop", "freeze"])
        if "serves the room" not in one.stderr:
            fate = "kill"  # too young to hear a signal
        self.befallen[fate] += 1
        match fate:
            case "kill":
                self.alive.pop(name).kill()
            case "stop":
                del self.alive[name]
                ended = await one.stop(within=20)
                assert ended.code == 0, ended.stderr
            case _:
                one.freeze()
                asleep = time.monotonic()
                await eventually(lambda: time.monotonic() > asleep + LEASE * 1.5, what="the lease lapses")
                one.thaw()
        self.fill()


@pytest.fixture
async def recorded(
    simulated: SimulatedEngine, short_directory: Path
) -> AsyncIterator[tuple[SimulatedServer, RecordingEngine]]:
    server = SimulatedServer(simulated, socket=short_directory / "docker.sock")
    recording = RecordingEngine(server._client)
    server._client = recording  # type: ignore[assignment]
    async with server:
        yield server, recording


@pytest.mark.timeout(300)
async def test_each_service_lives_through_its_commands_in_the_streams_order(
    redis_server: RedisServer,
    workers: Workers,
    simulated: SimulatedEngine,
    recorded: tuple[SimulatedServer, RecordingEngine],
    room: str,
):
    server, recording = recorded
    rng = random.Random(SEED)
    names = [f"s{number:02d}" for number in range(SERVICES)]
    ids = {
        name: simulated.add(
            name, labels={"pointsman.room": room}, stop_delay=rng.uniform(0, 0.05), start_delay=0.01
        )
        for name in names
    }
    async with async_client(redis_server) as client:
        view = RoomView(client, Keys(room))
        crew = Crew(workers, redis_server.url, server.url, room, rng)
        crew.fill()
        await eventually(lambda: _all_known(view), within=30, what="all services are known")

        published: list[tuple[str, str, str, int]] = []
        began = time.monotonic()

        async def publish() -> None:
            while len(published) < COMMANDS:
                await eventually(
                    lambda: len(published) < (time.monotonic() - began) * RATE, what="the next is due"
                )
                few = names[: SERVICES // 5] if rng.random() < 0.5 else names  # some lanes are to be long
                action, service, grace = rng.choice(ACTIONS), rng.choice(few), rng.randrange(2)
                published.append((await view.add(action, service, timeout=grace), action, service, grace))

        publishing = asyncio.create_task(publish())
        while not publishing.done():
            due = time.monotonic() + MISFORTUNE
            await eventually(
                lambda due=due: publishing.done() or time.monotonic() > due, what="the next misfortune"
            )
            await crew.suffer()
        await publishing
        # Whether those deaths came in the middle of a command is luck; this one does.
        last = names[0]
        simulated.container(ids[last]).behaviour.stop_delay = 1.0
        for action, grace in (("enable", 0), ("start", 0), ("restart", 2)):
            published.append((await view.add(action, last, timeout=grace), action, last, grace))
        receipt = await view.becomes(published[-1][0], within=60, status="running")
        crew.alive.pop(receipt["worker"]).kill()
        crew.fill()
        await view.rests(within=60)

        models = {name: Model() for name in names}
        codes: dict[str, int] = defaultdict(int)
        takers: dict[str, int] = defaultdict(int)
        recovered = 0
        for entry, action, service, grace in published:
            receipt = await view.receipt(entry)
            wanted = models[service].meet(action, grace)
            assert receipt.get("code") == wanted, f"seed {SEED}: {receipt}"
            codes[wanted] += 1
            takers[receipt.get("worker", "")] += 1
            recovered += receipt.get("recovered") == "1"
        for name in names:
            done = recording.told[ids[name]]
            assert [(one.action, one.grace) for one in done] == models[name].told, f"seed {SEED}: {name}"
            for before, after in itertools.pairwise(done):
                assert (before.ended or after.began + 1) <= after.began, f"seed {SEED}: {name}"
        assert simulated.overlaps == []
        # How much befalls the workers depends on how soon they are done.
        assert crew.befallen["kill"] >= 1, crew.befallen
        assert sum(crew.befallen.values()) >= 5, crew.befallen
        assert recovered > 0
        assert len(takers) > WORKERS, takers


async def _all_known(view: RoomView) -> bool:
    return int(await view.client.scard(view.keys.services)) == SERVICES
