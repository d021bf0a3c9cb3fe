"""Engines to try the engine port on: in memory, simulated behind HTTP, and a real one.

Fixture `bench`: an engine port with the means to make containers behind it, break the way to it, and count
what happened to the processes. In tests/conformance it stands for all three; elsewhere for the one in
memory, unless a mark `engines("memory", "server", "dockerd")` says otherwise.
"""

import asyncio
import re
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.dockerd import Containers, Dockerd
from worker.adapters.docker import DockerEngine, Timing
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer
from worker.core.container import Container, Health
from worker.ports import Engine

KINDS = ("memory", "server", "dockerd")
CONFORMANCE = "conformance"
#: Quick to notice and quick to come back.
QUICK = Timing(
    connect=2, look=5, ping=0.5, start=10, idle=0.1, renew=60, backoff_first=0.02, backoff_most=0.2
)


class Bench(ABC):
    """An engine port on trial."""

    kind: str
    engine: Engine
    #: Whether containers that run have an address.
    networked: bool = True

    def __init__(self) -> None:
        self.prefix = f"pm-{uuid.uuid4().hex[:10]}"

    def name(self, base: str) -> str:
        """Return a container name that no other test uses."""
        return f"{self.prefix}-{base}"

    @abstractmethod
    def client(self) -> Engine:
        """Return another port to the same engine, as another worker has; closed with the bench."""

    @abstractmethod
    async def add(
        self,
        base: str,
        *,
        labels: dict[str, str] | None = None,
        running: bool = True,
        health: bool | None = None,
        ignores_term: bool = False,
        slow_term: float = 0.0,
        exits: int | None = None,
        restart_policy: str = "no",
        stop_timeout: int | None = None,
        breakable: bool = False,
    ) -> str:
        """Make a container and return its id; `break_start` is for a `breakable` one."""

    @abstractmethod
    async def break_start(self, container_id: str) -> None:
        """Let no further start of it succeed."""

    @abstractmethod
    async def remove(self, container_id: str) -> None: ...

    @abstractmethod
    async def kill(self, container_id: str) -> None: ...

    @abstractmethod
    async def pause(self, container_id: str) -> None: ...

    @abstractmethod
    async def rename(self, container_id: str, name: str) -> None: ...

    @abstractmethod
    async def set_health(self, container_id: str, *, healthy: bool) -> None: ...

    @abstractmethod
    async def effects(self, container_id: str) -> list[str]:
        """Return the `die` and `start` of its process until now, in order."""

    @abstractmethod
    async def outage(self) -> None:
        """Break every connection and let no new one through, until `recover`."""

    @abstractmethod
    async def stall(self) -> None:
        """Accept everything and answer nothing, until `recover`."""

    @abstractmethod
    async def cut_events(self) -> None:
        """End the event streams, which may come back at once."""

    @abstractmethod
    async def recover(self) -> None:
        """Turn the faults off."""

    async def close(self) -> None:
        """Let everything go."""
        await self.engine.close()

    async def look(self, container_id: str) -> Container:
        """Inspect through the port; the container must be there."""
        found = await self.engine.inspect(container_id)
        assert found is not None, f"{container_id} is not there"
        return found


