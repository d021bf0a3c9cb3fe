"""A room on the real engine whose services are to be healed: its workers, its containers, and what was told of them.

Fixture `ward`: a room with a way to the engine that can be taken away. `make_ward` makes more of them.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from contracts.keys import Keys
from tests.support.dockerd import Containers
from tests.support.engine import Proxy
from tests.support.processes import Program
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import LEASE, Fields, RoomView, Workers

#: Delays that a test can wait for.
QUICK = {"backoff-base": "0.3", "backoff-max": "1.2", "grace": "2"}


class Ward:
    """One room. `view` reads it; `proxy` is the workers' way to the engine, which can be taken away.

    `observer_dies`: whoever observes is killed at the `midway` of a story.
    """

    def __init__(
        self, server: RedisServer, containers: Containers, workers: Workers, directory: Path
    ) -> None:
        self.server = server
        self.docker = containers.dockerd
        self.proxy = Proxy(self.docker.url, directory / "proxy.sock")
        self.programs: dict[str, Program] = {}
        self.observer_dies = False
        self.client = async_client(server)
        self.room = f"h-{uuid.uuid4().hex[:12]}"
        self.view = RoomView(self.client, Keys(self.room))
        self._containers = containers
        self._workers = workers

    # Workers

    async def staff(self, count: int, *, direct: bool = False, **settings: Any) -> None:
        """Start so many workers and wait until all are there and one observes.

        With `direct` they reach the engine past the proxy.
        """
        await self.proxy.restore()
        for _ in range(count):
            name = f"w{len(self.programs) + 1}"
            url = self.docker.url if direct else self.proxy.url
            self.programs[name] = self._workers.start(
                self.server.url, url, room=self.room, name=name, **settings
            )

        async def there() -> bool:
            alive = await self.client.zrange(self.view.keys.workers, 0, -1)
            running = {name for name, program in self.programs.items() if program.running}
            return running <= set(alive) and await self.observer() in running

        await eventually(there, within=20, what="the workers are there and one observes")

    async def observer(self) -> str | None:
        """Return the name of the worker that observes."""
        instance = await self.client.hget(self.view.keys.observer, "instance")
        for name in self.programs:
            if await self.client.hget(self.view.keys.worker(name), "instance") == instance:
                return name
        return None

    async def kill_observer(self) -> str:
        """Let the worker that observes die at once; return its name."""
        name = await eventually(self.observer, within=3 * LEASE, what="somebody observes")
        assert name is not None
        self.programs[name].kill()
        return name

    async def midway(self) -> None:
        """Between a cause and what comes of it: let the observer die, if that is the story."""
        if self.observer_dies:
            await self.kill_observer()

    @property
    def soon(self) -> float:
        """Return within how many seconds a change is followed: one, and a takeover where the observer dies."""
        return 1.0 + (LEASE + 1.0 if self.observer_dies else 0.0)

    # Containers

    async def make(self, base: str, *, known: bool = True, **settings: Any) -> str:
        """Make a container of this room, wait until it is known, and return its name, which is its service's."""
        name = f"{base}-{uuid.uuid4().hex[:6]}"
        await self.remake(name, **settings)
        if known:
            # It may be seen before it is started; only what lasts is waited for.
            lasts = settings.get("running", True) and "exits" not in settings
            await (self.becomes(name, container_state="running") if lasts else self.view.knows(name))
        return name

    async def remake(self, name: str, **settings: Any) -> str:
        """Make a container of this name; return its id."""
        wanted = {f"pointsman.{key}": text for key, text in (QUICK | settings.pop("labels", {})).items()}
        labels = {"pointsman.room": self.room, **wanted}
        return await asyncio.to_thread(
            self._containers.run, name, labels=labels, **{"network": "none", **settings}
        )

    async def effects(self, key: str) -> list[str]:
        """Return all that happened to a container: `die` and `start`."""
        return [one.kind for one in await asyncio.to_thread(self.docker.effects, key)]

    # What was told

    async def becomes(self, service: str, *, within: float = 20.0, **wanted: str | None) -> Fields:
        """Wait until the snapshot's fields are as wanted; return it."""

        async def look() -> Fields | None:
            one = await self.view.snapshot(service)
            assert {key: one.get(key) for key in wanted} == wanted, one
            return one

        found = await eventually(look, within=within, what=f"{service} has {wanted}")
        assert found is not None
        return found

    async def told(self, service: str, after: int = 0) -> list[dict[str, Any]]:
        """Return the events about a service and its commands above revision `after`."""
        return [
            one for one in await self.view.events() if _about(one, service) and int(one["revision"]) > after
        ]

    async def engine_is(self, word: str, *, within: float = 20.0) -> None:
        """Wait until the room says so of its engine."""

        async def look() -> bool:
            return bool(await self.client.hget(self.view.keys.meta, "engine_status") == word)

        await eventually(look, within=within, what=f"the engine is {word}")

    async def revision(self) -> int:
        """Return the room's revision."""
        return int(await self.client.hget(self.view.keys.meta, "revision") or 0)

    async def heals(self, service: str) -> list[dict[str, Any]]:
        """Return the receipts of the service's settled heals, in order."""
        return [
            one["data"]["command"]
            for one in await self.told(service)
            if one["type"] == "pointsman.command.settled" and one["data"]["command"]["issuer"] == "self-heal"
        ]

    async def close(self) -> None:
        """Release the connections."""
        await self.proxy.close()
        await self.client.aclose()


def _about(event: dict[str, Any], service: str) -> bool:
    data = event["data"]
    if "command" in data:
        return bool(data["command"]["service"] == service)
    return bool(event["subject"] == service)


def brief(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return events as words: type, and for a change the status and the failures, for a command its state."""
    words = []
    for event in events:
        kind, data = event["type"].removeprefix("pointsman."), event["data"]
        if "service" in data:
            words.append(f"{kind} {data['service']['status']} {data['service']['failure_count']}")
        else:
            words.append(f"{kind} {data['command']['action']} {data['command']['status']}")
    return words


MakeWard = Callable[..., Ward]


@pytest.fixture
async def make_ward(
    redis_server: RedisServer, containers: Containers, workers: Workers, short_directory: Path
) -> AsyncIterator[MakeWard]:
    """Give a maker of rooms whose services are to be healed; on another engine with that one's `Containers`."""
    made: list[Ward] = []

    def make(on: Containers | None = None) -> Ward:
        directory = short_directory / f"w{len(made)}"
        directory.mkdir()
        made.append(Ward(redis_server, on or containers, workers, directory))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def ward(make_ward: MakeWard) -> Ward:
    """Give a room whose services are to be healed."""
    return make_ward()
