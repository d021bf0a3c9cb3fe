"""A room on a simulated engine, its workers in this process: to see what is observed and healed, and how soon.

Fixture `clinic`.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from contracts.keys import Keys
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import Fields, RoomView, worker_here
from worker.adapters.simulated import SimulatedEngine
from worker.app import Worker
from worker.ports import Engine

#: Delays that a test can wait for.
BASE = {"pointsman.backoff-base": "0.1", "pointsman.backoff-max": "0.4", "pointsman.grace": "0.5"}


class Clinic:
    """A room, its engine, and workers in this process."""

    def __init__(self, server: RedisServer, engine: SimulatedEngine, client: Any) -> None:
        self.server = server
        self.engine = engine
        self.view = RoomView(client, Keys())

    def worker(
        self, name: str = "w1", engine: Engine | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Worker]:
        return worker_here(self.server.url, engine or self.engine, name=name, **settings)

    def add(self, name: str, **settings: Any) -> str:
        labels = BASE | settings.pop("labels", {})
        return self.engine.add(name, labels=labels, **settings)

    async def becomes(self, service: str, *, within: float = 10.0, **wanted: str | None) -> Fields:
        async def look() -> Fields | None:
            one = await self.view.snapshot(service)
            assert {key: one.get(key) for key in wanted} == wanted, one
            return one

        found = await eventually(look, within=within, what=f"{service} has {wanted}")
        assert found is not None
        return found

    async def told(self, service: str, after: int = 0) -> list[dict[str, Any]]:
        events = await self.view.events()
        return [one for one in events if one["subject"] == service and int(one["revision"]) > after]

    async def revision(self) -> int:
        return int(await self.view.client.hget(self.view.keys.meta, "revision") or 0)

    async def is_at(self, revision: int) -> bool:
        return await self.revision() == revision

    async def observer(self, *workers: Worker) -> Worker | None:
        instance = await self.view.client.hget(self.view.keys.observer, "instance")
        return next((one for one in workers if one.room.instance == instance), None)

    async def at_rest(self) -> None:
        """Wait until every snapshot is published in the present epoch and the engine is told of."""

        async def look() -> bool:
            epoch, done = (
                await self.view.epoch(),
                await self.view.client.hget(self.view.keys.observer, "restored"),
            )
            told = await self.view.client.hget(self.view.keys.meta, "engine_status")
            return epoch is not None and epoch == done and told is not None

        await eventually(look, within=10, what="all is published anew")


@pytest.fixture
async def clinic(redis_server: RedisServer, simulated: SimulatedEngine) -> AsyncIterator[Clinic]:
    """Give a room on a simulated engine."""
    async with async_client(redis_server) as client:
        yield Clinic(redis_server, simulated, client)
