"""What the acts play on: the room, its containers, two workers, a reader of every event, and the claims."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from contracts.events import EventType, ServiceData
from contracts.receipts import Receipt
from contracts.services import Snapshot
from pointsman.demo.containers import Containers, Wanted
from pointsman.demo.processes import Child
from pointsman.demo.screen import Screen
from pointsman.pair import Pair
from subscriber import Change, Reset

WORKERS = ("worker-1", "worker-2")
#: Times in seconds, a tenth of what production has, so that a crash is over while one watches.
TIMES = {
    "LEASE": "1.5",
    "MARGIN": "5",
    "HANG": "10",
    "BEAT": "0.3",
    "ALIVE": "2",
    "HEARTBEAT": "1",
    "ENGINE_PING": "2",
    "SHUTDOWN": "5",
    "RESYNC": "10",
}
SETTLE_SECONDS = 20.0
JOIN_SECONDS = 15.0
#: How long the engine's own account may lag behind a receipt.
LAG_SECONDS = 3.0


class Claim(Struct, frozen=True, kw_only=True):
    """Something that the demo says, whether it was so, and what was counted."""

    claim: str
    ok: bool
    found: str


@dataclass(slots=True)
class Stage:
    """Everything that the acts need."""

    url: str
    client: Pair
    containers: Containers
    screen: Screen
    directory: Path
    pace: float
    workers: dict[str, Child] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    events: int = 0
    gaps: list[str] = field(default_factory=list)
    revision: int = 0
    _services: dict[str, Snapshot] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Read every event of the room, show it, keep the services up to date, count the gaps; for ever."""
        async for item in self.client.subscriber.watch():
            match item:
                case Reset():
                    if self.events:
                        self.gaps.append(f"begun anew after revision {self.revision}: {item.reason}")
                    self.revision = item.revision
                    self._services = {snapshot.name: snapshot for snapshot in item.snapshots}
                case Change(event=event):
                    if event.number != self.revision + 1:
                        self.gaps.append(f"revision {event.number} after {self.revision}")
                    self.revision = event.number
                    self.events += 1
                    if isinstance(event.data, ServiceData):
                        self._keep(event.type, event.data.service)
                    self.screen.event(event)
            self.screen.services = dict(sorted(self._services.items()))
            self._changed.set()

    def _keep(self, kind: str, snapshot: Snapshot) -> None:
        if kind == EventType.SERVICE_REMOVED:
            self._services.pop(snapshot.name, None)
        else:
            self._services[snapshot.name] = snapshot

    async def until_running(self, wanted: tuple[Wanted, ...]) -> None:
        """Wait until the room shows them all as running. Raises TimeoutError."""
        async with asyncio.timeout(JOIN_SECONDS):
            while any(self._status(one.service) != "running" for one in wanted):
                self._changed.clear()
                await self._changed.wait()

    def _status(self, service: str) -> str | None:
        snapshot = self._services.get(service)
        return None if snapshot is None else snapshot.status

    async def start_workers(self) -> None:
        """Start the workers as anybody would, by the program's own command line."""
        environment = worker_environment(self.url, self.containers)
        for name in WORKERS:
            command = [sys.executable, "-m", "pointsman", "worker", "run", "--name", name]
            self.workers[name] = await Child.start(name, command, self.directory, environment)

    async def until_serving(self) -> None:
        """Wait until all workers beat. Raises TimeoutError, and RuntimeError for one that ended."""
        async with asyncio.timeout(JOIN_SECONDS):
            while len(await self.client.subscriber.workers()) < len(self.workers):
                for child in self.workers.values():
                    if not child.running:
                        raise RuntimeError(f"{child.name} ended at once:\n{child.said()}")
                await asyncio.sleep(0.05)

    async def ask(self, action: str, service: str, command_id: str | None = None) -> Receipt:
        """Publish a command and wait for its receipt."""
        receipt = await self.client.publisher.run(action, service, id=command_id, wait=SETTLE_SECONDS)
        await self.read_up_to(receipt)
        words = receipt.message or receipt.error
        where = f", on {receipt.worker}" if receipt.worker else ""
        self.screen.note(f"receipt: {receipt.code} {receipt.status}, {words}{where}")
        return receipt

    async def read_up_to(self, receipt: Receipt) -> None:
        """Wait until the reader has shown the end of a command. Raises TimeoutError."""
        async with asyncio.timeout(LAG_SECONDS):
            while self.revision < (receipt.revision or 0):
                self._changed.clear()
                await self._changed.wait()

    async def counted(self, service: str, what: str, before: int, expected: int) -> int:
        """Return how often the engine told this since then, giving its account a moment to come in."""
        with suppress(TimeoutError):  # then the number itself tells
            await self.containers.until(service, what, before + expected, LAG_SECONDS)
        return self.containers.count(service, what) - before

    def claim(self, text: str, *, ok: bool, found: str) -> None:
        """Put down what was claimed, and whether it was so."""
        self.claims.append(Claim(claim=text, ok=ok, found=found))
        self.screen.note(f"{'✓' if ok else '✗'} {text}: {found}")

    async def breathe(self) -> None:
        """Leave the watcher a moment to read."""
        await asyncio.sleep(self.pace)


def worker_environment(url: str, containers: Containers) -> Mapping[str, str]:
    """Return a worker's environment: ours, with every setting of Pointsman and Docker replaced."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    ours = {"REDIS_URL": url, "ROOM": containers.room, "LOG_FORMAT": "json"} | TIMES
    made = kept | {f"POINTSMAN_{name}": value for name, value in ours.items()}
    if containers.host:
        made["DOCKER_HOST"] = containers.host
    return made | {"PYTHONSAFEPATH": "1"}
