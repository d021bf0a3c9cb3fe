"""A real Docker engine: the one that answers here, or one of our own; containers that behave as told.

Fixtures: `dockerd` (session) is the engine, `containers` makes containers that end with the test.
All calls block for as long as the engine takes (a start 0.2 s, a restart 0.4 s).
"""

import fcntl
import http.client
import io
import itertools
import json
import os
import random
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.needs import leave_out
from tests.support.waiting import eventually_sync

IMAGE = "pointsman-test/busybox:1"
USUAL = "unix:///var/run/docker.sock"
TEST_LABEL = "pointsman-test"
BOOT_SECONDS = 30.0
STOP_SECONDS = 20.0
CALL_SECONDS = 60.0
HEALTH_EVERY_NS = 200_000_000
HOW_TO_GET_IT = "apt-get install docker.io busybox-static and run as root, or set DOCKER_HOST"
TOOLS = ("sh", "sleep", "cat", "touch", "rm", "test", "true", "false", "httpd", "nc", "wget", "echo", "date")


class DockerError(Exception):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Seen:
    """One `die` or `start` that the engine told of."""

    container_id: str
    kind: str
    time_ns: int


class Docker:
    """A plain blocking client of a Docker engine, apart from the code under test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connection(self, timeout: float | None = CALL_SECONDS) -> http.client.HTTPConnection:
        if self.url.startswith("unix://"):
            return _UnixConnection(self.url.removeprefix("unix://"), timeout)
        host, _, port = self.url.partition("://")[2].partition(":")
        return http.client.HTTPConnection(host, int(port or 2375), timeout=timeout)

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Make one call; return its JSON, or its text."""
        text, is_json = self._ask(method, path, body, query)
        return json.loads(text) if is_json and text else text

    def _ask(self, method: str, path: str, body: object, query: Mapping[str, object]) -> tuple[str, bool]:
        connection = self.connection()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        content_type = "application/x-tar" if isinstance(body, bytes) else "application/json"
        try:
            asked = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, asked, data, {"Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= 400:
            raise DockerError(answer.status, text)
        return text, "json" in answer.headers.get("Content-Type", "")

    def answers(self) -> bool:
        """Tell whether an engine is there."""
        try:
            return bool(self.call("GET", "/_ping") == "OK")
        except (OSError, http.client.HTTPException, DockerError):
            return False


class Dockerd(Docker):
    """The engine that tests use, with its events recorded from the beginning on."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
        super().__init__(url)
        self.process = process
        self.mark = uuid.uuid4().hex[:12]
        self._seen: dict[tuple[str, int, str], Seen] = {}
        self._stream: http.client.HTTPConnection | None = None
        self._listener: threading.Thread | None = None

    @property
    def own(self) -> bool:
        """Tell whether the engine is ours alone, so that a test may freeze it."""
        return self.process is not None

    @property
    def id(self) -> str:
        """Return the engine's ID."""
        return str(self.call("GET", "/info")["ID"])

    @property
    def networked(self) -> bool:
        """Tell whether containers get an address."""
        wanted = json.dumps({"driver": ["bridge"]})
        return bool(self.call("GET", "/networks", filters=wanted))

    @property
    def limits_memory(self) -> bool:
        """Tell whether containers can be kept to so much memory."""
        return bool(self.call("GET", "/info").get("MemoryLimit"))

    def prepare(self) -> None:
        """Bring in the image and start to record."""
        self._import_image()
        self._stream = self.connection(timeout=None)
        self._stream.request("GET", f"/events?{self._events_query()}")
        answer = self._stream.getresponse()
        self._listener = threading.Thread(target=self._record, args=(answer,), daemon=True)
        self._listener.start()

    def run(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        script: str = "",
        running: bool = True,
        health: bool | None = None,
        ignores_term: bool = False,
        slow_term: float = 0.0,
        exits: int | None = None,
        exits_after: float = 0.0,
        restart_policy: str = "no",
        stop_timeout: int | None = None,
        network: str = "default",
        command: list[str] | None = None,
        needs: Path | None = None,
        memory: int = 0,
    ) -> str:
        """Make a container, started unless `running` is False, and return its id.

        It is labelled `pointsman.enable=true` unless `labels` say otherwise, and leaves at once when asked
        to: or `slow_term` seconds later, or never (`ignores_term`), or by itself with code `exits`. With
        `health` it has a health check, which `set_health` turns; `script` runs before all that. `command`
        is run instead of all that. Without the folder that it `needs` it cannot start; of `memory` it gets
        so many bytes.
        """
        made = self.call(
            "POST",
            "/containers/create",
            {
                "Image": IMAGE,
                "Cmd": command
                or ["/bin/sh", "-c", _script(script, health, ignores_term, slow_term, exits, exits_after)],
                "Labels": {"pointsman.enable": "true", TEST_LABEL: self.mark} | dict(labels or {}),
                "StopTimeout": stop_timeout,
                "Healthcheck": None
                if health is None
                else {
                    "Test": ["CMD", "/bin/test", "!", "-e", "/tmp/sick"],  # noqa: S108 - in the container
                    "Interval": HEALTH_EVERY_NS,
                    "Timeout": 5_000_000_000,
                    "Retries": 1,
                },
                "HostConfig": {
                    "RestartPolicy": _policy(restart_policy),
                    "NetworkMode": network,
                    "Memory": memory,
                    "MemorySwap": memory,
                    "Mounts": [{"Type": "bind", "Source": str(needs), "Target": "/needs"}] if needs else [],
                },
            },
            name=name or f"pm-{uuid.uuid4().hex[:12]}",
        )
        container_id = str(made["Id"])
        if running:
            self.start(container_id)
        return container_id

    def start(self, key: str) -> None:
        self.call("POST", f"/containers/{quote(key)}/start")

    def stop(self, key: str, grace: int = 5) -> None:
        self.call("POST", f"/containers/{quote(key)}/stop", t=grace)

    def kill(self, key: str, signal_name: str = "KILL") -> None:
        self.call("POST", f"/containers/{quote(key)}/kill", signal=signal_name)

    def slay(self, key: str) -> None:
        """Kill its process behind the engine's back, where the engine's processes are this machine's."""
        pid = int(self.inspect(key)["State"]["Pid"])
        if self.own and pid:
            os.kill(pid, signal.SIGKILL)
        else:
            self.kill(key)

    def pause(self, key: str) -> None:
        self.call("POST", f"/containers/{quote(key)}/pause")

    def unpause(self, key: str) -> None:
        self.call("POST", f"/containers/{quote(key)}/unpause")

    def rename(self, key: str, name: str) -> None:
        self.call("POST", f"/containers/{quote(key)}/rename", name=name)

    def remove(self, key: str) -> None:
        """Remove it, running or not; one that is gone already is fine."""
        try:
            self.call("DELETE", f"/containers/{quote(key)}", force="1", v="1")
        except DockerError as error:
            if error.status != 404:
                raise

    def inspect(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/containers/{quote(key)}/json")
        return found

    def execute(self, key: str, *command: str) -> str:
        """Run a command in the container and wait for it."""
        made = self.call("POST", f"/containers/{quote(key)}/exec", {"Cmd": command, "AttachStdout": True})
        return str(self.call("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": True}))

    def set_health(self, key: str, *, healthy: bool) -> None:
        """Let its health check find this from now on, also after a restart."""
        verb = "rm -f" if healthy else "touch"
        self.execute(key, "/bin/sh", "-c", f"{verb} /tmp/sick")

    def effects(self, key: str, kind: str | None = None) -> list[Seen]:
        """Return what has happened to the process until now, all of it, in order of time.

        The engine remembers 256 events only, which a health check fills in a minute, so they are recorded
        from the start; what the recorder has yet to read is asked for.
        """
        container_id = str(self.inspect(key)["Id"]) if len(key) != 64 else key
        text, _ = self._ask("GET", f"/events?{self._events_query(until=True)}", None, {})
        for line in text.splitlines():
            self._note(json.loads(line))
        seen = sorted(self._seen.values(), key=lambda one: one.time_ns)
        return [one for one in seen if one.container_id == container_id and kind in {None, one.kind}]

    def close(self) -> None:
        """Remove every container of this run, and end the engine if it is ours."""
        wanted = json.dumps({"label": [f"{TEST_LABEL}={self.mark}"]})
        for row in self.call("GET", "/containers/json", all="1", filters=wanted):
            self.remove(row["Id"])
        if self._stream is not None and self._stream.sock is not None:
            with suppress(OSError):
                self._stream.sock.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.join(timeout=5)
        if self._stream is not None:
            self._stream.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=STOP_SECONDS)

    def _import_image(self) -> None:
        wanted = json.dumps({"reference": [IMAGE]})
        if self.call("GET", "/images/json", filters=wanted):
            return
        repository, tag = IMAGE.split(":")
        self.call("POST", "/images/create", _root_file_system(), fromSrc="-", repo=repository, tag=tag)

    def _events_query(self, *, until: bool = False) -> str:
        filters = {"type": ["container"], "label": [f"{TEST_LABEL}={self.mark}"], "event": ["die", "start"]}
        now = time.time()
        span = {"since": f"{now - 60:.6f}", "until": f"{now:.6f}"} if until else {}
        return urlencode({"filters": json.dumps(filters), **span})

    def _record(self, answer: http.client.HTTPResponse) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):  # closed under us
            while line := answer.readline():
                self._note(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        seen = Seen(event["Actor"]["ID"], event["Action"], event["timeNano"])
        self._seen[seen.container_id, seen.time_ns, seen.kind] = seen


class Containers:
    """Make containers on an engine, and remove them in the end."""

    def __init__(self, dockerd: Dockerd, prefix: str) -> None:
        self.dockerd = dockerd
        self.prefix = prefix
        self._made: list[str] = []
        self._numbers = itertools.count()

    def name(self, base: str = "c") -> str:
        """Return a container name that no other test uses."""
        return f"{self.prefix}-{base}-{next(self._numbers)}"

    def run(self, name: str | None = None, **settings: Any) -> str:
        """Make a container, see `Dockerd.run`."""
        container_id = self.dockerd.run(name or self.name(), **settings)
        self._made.append(container_id)
        return container_id

    def close(self) -> None:
        """Remove all that were made."""
        for container_id in self._made:
            self.dockerd.remove(container_id)


def _script(
    first: str,
    health: bool | None,
    ignores_term: bool,
    slow_term: float,
    exits: int | None,
    exits_after: float,
) -> str:
    lines = [first] if first else []
    if health is False:
        lines.append("test -e /tmp/known || touch /tmp/sick /tmp/known")
    if ignores_term:
        lines.append("trap '' TERM")
    elif slow_term:
        lines.append(f"trap 'sleep {slow_term}; exit 0' TERM")
    else:
        lines.append("trap 'exit 0' TERM")
    if exits is not None:
        if exits_after:
            lines.append(f"sleep {exits_after} & wait $!")
        lines.append(f"exit {exits}")
    else:
        lines.append("while :; do sleep 3600 & wait $!; done")
    return "\n".join(lines)


def _policy(text: str) -> dict[str, object]:
    name, _, most = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(most or 0)}


