"""Rooms on a real engine, each with one container, for workers to die in.

Fixture `trial`: one Redis, one engine, as many rooms as a test asks for.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from contracts.keys import Keys
from tests.support.dockerd import Containers
from tests.support.processes import Program
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers, worker_here
from worker.adapters.docker.engine import DockerEngine
from worker.app import Worker

T = TypeVar("T")
#: Rooms tried at once: more gain nothing on two processors.
AT_ONCE = 6


@dataclass(slots=True)
class Scene:
    """One room with one container. `before` is how many effects there were when the scene was set."""

    trial: "Trial"
    room: str
    view: RoomView
    service: str
    container: str
    before: int = 0

    def doomed(self, crash: str = "", *, name: str = "doomed", **settings: Any) -> Program:
        """Start a worker with a crash point, as a program of its own."""
        trial = self.trial
        return trial.workers.start(
            trial.server.url, trial.docker.url, room=self.room, name=name, crash=crash, **settings
        )

    def worker(self, name: str = "heir", **settings: Any) -> AbstractAsyncContextManager[Worker]:
        """Run a worker in this process."""
        return worker_here(self.trial.server.url, self.trial.engine, room=self.room, name=name, **settings)

    async def set(self, *commands: str) -> None:
        """Let the service become known, and bring it where `commands` bring it."""
        async with self.worker("scout"):
            await self.view.knows(self.service)
            for action in commands:
                await self.view.settled(await self.view.add(action, self.service))
        self.before = len(await self.trial.effects(self.container))

    async def effects(self, container: str = "") -> list[str]:
        """Return what happened to the container since the scene was set; all of another one."""
        done = await self.trial.effects(container or self.container)
        return done if container else done[self.before :]

    async def remake(self, *, running: bool = True, **settings: Any) -> str:
        """Put another container in the place of the scene's, under the same name."""
        docker, name = self.trial.docker, self.service
        await asyncio.to_thread(docker.remove, self.container)
        return await self.trial.make(name, self.room, running=running, **settings)


class Trial:
    """What all rooms share: Redis, the engine, and one way to it for the workers in this process."""

    def __init__(self, server: RedisServer, containers: Containers, workers: Workers) -> None:
        self.server = server
        self.containers = containers
        self.docker = containers.dockerd
        self.workers = workers
        self.client = async_client(server)
        self.engine = DockerEngine(self.docker.url)

    async def close(self) -> None:
        """Release the connections."""
        await self.engine.close()
        await self.client.aclose()

    async def scene(self, **settings: Any) -> Scene:
        """Make a room and its container."""
        room, service = f"c-{uuid.uuid4().hex[:12]}", self.containers.name("m")
        made = await self.make(service, room, **settings)
        return Scene(self, room, RoomView(self.client, Keys(room)), service, made)

    async def make(self, name: str, room: str, **settings: Any) -> str:
        """Make a container of a room and return its id."""
        labels = {"pointsman.room": room} | settings.pop("labels", {})
        return await asyncio.to_thread(
            self.containers.run, name, labels=labels, **{"network": "none", **settings}
        )

    async def effects(self, container_id: str) -> list[str]:
        """Return all that happened to a container: `die` and `start`."""
        return [one.kind for one in await asyncio.to_thread(self.docker.effects, container_id)]


async def try_all(cells: Iterable[T], attempt: Callable[[T], Awaitable[None]]) -> None:
    """Try the cells, several at once, and tell of all that failed."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(cell: T) -> str | None:
        async with gate:
            try:
                await attempt(cell)
            except AssertionError as error:
                return f"{cell}: {error}"
            return None

    failures = [failure for failure in await asyncio.gather(*map(one, cells)) if failure]
    assert not failures, "\n".join(failures)


async def stands_still(program: Program, *, within: float = 20.0) -> None:
    """Wait until a program has been stopped by a SIGSTOP; fail when it ends instead."""

    def stopped() -> bool:
        assert program.running, f"{program.name} ended with {program.code}:\n{program.tail()}"
        status = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii")
        return status.rsplit(")", 1)[1].split()[0] == "T"

    await eventually(stopped, within=within, what=f"{program.name} stands still")


@pytest.fixture
async def trial(redis_server: RedisServer, containers: Containers, workers: Workers) -> AsyncIterator[Trial]:
    """Give rooms on the real engine."""
    made = Trial(redis_server, containers, workers)
    yield made
    await made.close()
