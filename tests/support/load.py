"""A room under load in this process: two workers, a simulated engine, a producer that never gives up.

Fixture `make_load`: `async with make_load(server) as load`. What may fail is Redis; the account afterwards is the test.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from contracts.commands import Action, Command
from contracts.errors import RedisUnavailable
from contracts.keys import Keys
from contracts.receipts import Receipt
from publisher import Publisher
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import Diary, RoomView, worker_here
from worker.adapters.simulated import SimulatedEngine
from worker.app import Worker

SERVICES = 8
#: Seconds between two publishes.
PACE = 0.01

MakeLoad = Callable[..., AbstractAsyncContextManager["Load"]]


class Load:
    """Publishes restarts for as long as it runs, each under an id of its own, until Redis has acknowledged it.

    `published` has the services of the acknowledged ids, in their order.
    """

    def __init__(self, server: RedisServer, url: str, engine: SimulatedEngine, room: str) -> None:
        self.server = server
        self.engine = engine
        self.diaries: list[Diary] = []
        self.workers: list[Worker] = []
        self.services = [f"s{number}" for number in range(SERVICES)]
        self.published: dict[str, str] = {}
        self.publisher = Publisher(url, room=room, timeout=1.0)
        self.url = url
        self.keys = Keys(room)
        self._number = 0
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self._ids: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def view(self) -> AsyncIterator[RoomView]:
        """Read the room with a client of one's own, made anew: the server may have been another before."""
        async with async_client(self.server) as client:
            yield RoomView(client, self.keys)

    def add_services(self) -> None:
        """Make the containers."""
        for name in self.services:
            labels = {"pointsman.room": self.keys.room}
            self._ids[name] = self.engine.add(name, labels=labels, stop_delay=0.02)

    def begin(self) -> None:
        """Start to publish."""
        self._task = asyncio.create_task(self._publish(), name="load")

    async def end(self) -> None:
        """Stop publishing."""
        self._over = True
        if self._task is not None:
            await self._task

    async def _publish(self) -> None:
        rng = random.Random()
        while not self._over:
            self._number += 1
            service = rng.choice(self.services)
            command = Command(action=Action.RESTART, service=service, id=f"c{self._number}")
            acknowledged = False
            while not (self._over or acknowledged):
                acknowledged = await self._send(command)
                await asyncio.sleep(PACE)

    async def _send(self, command: Command) -> bool:
        (result,) = await self.publisher.send_many([command])
        if isinstance(result, Receipt):
            self.published[result.id] = command.service
            return True
        assert isinstance(result, RedisUnavailable), repr(result)
        return False

    async def goes_on(self, more: int = 40, *, within: float = 20.0) -> None:
        """Wait until so many more commands, published from now on, have settled."""
        first = self._number + 1

        async def look() -> bool:
            if self._task is not None and self._task.done():
                self._task.result()
            settled = 0
            async with self.view() as view:
                for number in range(first, self._number + 1):
                    settled += (await view.receipt(f"c{number}")).get("status") == "succeeded"
            assert settled >= more, f"{settled} of {more} more settled; {self._number} published"
            return True

        await eventually(look, within=within, what="the work goes on")

    def starts(self) -> Counter[str]:
        """Return how often the engine started each service since the load began."""
        names = {container: name for name, container in self._ids.items()}
        counted = Counter(names[one.container_id] for one in self.engine.journal if one.kind == "start")
        return counted - Counter(self.services)

    async def account(self) -> Counter[str]:
        """End the load; return how many restarts of each service succeeded.

        Everything acknowledged must have settled as succeeded, and nothing be left to do.
        """
        await self.end()
        done: Counter[str] = Counter()
        async with self.view() as view:
            await view.rests(within=30)
            for command, service in self.published.items():
                receipt = await view.receipt(command)
                assert (receipt.get("status"), receipt.get("code")) == ("succeeded", "200"), (
                    command,
                    receipt,
                )
                done[service] += 1
        return done

    async def receipts(self) -> dict[str, dict[str, str]]:
        """End the load and let the room come to rest; return the receipts of what was acknowledged."""
        await self.end()
        async with self.view() as view:
            await view.rests(within=30)
            return {command: await view.receipt(command) for command in self.published}

    def told(self, action: str) -> list[dict[str, Any]]:
        """Return what the workers logged under an action."""
        return [fields for diary in self.diaries for fields in diary.told(action)]


@contextlib.asynccontextmanager
async def _loaded(
    server: RedisServer, engine: SimulatedEngine, room: str, *, url: str = "", **settings: object
) -> AsyncIterator[Load]:
    load = Load(server, url or server.url, engine, room)
    load.add_services()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(load.publisher.aclose)
        for name in ("a", "b"):
            diary = Diary()
            load.diaries.append(diary)
            here = worker_here(load.url, engine.client(), room=room, name=name, log=diary, **settings)
            load.workers.append(await stack.enter_async_context(here))
        stack.push_async_callback(load.end)
        load.begin()
        await load.goes_on()
        yield load


@pytest.fixture
def make_load(simulated: SimulatedEngine, room: str) -> MakeLoad:
    """Give a maker of rooms under load; `url` where the server is reached over a wire."""

    def make(server: RedisServer, **settings: Any) -> AbstractAsyncContextManager[Load]:
        return _loaded(server, simulated, room, **settings)

    return make
