"""A room written by hand, as the contract says that workers write it: for readers who need no engine.

Thousands of services and exact revisions, without a worker that could change them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from contracts.codec import encode_snapshot, event_to_json
from contracts.events import Cause, CauseKind, Event, EventType, ServiceData, event_of
from contracts.keys import EVENT_FIELD, Keys
from contracts.services import Category, ServiceStatus, Snapshot
from contracts.times import format_ms
from tests.support.redis import RedisServer

EPOCH = "1767225600000-9f86d081"
CATEGORIES = tuple(category.value for category in Category)


class RoomBook:
    """The keys of one room; every method leaves them as a worker's script would."""

    def __init__(self, redis: RedisServer, room: str, prefix: str = "pointsman") -> None:
        self.keys = Keys(room, prefix)
        self.revision = 0
        self.snapshots: dict[str, Snapshot] = {}
        self._redis = redis.admin

    def open(self) -> None:
        """Begin the room's epoch, with an engine that answers."""
        facts: Any = {"contract": "1", "epoch": EPOCH, "revision": "0", "engine_status": "available"}
        self._redis.hset(self.keys.meta, mapping=facts)
        self._redis.sadd(self.keys.rooms, self.keys.room)

    def beat(self, name: str = "w1") -> None:
        """Let a worker be alive from now on for ten seconds."""
        seconds, micros = self._redis.time()
        self._redis.zadd(self.keys.workers, {name: seconds * 1000 + micros // 1000})
        self._redis.hset(self.keys.worker(name), mapping={"host": "nowhere", "pid": "1"})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Let a worker be alive for as long as this lasts."""

        async def beating() -> None:
            while True:
                self.beat()
                await asyncio.sleep(1)

        task = asyncio.create_task(beating(), name="beats by hand")
        try:
            self.beat()
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def fill(self, count: int) -> None:
        """Write `count` services in one go."""
        self.put(*(service(number) for number in range(count)))

    def put(self, *snapshots: Snapshot) -> None:
        """Write snapshots without events, as if they had been read long ago."""
        pipe = self._redis.pipeline(transaction=False)
        for snapshot in snapshots:
            self.snapshots[snapshot.name] = snapshot
            pipe.hset(self.keys.service(snapshot.name), mapping=_hash(snapshot))
            pipe.sadd(self.keys.services, snapshot.name)
        pipe.execute()

    def change(self, name: str, **fields: Any) -> Event:
        """Change a service: hash, revision, log and channel in one transaction."""
        (event,) = self.change_many([(name, fields)])
        return event

    def change_many(self, changes: Iterable[tuple[str, dict[str, Any]]]) -> list[Event]:
        """Change services one after the other, in one transaction."""
        events = []
        pipe = self._redis.pipeline(transaction=True)
        for name, fields in changes:
            self.revision += 1
            before = self.snapshots[name]
            snapshot = replace(before, **fields, revision=self.revision)
            self.snapshots[name] = snapshot
            event = event_of(
                EventType.SERVICE_CHANGED,
                ServiceData(
                    service=snapshot,
                    changed=tuple(fields),
                    previous_status=before.status,
                    cause=Cause(kind=CauseKind.OBSERVATION),
                ),
                room=self.keys.room,
                epoch=EPOCH,
                revision=self.revision,
                time=format_ms((1_767_225_600 + self.revision) * 1000),
                subject=name,
            )
            text = event_to_json(event)
            pipe.hset(self.keys.service(name), mapping=_hash(snapshot))
            pipe.hset(self.keys.meta, "revision", self.revision)
            pipe.xadd(self.keys.changes, {EVENT_FIELD: text}, id=f"{self.revision}-0")
            pipe.publish(self.keys.events, text)
            events.append(event)
        pipe.execute()
        return events


def _hash(snapshot: Snapshot) -> Any:
    return encode_snapshot(snapshot)


def service(number: int, **fields: Any) -> Snapshot:
    """Return the snapshot of a service with a number."""
    given: dict[str, Any] = {
        "name": f"service-{number:05d}",
        "status": ServiceStatus.RUNNING,
        "display_name": f"Service {number}",
        "category": CATEGORIES[number % len(CATEGORIES)],
        "container_id": f"{number:012x}",
        "image": "ghcr.io/org/service:latest",
        "port": 8000 + number % 1000,
        "container_state": "running",
        "health": "healthy",
        "started_at": "2026-01-01T00:00:00.123456789Z",
        "observed_at": "2026-01-01T00:00:01.000Z",
    }
    return Snapshot(**(given | fields))
