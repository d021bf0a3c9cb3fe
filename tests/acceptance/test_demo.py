"""The demo: shows what it promises within a minute, and leaves nothing behind, however it ends."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dockerd import Dockerd
from tests.support.needs import leave_out
from tests.support.processes import Finished, Programs, clean_environment, pointsman_command
from tests.support.redis import redis_binary

MINUTE = 60.0
CLAIMS = 8
COLUMNS, ROWS = 120, 40
#: Words upon which Ctrl-C comes.
MOMENTS = ("Redis: a server", "Start two workers", "kill -9")


@pytest.fixture
def place(tmp_path: Path, programs: Programs) -> Iterator[Path]:
    """Return the folder that the demo uses for all it makes; when the test ends it must be empty again."""
    if redis_binary("6.2") is None and redis_binary("7") is None:
        leave_out("a redis-server")
    folder = tmp_path / "t"
    folder.mkdir()
    programs.environment["TMPDIR"] = str(folder)
    yield folder
    assert list(folder.iterdir()) == []


def children_of(place: Path) -> list[str]:
    """Return the command lines of the processes that know this folder: the demo's and its children's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                if f"TMPDIR={place}".encode() in environment.split(b"\0"):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return [line for line in found if line]


def judged(ended: Finished, *, engine: str) -> None:
    """Judge a demo that was asked for JSON."""
    told: Any = json.loads(ended.stdout)
    assert ended.code == 0, ended
    assert told["failure"] is None
    assert [claim for claim in told["claims"] if not claim["ok"]] == []
    assert len(told["claims"]) == CLAIMS
    assert told["ok"] is True
    assert engine in told["engine"]
    crash = next(claim["found"] for claim in told["claims"] if "death" in claim["claim"])
    assert "200 as attempt 2; 1 end and 1 start" in crash


async def test_the_demo_shows_everything_within_a_minute(programs: Programs, place: Path):
    """On a terminal at its usual pace; beside it as plain lines, and asked for an engine that is nowhere."""
    folders = [place / name for name in ("terminal", "lines", "nowhere")]
    for folder in folders:
        folder.mkdir()
    lines = programs.start("demo", "--fast", env={"TMPDIR": str(folders[1])})
    nowhere = programs.start(
        *("demo", "--engine", "docker", "--fast"),
        env={"TMPDIR": str(folders[2]), "DOCKER_HOST": "unix:///nonexistent.sock"},
    )
    code, drawn = await asyncio.wait_for(asyncio.to_thread(on_a_terminal, folders[0]), MINUTE)
    assert code == 0, drawn
    assert "\x1b[32m" in drawn  # in colour
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    assert len(re.findall(r"NAME +STATUS", plain)) > 10  # drawn again and again
    assert f"{CLAIMS} of {CLAIMS} claims held" in plain

    ended = await lines.ends(within=MINUTE)
    assert ended.code == 0, ended
    assert "simulated engine" in ended.stdout
    for action in ("Restart", "Stop", "Start", "Disable", "Enable"):
        assert f"{action}Succeeded" in ended.stdout
    assert "kill -9" in ended.stdout
    assert "found done by attempt 2, not repeated" in ended.stdout
    summary = ended.stdout.split("What was shown", 1)[1]
    assert summary.count("✓") == CLAIMS
    assert "✗" not in ended.stdout
    assert f"{CLAIMS} of {CLAIMS} claims held" in summary
    assert "\x1b[" not in ended.stdout

    ended = await nowhere.ends(within=MINUTE)
    assert ended.code == 0, ended
    assert "unix:///nonexistent.sock" in ended.stdout
    assert "a simulated one stands in" in ended.stdout
    assert f"{CLAIMS} of {CLAIMS} claims held" in ended.stdout
    for folder in folders:
        assert children_of(folder) == []
        folder.rmdir()  # which must be empty


def on_a_terminal(folder: Path) -> tuple[int, str]:
    """Run the demo on a terminal of its own; return its exit code and all that it has drawn."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = clean_environment(TMPDIR=str(folder), TERM="xterm-256color")
    for name in ("COLUMNS", "NO_COLOR"):
        del environment[name]
    with subprocess.Popen(
        [*pointsman_command(), "demo"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        drawn = bytearray()
        with contextlib.suppress(OSError):  # Linux's way to say that the other end has closed
            while chunk := os.read(ours, 65_536):
                drawn += chunk
        os.close(ours)
        return process.wait(timeout=MINUTE), drawn.decode()


async def test_the_demo_makes_real_containers_where_it_is_asked_to(
    programs: Programs, place: Path, dockerd: Dockerd
):
    def leftovers() -> tuple[list[Any], list[str]]:
        labelled = json.dumps({"label": ["pointsman.demo"]})
        containers = dockerd.call("GET", "/containers/json", all="1", filters=labelled)
        images = dockerd.call("GET", "/images/json")
        tags = [
            tag for image in images for tag in image.get("RepoTags") or () if tag.startswith("pointsman-demo")
        ]
        return containers, tags

    docker = {"DOCKER_HOST": dockerd.url}
    full = programs.start("demo", "--engine", "docker", "--fast", "--json", env=docker)
    stopped = programs.start("demo", "--engine", "docker", "--fast", env=docker)
    await stopped.says("Restart web", within=MINUTE)
    assert len((await asyncio.to_thread(leftovers))[0]) >= 4
    assert (await stopped.stop(within=20)).code == 128 + signal.SIGTERM
    judged(await full.ends(within=MINUTE), engine=dockerd.url)
    assert await asyncio.to_thread(leftovers) == ([], [])
    assert children_of(place) == []


async def test_ctrl_c_leaves_nothing_behind_at_whatever_moment(programs: Programs, place: Path):
    async def interrupt(number: int, moment: str) -> None:
        own = place / str(number)
        own.mkdir()
        program = programs.start("demo", "--fast", name=f"demo-{number}", env={"TMPDIR": str(own)})
        await program.says(moment, within=MINUTE)
        program.interrupt()
        ended = await program.ends(within=15)
        assert ended.code == 128 + signal.SIGINT, ended
        assert "interrupted" in ended.stdout
        assert "Traceback" not in ended.stderr
        assert children_of(own) == []
        own.rmdir()  # which must be empty

    await asyncio.gather(*(interrupt(number, moment) for number, moment in enumerate(MOMENTS)))
