"""The real program as subprocesses: started, signalled, killed, always reaped, heard upon failure."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.support.host import freeze, mortal
from tests.support.waiting import eventually

REAP_SECONDS = 10.0
SHOWN_CHARACTERS = 8_000
OURS = ("POINTSMAN_", "DOCKER_")


def pointsman_command() -> list[str]:
    """Return the console script of the venv that runs the tests, or `python -m pointsman` without one."""
    script = Path(sys.executable).with_name("pointsman")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "pointsman"]


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without our settings and Docker's, plus `more`; output unbuffered."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "NO_COLOR": "1", "COLUMNS": "160"} | more


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program that ran to its end has left."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> object:
        """Read stdout as one JSON document."""
        return msgspec.json.decode(self.stdout)


@dataclass(slots=True)
class Program:
    """One subprocess in a process group of its own, its output in files."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    _process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                mortal(list(self.command)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.directory,
                env=dict(self.environment),
                start_new_session=True,
            )

    @property
    def _stdout(self) -> Path:
        return self.directory / f"{self.name}.out"

    @property
    def _stderr(self) -> Path:
        return self.directory / f"{self.name}.err"

    @property
    def pid(self) -> int:
        """Return the process id, which is the group's id too."""
        return self._process.pid

    @property
    def stdout(self) -> str:
        """Return what it has written to stdout so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Return what it has written to stderr so far."""
        return self._stderr.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Tell whether the process is there; a frozen one is."""
        return self.code is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, not to its children."""
        if self.running:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self.signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: SIGINT to the whole group."""
        if self.running:
            os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Let it die at once, SIGKILL, and reap it."""
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=REAP_SECONDS)

    def freeze(self) -> None:
        """Stop it in its tracks: SIGSTOP."""
        if self.running:
            freeze(self.pid)

    def thaw(self) -> None:
        """Let a frozen program go on: SIGCONT."""
        self.signal(signal.SIGCONT)

    async def says(self, text: str, *, within: float = 10.0) -> None:
        """Wait until `text` is in its stdout or stderr; fail at once if it ends without saying so."""

        def said() -> bool:
            over = not self.running
            if text in self.stdout or text in self.stderr:
                return True
            if over:
                raise RuntimeError(
                    f"{self.name} ended with {self.code} and never said {text!r}:\n{self.tail()}"
                )
            return False

        await eventually(said, within=within, what=f"{self.name} says {text!r}")

    async def ends(self, *, within: float = 10.0) -> Finished:
        """Wait until it has ended."""
        await eventually(lambda: not self.running, within=within, what=f"{self.name} ends")
        code = self.code
        assert code is not None
        return Finished(code, self.stdout, self.stderr)

    async def stop(self, *, within: float = 10.0) -> Finished:
        """Ask it to end and wait until it has."""
        self.terminate()
        return await self.ends(within=within)

    def tail(self) -> str:
        """Return the end of both outputs, for a failure's report."""
        said = [("stdout", self.stdout), ("stderr", self.stderr)]
        return "\n".join(f"--- {name}\n{text[-SHOWN_CHARACTERS:]}" for name, text in said if text)

    def close(self) -> None:
        """End the program and whatever is left of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=REAP_SECONDS)


class Programs:
    """Start programs in one directory with a common environment, and see that none is left over."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.environment = environment
        self.started: list[Program] = []

    def start(self, *arguments: str, name: str = "", env: Mapping[str, str] | None = None) -> Program:
        """Start `pointsman ARGUMENTS…`. It dies with the thread that calls this: the main one."""
        return self.start_command(
            [*pointsman_command(), *arguments], name=name or "-".join(arguments[:2]), env=env
        )

    def start_command(
        self, command: Sequence[str], *, name: str = "", env: Mapping[str, str] | None = None
    ) -> Program:
        """Start any command."""
        label = f"{len(self.started):02d}-{(name or Path(command[0]).name).replace('/', '_')}"
        environment = clean_environment(**(self.environment | dict(env or {})))
        program = Program(label, command, environment, self.directory)
        self.started.append(program)
        return program

    async def run(
        self, *arguments: str, within: float = 30.0, env: Mapping[str, str] | None = None
    ) -> Finished:
        """Run `pointsman ARGUMENTS…` to its end."""
        return await self.start(*arguments, env=env).ends(within=within)

    async def run_all(self, *commands: Sequence[str], within: float = 30.0) -> list[Finished]:
        """Run several `pointsman` commands at once, each to its end."""
        started = [self.start(*command) for command in commands]
        return list(await asyncio.gather(*(program.ends(within=within) for program in started)))

    def close(self) -> None:
        """End all that still runs."""
        for program in self.started:
            program.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Give a starter of real programs; `programs.environment` is for all that start after it is set."""
    starter = Programs(tmp_path)
    yield starter
    starter.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the programs said beside the failure."""
    report = yield
    starter = getattr(item, "funcargs", {}).get("programs")
    if report.failed and isinstance(starter, Programs):
        for program in starter.started:
            state = "running" if program.running else f"exit code {program.code}"
            report.sections.append((f"{program.name} ({state})", program.tail()))
    return report
