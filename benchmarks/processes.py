"""Subprocesses that are measured: started, waited for with a bound, always reaped; what /proc says of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TICKS = os.sysconf("SC_CLK_TCK")
POLL = 0.02
STOP_SECONDS = 8.0


class Failed(Exception):
    """A subject ended, or did not report in time; the text has the end of what it said."""


@dataclass(slots=True)
class Subject:
    """One subprocess, its stderr in a file, its report in another."""

    name: str
    command: Sequence[str]
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    out: Path = field(init=False)
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.directory / f"{self.name}.json"
        self.out.unlink(missing_ok=True)

    def start(self) -> "Subject":
        """Start it."""
        environment = dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(self.env)
        with self._file.open("wb") as said:
            self.process = subprocess.Popen(
                list(self.command), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
            )
        return self

    @property
    def _file(self) -> Path:
        return self.directory / f"{self.name}.said"

    @property
    def said(self) -> str:
        """Return what it has written to stdout and stderr so far."""
        return self._file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def says(self, text: str, within: float) -> None:
        """Wait until it has said `text`."""
        end = time.monotonic() + within
        while text not in self.said:
            self._alive(end, f"never said {text!r}")
            time.sleep(POLL)

    def report(self, within: float) -> dict[str, Any]:
        """Wait for its report and read it."""
        end = time.monotonic() + within
        while not self.out.exists():
            self._alive(end, f"no report within {within:g} s")
            time.sleep(POLL)
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found

    def _alive(self, end: float, what: str) -> None:
        if time.monotonic() > end or self.process.poll() is not None:
            said = self.said[-1500:]
            raise Failed(f"{self.name}: {what} (exit code {self.process.poll()})\n{said}")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end; end it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


@contextlib.contextmanager
def running(*subjects: Subject) -> Iterator[None]:
    """Start subjects, and see that none is left."""
    started: list[Subject] = []
    try:
        for one in subjects:
            one.start()
            started.append(one)
        yield
    finally:
        for one in started:
            one.stop()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        yield Path(name)


def our_worker(
    name: str, directory: Path, redis_url: str, *options: str, settings: Mapping[str, object] | None = None
) -> Subject:
    """Return one of our workers as a subject, not yet started; see `subject.py` for the options."""
    chosen = [word for key, value in (settings or {}).items() for word in ("--set", f"{key}={value}")]
    program = [sys.executable, str(HERE / "subject.py"), "--redis", redis_url, "--name", name]
    made = Subject(name, (), directory, {"PYTHONPATH": str(ROOT)})
    made.command = [*program, "--out", str(made.out), *options, *chosen]
    return made


def cpu_seconds(pid: int) -> float:
    """Return what a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int, *, peak: bool = False) -> float:
    """Return a process's resident memory, now or at its most."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(wanted))


def run(command: Sequence[str], env: Mapping[str, str], within: float) -> Any:
    """Run a program to its end; return the JSON in its last line. Raises Failed."""
    environment = dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(env)
    try:
        done = subprocess.run(
            list(command), env=environment, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[1:]}: no end within {within:g} s") from error
    if done.returncode:
        raise Failed(f"{command[1:]}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
