"""Real workers to kill, workers in this process to take over, and an account of what a room is left with.

Fixture `workers`: starts `pointsman worker run` with small times. `RoomView` reads a room past our own code.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from contracts.keys import GROUP, Keys
from tests.support.processes import Program, Programs
from tests.support.waiting import eventually
from worker.adapters.telemetry.log import NullLog
from worker.app import Worker
from worker.crashpoints import VARIABLE
from worker.ports import Engine, Log
from worker.settings import WorkerSettings

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
#: Small times. A call that never went out is repeated after grace and margin, which must be more than a busy
#: engine takes for a restart.
LEASE = 1.0
MARGIN = 2.5
QUICK: Mapping[str, object] = {
    "lease": LEASE,
    "margin": MARGIN,
    "hang": 3.0,
    "beat": 0.5,
    "alive": 2.0,
    "grace": 1,
    "shutdown": 5.0,
    "engine_silence": 2.0,
    "engine_ping": 0.5,
    "redis_timeout": 1.0,
}
SETTLED = {"succeeded", "rejected", "failed", "expired", "canceled", "dead"}
#: A hash as Redis answers it.
Fields = dict[str, str]


class Workers:
    """Start workers as programs of their own."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def start(
        self,
        redis_url: str,
        docker_url: str,
        *,
        room: str = "default",
        name: str = "w1",
        crash: str = "",
        **settings: object,
    ) -> Program:
        """Start a worker; `crash` asks for a crash point, `settings` change the quick ones.

        Settings in capitals go into its environment as they are.
        """
        plain = {key: str(value) for key, value in settings.items() if key.isupper()}
        chosen = dict(QUICK) | {key: value for key, value in settings.items() if not key.isupper()}
        environment = {f"POINTSMAN_{key.upper()}": str(value) for key, value in chosen.items()}
        environment |= {
            "POINTSMAN_REDIS_URL": redis_url,
            "POINTSMAN_ROOM": room,
            "POINTSMAN_WORKER_NAME": name,
            "DOCKER_HOST": docker_url,
            "PYTHONPATH": str(ROOT),
        }
        if crash:
            environment[VARIABLE] = crash
        return self._programs.start("worker", "run", name=f"{room[-12:]}-{name}", env=environment | plain)


@pytest.fixture
def workers(programs: Programs) -> Workers:
    """Give a starter of real workers; all end with the test, and what they said is shown beside a failure."""
    return Workers(programs)


class Diary(NullLog):
    """A log that a test reads: (action, fields) of what was told, oldest first."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Keep it."""
        self.lines.append((action, fields))

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Keep it."""
        self.lines.append((action, fields))

    def told(self, action: str) -> list[dict[str, Any]]:
        """Return the fields of each line of an action."""
        return [fields for one, fields in self.lines if one == action]


@contextlib.asynccontextmanager
async def worker_here(
    redis_url: str,
    engine: Engine,
    *,
    room: str = "default",
    name: str = "here",
    log: Log | None = None,
    **settings: object,
) -> AsyncIterator[Worker]:
    """Run a worker in this process and stop it at the end; a role of it that ended fails the test."""
    chosen: dict[str, Any] = {
        **QUICK,
        "redis_url": redis_url,
        "room": room,
        "POINTSMAN_WORKER_NAME": name,
        **settings,
    }
    worker = Worker(WorkerSettings(**chosen), engine, log or NullLog())
    ready = asyncio.Event()
    run = asyncio.create_task(worker.run(ready=ready.set), name=f"worker-{name}")
    try:
        first = asyncio.create_task(ready.wait())
        await asyncio.wait({first, run}, return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            first.cancel()
            await run
        yield worker
    finally:
        worker.stop()
        await run


class RoomView:
    """What a room's keys say, read with a plain client."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    async def add(self, action: str, service: str, **fields: object) -> str:
        """Publish as redis-cli would, by one XADD; return the entry, the command's id unless it has one."""
        texts: Any = {"action": action, "service": service} | {k: str(v) for k, v in fields.items()}
        entry: str = await self.client.xadd(self.keys.commands, texts)
        return entry

    async def receipt(self, command: str) -> Fields:
        """Return a receipt's hash, empty where there is none."""
        found: Fields = await self.client.hgetall(self.keys.command(command))
        return found

    async def settled(self, command: str, *, within: float = 30.0) -> Fields:
        """Wait for the end of a command and return its receipt."""

        async def look() -> Fields:
            receipt = await self.receipt(command)
            assert receipt.get("status") in SETTLED, receipt
            return receipt

        return await _until(look, within, f"{command} settles")

    async def becomes(self, command: str, *, within: float = 30.0, **wanted: str) -> Fields:
        """Wait until fields of a receipt are as wanted; return it."""

        async def look() -> Fields:
            receipt = await self.receipt(command)
            assert {key: receipt.get(key) for key in wanted} == wanted, receipt
            return receipt

        return await _until(look, within, f"{command} has {wanted}")

    async def snapshot(self, service: str) -> Fields:
        """Return a service's snapshot."""
        found: Fields = await self.client.hgetall(self.keys.service(service))
        return found

    async def knows(self, service: str, *, within: float = 15.0) -> None:
        """Wait until the service has a snapshot."""
        await _until(lambda: self.snapshot(service), within, f"{service} is known")

    async def is_so(self, service: str, *, within: float = 15.0, **fields: str) -> None:
        """Wait until the service's snapshot has these fields."""

        async def has() -> bool:
            snapshot = await self.snapshot(service)
            return all(snapshot.get(name) == value for name, value in fields.items())

        await _until(has, within, f"{service} is {fields}")

    async def events(self) -> list[dict[str, Any]]:
        """Return every event kept, oldest first."""
        kept = await self.client.xrange(self.keys.changes)
        return [json.loads(fields["event"]) for _, fields in kept]

    async def told(self, command: str) -> list[str]:
        """Return the types of the events that one command caused, without the common part."""
        found = []
        for event in await self.events():
            data = event["data"]
            cause = data.get("cause") or {}
            own = event["type"].startswith("pointsman.command.") and event["subject"] == command
            if own or cause.get("command_id") == command:
                found.append(event["type"].removeprefix("pointsman."))
        return found

    async def epoch(self) -> str | None:
        """Return the room's epoch."""
        epoch: str | None = await self.client.hget(self.keys.meta, "epoch")
        return epoch

    async def leftovers(self) -> dict[str, Any]:
        """Return what a room at rest must not have: entries, pending entries, lanes, leases, deadlines."""
        keys, client = self.keys, self.client
        left: dict[str, Any] = {}
        if await client.exists(keys.commands):
            left["entries"] = await client.xlen(keys.commands)
            left["pending"] = (await client.xpending(keys.commands, GROUP))["pending"]
        for name in ("leases", "ready", "expiries", "unread", "scheduled"):
            left[name] = await client.zcard(keys.base + name)
        for pattern in ("lane:*", "lease:*", "joiners:*"):
            glob = keys.base.replace("{", "\\{") + pattern
            left[pattern] = [key async for key in client.scan_iter(match=glob, count=1000)]
        return {name: value for name, value in left.items() if value}

    async def rests(self, *, within: float = 10.0) -> None:
        """Wait until nothing is left to do in the room."""

        async def look() -> bool:
            left = await self.leftovers()
            assert not left, left
            return True

        await _until(look, within, "the room is at rest")


async def _until(look: Callable[[], Awaitable[T]], within: float, what: str) -> T:
    condition: Any = look
    found: T = await eventually(condition, within=within, what=what)
    return found
