"""The demo's containers, and what their engine tells of them, heard apart from Pointsman."""

import asyncio
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from worker.adapters.simulated.engine import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer

LABEL = "pointsman.demo"


class NoEngineError(Exception):
    """No engine is here that the demo could use; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A container to make. `stops_after`: seconds that its process takes to leave when asked to."""

    service: str
    display_name: str
    category: str
    port: int | None = None
    healthy_after: float | None = None
    stops_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine told: `kill`, `die` or `start`, of a service."""

    service: str
    what: str
    time_ns: int


class Containers(ABC):
    """Containers of one room, and all that the engine has told of them."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.mark = uuid.uuid4().hex[:12]
        self.seen: list[Seen] = []
        self._heard = asyncio.Event()

    @property
    @abstractmethod
    def host(self) -> str | None:
        """Return what DOCKER_HOST should be for the workers; None where the environment says it already."""

    @property
    @abstractmethod
    def words(self) -> str:
        """Say which engine this is."""

    @abstractmethod
    async def open(self, wanted: tuple[Wanted, ...]) -> None:
        """Make and start the containers. Raises NoEngineError."""

    @abstractmethod
    async def close(self) -> None:
        """Leave nothing behind."""

    def count(self, service: str, what: str) -> int:
        """Count how often the engine told this."""
        return sum(1 for one in self.seen if one.service == service and one.what == what)

    async def until(self, service: str, what: str, number: int, seconds: float) -> None:
        """Wait until the engine has told this so often. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.count(service, what) < number:
                self._heard.clear()
                await self._heard.wait()

    def labels(self, wanted: Wanted) -> dict[str, str]:
        """Return a container's labels."""
        made = {
            "pointsman.enable": "true",
            "pointsman.room": self.room,
            "pointsman.service": wanted.service,
            "pointsman.display-name": wanted.display_name,
            "pointsman.category": wanted.category,
            LABEL: self.mark,
        }
        return made | ({"pointsman.port": str(wanted.port)} if wanted.port else {})

    def note(self, service: str, what: str, time_ns: int) -> None:
        """Take down what the engine told."""
        self.seen.append(Seen(service, what, time_ns))
        self._heard.set()


class Simulated(Containers):
    """An engine in memory behind Docker's API on a unix socket; the workers do not know the difference."""

    def __init__(self, room: str, directory: Path) -> None:
        super().__init__(room)
        self._engine = SimulatedEngine("DEMO:SIMU:LATE:D000")
        self._server = SimulatedServer(self._engine, socket=directory / "engine.sock")

    @property
    def host(self) -> str | None:
        """Return the socket's address."""
        return self._server.url

    @property
    def words(self) -> str:
        """Say which engine this is."""
        return f"the simulated engine, which speaks Docker's API on {self._server.url}"

    async def open(self, wanted: tuple[Wanted, ...]) -> None:
        """Listen, and make the containers."""
        await self._server.start()
        for one in wanted:
            self._engine.add(
                f"{self.room}-{one.service}",
                labels=self.labels(one),
                stop_delay=one.stops_after,
                health=None if one.healthy_after is None else True,
                health_delay=one.healthy_after or 0.0,
            )
        self._engine.events.listen(
            lambda event: self.note(event.labels["pointsman.service"], event.action, event.time_ns)
        )

    async def close(self) -> None:
        """End it."""
        await self._server.close()
        await self._engine.close()