class MemoryBench(Bench):
    """The simulated engine, in memory."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.simulated = SimulatedEngine(look_bound=0.5)
        self.engine = self.simulated

    def client(self) -> Engine:
        return self.simulated.client()

    async def add(
        self,
        base: str,
        *,
        exits: int | None = None,
        slow_term: float = 0.0,
        breakable: bool = False,
        **settings: Any,
    ) -> str:
        if exits is not None:
            settings |= {"exit_after": 0.0, "exit_code": exits}
        return self.simulated.add(self.name(base), stop_delay=slow_term, addresses=("10.0.0.2",), **settings)

    async def break_start(self, container_id: str) -> None:
        behaviour = self.simulated.container(container_id).behaviour
        behaviour.start_error = "OCI runtime create failed: no such file or directory"

    async def remove(self, container_id: str) -> None:
        self.simulated.remove(container_id)

    async def kill(self, container_id: str) -> None:
        self.simulated.kill(container_id)

    async def pause(self, container_id: str) -> None:
        self.simulated.pause(container_id)

    async def rename(self, container_id: str, name: str) -> None:
        self.simulated.rename(container_id, name)

    async def set_health(self, container_id: str, *, healthy: bool) -> None:
        self.simulated.set_health(container_id, Health.HEALTHY if healthy else Health.UNHEALTHY)

    async def effects(self, container_id: str) -> list[str]:
        return [effect.kind for effect in self.simulated.effects(container_id)]

    async def outage(self) -> None:
        self.simulated.outage()

    async def stall(self) -> None:
        self.simulated.hang()

    async def cut_events(self) -> None:
        self.simulated.cut_events()

    async def recover(self) -> None:
        self.simulated.recover()


class ServerBench(MemoryBench):
    """The real adapter, before a simulated engine behind HTTP."""

    kind = "server"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.server = SimulatedServer(self.simulated, socket=directory / "docker.sock")
        self._clients: list[DockerEngine] = []
        self.engine = self.client()

    def client(self) -> DockerEngine:
        self._clients.append(DockerEngine(self.server.url, timing=QUICK))
        return self._clients[-1]

    async def outage(self) -> None:
        self.server.faults.outage()

    async def stall(self) -> None:
        self.server.faults.hang()

    async def cut_events(self) -> None:
        self.server.faults.cut_events()

    async def recover(self) -> None:
        self.server.faults.recover()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.server.close()
        await self.simulated.close()


class DockerdBench(Bench):
    """The real adapter, before a real engine, with a proxy between the two to break the way."""

    kind = "dockerd"

    def __init__(self, dockerd: Dockerd, directory: Path) -> None:
        super().__init__()
        self._dockerd = dockerd
        self.networked = dockerd.networked
        self._directory = directory
        self._needed: dict[str, Path] = {}
        self._containers = Containers(dockerd, self.prefix)
        self.proxy = Proxy(dockerd.url, directory / "proxy.sock")
        self._clients: list[DockerEngine] = []
        self.engine = self.client()

    def client(self) -> DockerEngine:
        self._clients.append(DockerEngine(self.proxy.url, timing=QUICK))
        return self._clients[-1]

    async def add(self, base: str, *, breakable: bool = False, **settings: Any) -> str:
        folder = self._directory / uuid.uuid4().hex
        if breakable:
            folder.mkdir()
            settings["needs"] = folder
        container_id = await asyncio.to_thread(self._containers.run, self.name(base), **settings)
        self._needed[container_id] = folder
        return container_id

    async def break_start(self, container_id: str) -> None:
        self._needed[container_id].rmdir()

    async def remove(self, container_id: str) -> None:
        await asyncio.to_thread(self._dockerd.remove, container_id)

    async def kill(self, container_id: str) -> None:
        await asyncio.to_thread(self._dockerd.kill, container_id)

    async def pause(self, container_id: str) -> None:
        await asyncio.to_thread(self._dockerd.pause, container_id)

    async def rename(self, container_id: str, name: str) -> None:
        await asyncio.to_thread(self._dockerd.rename, container_id, name)

    async def set_health(self, container_id: str, *, healthy: bool) -> None:
        await asyncio.to_thread(self._dockerd.set_health, container_id, healthy=healthy)

    async def effects(self, container_id: str) -> list[str]:
        return [one.kind for one in await asyncio.to_thread(self._dockerd.effects, container_id)]

    async def outage(self) -> None:
        await self.proxy.refuse()

    async def stall(self) -> None:
        self.proxy.stall()

    async def cut_events(self) -> None:
        self.proxy.cut()

    async def recover(self) -> None:
        await self.proxy.restore()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.proxy.close()
        await asyncio.to_thread(self._containers.close)


class Proxy:
    """A unix socket before an engine, which can be cut, stalled and closed.

    `held` counts the answers that `hold_answers_to` keeps back.
    """

    def __init__(self, target: str, path: Path) -> None:
        self.url = f"unix://{path}"
        self._target = target
        self._path = path
        self._open = asyncio.Event()
        self._open.set()
        self._held_back: re.Pattern[bytes] | None = None
        self._release = asyncio.Event()
        self.held = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        """Listen, and let everything through."""
        self._open.set()
        if self._server is None:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path)

    def stall(self) -> None:
        """Take what comes and pass nothing on, in either direction."""
        self._open.clear()

    def hold_answers_to(self, request: bytes) -> None:
        """Let requests that match go through, and keep their answers back until `let_go`."""
        self._release.clear()
        self._held_back = re.compile(request)

    def let_go(self) -> None:
        """Pass on the answers that were kept back, as they are."""
        self._held_back = None
        self._release.set()

    def cut(self) -> None:
        """Break every connection there is."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def refuse(self) -> None:
        """Break every connection, and let none be made."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        self.cut()

    async def close(self) -> None:
        """End everything."""
        await self.refuse()
        self._open.set()
        self.let_go()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await asyncio.sleep(0)  # a transport that was aborted is closed in the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._tasks.add(me)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            answers, far = await self._dial()
            self._writers.add(far)
            asked: list[bytes] = []
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far, asked))
                group.create_task(self._pass_back(answers, writer, asked))
        except OSError:
            pass  # nobody at the other end: the connection is closed, which says it
        finally:
            self._tasks.discard(me)
            for one in (writer, far):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        scheme, _, rest = self._target.partition("://")
        if scheme == "unix":
            return await asyncio.open_unix_connection(rest)
        host, _, port = rest.partition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                asked[:] = [data]  # nobody asks twice on one connection before there is an answer
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _pass_back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                if self._held_back is not None and asked and self._held_back.match(asked[0]):
                    self.held += 1
                    await self._release.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "engines(*kinds): the engines that `bench` stands for")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `bench` once for each engine it is to hold on."""
    if "bench" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("engines")
    kinds = mark.args if mark else KINDS if CONFORMANCE in metafunc.definition.path.parts else KINDS[:1]
    metafunc.parametrize("bench", kinds, indirect=True)


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Give a folder with a path short enough for a socket in it."""
    directory = Path(tempfile.mkdtemp(prefix="pm-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def bench(request: pytest.FixtureRequest, short_directory: Path) -> AsyncIterator[Bench]:
    """Give an engine port on trial."""
    made: Bench
    match request.param:
        case "memory":
            made = MemoryBench()
        case "server":
            made = ServerBench(short_directory)
            await made.server.start()
        case _:
            made = DockerdBench(request.getfixturevalue("dockerd"), short_directory)
            await made.proxy.restore()
    try:
        yield made
    finally:
        await made.recover()
        await made.close()


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedEngine]:
    """Give a simulated engine in memory."""
    engine = SimulatedEngine()
    yield engine
    await engine.close()


@pytest.fixture
async def simulated_server(
    simulated: SimulatedEngine, short_directory: Path
) -> AsyncIterator[SimulatedServer]:
    """Give `simulated` behind a unix socket; `.url` is for DOCKER_HOST."""
    async with SimulatedServer(simulated, socket=short_directory / "docker.sock") as server:
        yield server