def _root_file_system() -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None or b"/ld-linux" in Path(busybox).read_bytes()[:4096]:
        leave_out("a static busybox", HOW_TO_GET_IT)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755), ("www", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for tool in TOOLS:
            entry = tarfile.TarInfo(f"bin/{tool}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return packed.getvalue()


def _start_own(directory: Path, bridge: str | None) -> Dockerd | None:
    """Start an engine of our own; None when it does not come up."""
    url = f"unix://{directory}/docker.sock"
    options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command = ["dockerd", *(f"--{name}={directory / part}" for name, part in options.items()), "-H", url]
    command += ["--iptables=false", "--ip6tables=false"]  # the machine's rules are not ours
    if bridge is None:
        # In a network of its own, because an engine told to have no bridge removes the machine's docker0.
        command = ["unshare", "--net", *command, "--bridge=none"]
    else:
        command += [f"--bridge={bridge}"]
    if shutil.which("setpriv"):  # a test run that is killed leaves no engine behind
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    with (directory / "dockerd.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    docker = Docker(url)
    eventually_sync(
        lambda: docker.answers() or process.poll() is not None, within=BOOT_SECONDS, what="dockerd answers"
    )
    return Dockerd(url, process) if process.poll() is None else None


@contextmanager
def _own_engine() -> Iterator[Dockerd]:
    """Run an engine in a folder and on a bridge of its own: two on docker0 get into each other's way.

    Where no bridge can be made, its containers have no network.
    """
    directory = Path(tempfile.mkdtemp(prefix="pm-dk-"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        bridges: list[str | None] = [None]
        with suppress(OSError):
            bridges.insert(0, stack.enter_context(_bridge()))
        own = next(filter(None, (_start_own(directory, bridge) for bridge in bridges)), None)
        if own is None:
            log = (directory / "dockerd.log").read_text(errors="replace")
            leave_out("a Docker engine that starts", log[-400:])
        stack.callback(own.close)
        own.prepare()
        yield own


@contextmanager
def _bridge() -> Iterator[str]:
    """Make a network bridge with an address, without needing a program for it; raises `OSError`."""
    name = f"pm{uuid.uuid4().hex[:8]}"
    add, remove, set_address, set_mask, get_flags, set_flags, up = (
        *(0x89A0, 0x89A1, 0x8916, 0x891C, 0x8913, 0x8914),
        0x1,
    )
    with socket.socket() as control:

        def ask(code: int, argument: bytes) -> bytes:
            return fcntl.ioctl(control, code, struct.pack("16s24s", name.encode(), argument))

        def inet(address: str) -> bytes:
            return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(address))

        fcntl.ioctl(control, add, name.encode())
        try:
            ask(set_address, inet(f"10.{random.randint(200, 250)}.{random.randint(1, 250)}.1"))
            ask(set_mask, inet("255.255.255.0"))
            (flags,) = struct.unpack_from("H", ask(get_flags, b""), 16)
            ask(set_flags, struct.pack("H", flags | up))
            yield name
        finally:
            (flags,) = struct.unpack_from("H", ask(get_flags, b""), 16)
            ask(set_flags, struct.pack("H", flags & ~up))
            fcntl.ioctl(control, remove, name.encode())


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """Give the engine at DOCKER_HOST or the usual socket, or start one of our own (needs root)."""
    for url in (os.environ.get("DOCKER_HOST"), USUAL):
        if url and Docker(url).answers():
            found = Dockerd(url)
            try:
                found.prepare()
                yield found
            finally:
                found.close()
            return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        leave_out("a Docker engine", HOW_TO_GET_IT)
    with _own_engine() as own:
        yield own


@pytest.fixture
def containers(dockerd: Dockerd) -> Iterator[Containers]:
    """Give a maker of containers on the real engine; `containers.dockerd` is the engine."""
    maker = Containers(dockerd, f"pm-{shlex.quote(dockerd.mark[:6])}-{uuid.uuid4().hex[:6]}")
    yield maker
    maker.close()
