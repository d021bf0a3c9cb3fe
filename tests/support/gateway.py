"""A room served over HTTP in this process: a private Redis, workers over a simulated engine, gateways.

Fixture `scene`: nothing runs until it is asked for.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway import Gateway, GatewaySettings
from gateway.server import Server, make_server
from tests.support.host import LOOPBACK
from tests.support.redis import RedisServer
from tests.support.waiting import eventually
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.telemetry.log import NullLog
from worker.app import Worker
from worker.settings import WorkerSettings

JSON = dict[str, Any]


@dataclass(slots=True)
class Served:
    """One gateway that takes connections."""

    gateway: Gateway
    server: Server
    task: "asyncio.Task[None]"
    http: httpx.AsyncClient

    @property
    def port(self) -> int:
        """Return its port."""
        return self.server.port

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://{LOOPBACK}:{self.port}"

    async def services(self, **query: str) -> list[JSON]:
        """Return the services of the list, which must come."""
        response = await self.http.get("/api/system/services", params=query)
        assert response.status_code == 200, response.text
        found: list[JSON] = response.json()["services"]
        return found

    async def act(self, name: str, action: str, **options: Any) -> httpx.Response:
        """Ask for an action."""
        return await self.http.post(f"/api/system/services/{name}/{action}", **options)

    async def stop(self) -> None:
        """Stop it, as SIGTERM does."""
        self.server.stop()
        await self.http.aclose()
        await asyncio.wait_for(self.task, 15)


@dataclass(slots=True)
class Scene:
    """What a test has put up."""

    redis: RedisServer
    room: str
    engine: SimulatedEngine = field(default_factory=SimulatedEngine)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def add(self, name: str, **options: Any) -> str:
        """Make a container of this room; `category`, `display`, `port` become labels."""
        labels = {"pointsman.room": self.room, **options.pop("labels", {})}
        for word, label in (("category", "category"), ("display", "display-name"), ("port", "port")):
            if word in options:
                labels[f"pointsman.{label}"] = str(options.pop(word))
        return self.engine.add(name, labels=labels, **options)

    async def worker(self, name: str = "w1", **settings: Any) -> Worker:
        """Start a worker; return once it is listed."""
        given: JSON = {"redis_url": self.redis.url, "room": self.room, "POINTSMAN_WORKER_NAME": name}
        worker = Worker(WorkerSettings(**(given | settings)), self.engine.client(), NullLog())
        ready = asyncio.Event()
        task = asyncio.create_task(worker.run(ready=ready.set), name=f"worker {name}")

        async def stop() -> None:
            worker.stop()
            await asyncio.wait([task], timeout=15)
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(stop)
        await asyncio.wait([task, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task
        return worker

    async def gateway(self, **settings: Any) -> Served:
        """Start a gateway of this room on a free port, without a limit of its pace unless one is given."""
        given: JSON = {"redis_url": self.redis.url, "room": self.room, "port": 0, "rate": 0}
        gateway = Gateway(GatewaySettings(**(given | settings)))
        server = make_server(gateway)
        ready = asyncio.Event()
        task = asyncio.create_task(server.run_until_stopped(ready.set), name="gateway")
        await asyncio.wait([task, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task
        http = httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{server.port}", timeout=40, trust_env=False)
        served = Served(gateway, server, task, http)

        async def stop() -> None:
            if not task.done():
                await served.stop()

        self._stack.push_async_callback(stop)
        return served

    async def known(self, served: Served, *names: str, within: float = 10) -> None:
        """Wait until the list has these services."""

        async def listed() -> bool:
            response = await served.http.get("/api/system/services")
            if response.status_code != 200:
                raise AssertionError(response.text)
            return set(names) <= {service["name"] for service in response.json()["services"]}

        await eventually(listed, within=within, what=f"services {names} are listed")

    async def close(self) -> None:
        """End everything."""
        await self._stack.aclose()
        await self.engine.close()


@pytest.fixture
async def scene(redis_server: RedisServer, room: str) -> AsyncIterator[Scene]:
    """Give an empty scene in a room of its own on the shared Redis."""
    made = Scene(redis_server, room)
    yield made
    await made.close()


@dataclass(frozen=True, slots=True)
class Sent:
    """One server-sent event as a client reads it."""

    event: str
    data: Any
    id: str | None = None


@asynccontextmanager
async def stream(
    served: Served, path: str = "/api/system/services/events", last: str | None = None, **headers: str
) -> AsyncIterator[AsyncIterator[Sent]]:
    """Open a stream of events; read it as `async for`."""
    sent = dict(headers) | ({"last-event-id": last} if last is not None else {})
    sent.setdefault("accept", "text/event-stream")
    async with served.http.stream("GET", path, headers=sent) as response:
        assert response.status_code == 200, await response.aread()
        yield read_events(response)


async def read_events(response: httpx.Response) -> AsyncIterator[Sent]:
    """Read the events of an answer, heartbeats too."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield Sent(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
        fields = {}


async def take(
    events: AsyncIterator[Sent], count: int, *, within: float = 10, beats: bool = False
) -> list[Sent]:
    """Return the next `count` events, heartbeats left out unless asked for."""
    found: list[Sent] = []
    async with asyncio.timeout(within):
        async for event in events:
            if beats or event.event != "heartbeat":
                found.append(event)
                if len(found) == count:
                    break
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """An event with an id, and when it came: seconds since 1970."""

    event: str
    data: Any
    revision: int
    at: float


class Follower:
    """A client that reads a gateway's stream and comes back where it was, until `aclose`."""

    def __init__(self, url: str) -> None:
        self.heard: list[Heard] = []
        self._url = f"{url}/api/system/services/events"
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        last: str | None = None
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            while True:
                headers = {} if last is None else {"last-event-id": last}
                try:
                    async with http.stream("GET", self._url, headers=headers) as response:
                        async for event in read_events(response):
                            if event.id is not None:
                                last = event.id
                                revision = int(last.rpartition("/")[2])
                                self.heard.append(Heard(event.event, event.data, revision, time.time()))
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    @property
    def revisions(self) -> list[int]:
        """Return the revisions so far, in the order in which they came."""
        return [one.revision for one in self.heard]

    @property
    def resets(self) -> int:
        """Return how often it had to begin anew, the beginning included."""
        return sum(one.event == "reset" for one in self.heard)

    def settled(self, command_id: str) -> bool:
        """Tell whether the end of a command was heard of."""
        return any(
            one.event == "pointsman.command.settled" and one.data["subject"] == command_id
            for one in self.heard
        )

    async def aclose(self) -> None:
        """Stop reading; a reader that failed fails the test."""
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
