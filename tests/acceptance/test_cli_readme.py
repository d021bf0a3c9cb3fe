"""What the README shows a newcomer works as it stands there."""

import asyncio
import json
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.keys import Keys
from tests.support.dockerd import Containers
from tests.support.needs import leave_out
from tests.support.processes import Programs
from tests.support.redis import RedisServer, async_client, redis_binary
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers
from worker.core.labels import ServiceLabels

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"<!-- (?P<title>[^>]+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)
BLOCKS = {match["title"].strip(): match["text"] for match in BLOCK.finditer(README)}


def commands(title: str) -> list[list[str]]:
    """Return the command lines of a block, as words, without their comments."""
    return [words for line in BLOCKS[title].splitlines() if (words := shlex.split(line, comments=True))]


def redis_cli() -> str:
    """Find redis-cli beside the server that tests use, or on PATH."""
    for version in ("7", "6.2"):
        server = redis_binary(version)
        beside = Path(server).resolve().with_name("redis-cli") if server else None
        if beside is not None and beside.exists():
            return str(beside)
    found = shutil.which("redis-cli")
    return found or leave_out("redis-cli")


def test_the_examples_stand_in_the_readme_as_they_are():
    for name in ("examples/producer.py", "examples/reader.py"):
        assert BLOCKS[name] == (ROOT / name).read_text()


def test_the_labels_are_labels():
    labels = dict(
        re.findall(r'^ +(pointsman\.[a-z-]+): "?([^"#\n]*?)"?(?: +#.*)?$', BLOCKS["labels"], re.MULTILINE)
    )
    assert len(labels) > 8
    read = ServiceLabels.parse(labels)
    assert read.problems == ()
    assert (read.category, read.port, read.stop_timeout, read.protected) == ("ai", 8001, 20, True)
    assert (str(read.probe), read.depends_on) == ("http://:8001/health", ("redis",))


@pytest.fixture
async def view(
    redis_server: RedisServer, containers: Containers, workers: Workers, programs: Programs
) -> AsyncIterator[RoomView]:
    """Give the room `default` as the README has it: a service `rtdetr`, and a worker."""
    labels = {"pointsman.service": "rtdetr"}
    await asyncio.to_thread(containers.run, labels=labels, network="none")
    workers.start(redis_server.url, containers.dockerd.url)
    programs.environment |= {
        "POINTSMAN_REDIS_URL": redis_server.url,
        "DOCKER_HOST": containers.dockerd.url,
        "PYTHONPATH": str(ROOT),
    }
    async with async_client(redis_server) as client:
        made = RoomView(client, Keys())
        await made.knows("rtdetr")
        yield made


async def test_the_python_examples(view: RoomView, programs: Programs):
    reader = programs.start_command([sys.executable, str(ROOT / "examples" / "reader.py")])
    await reader.says("now: {")
    assert "'rtdetr': 'running'" in reader.stdout
    for _ in range(2):  # the second time it is the same command
        producer = programs.start_command([sys.executable, str(ROOT / "examples" / "producer.py")])
        assert (await producer.ends()).stdout == "succeeded 200 Service 'rtdetr' restart initiated\n"
    await reader.says("pointsman.command.settled deploy-42")
    told = [
        line.split()[1] for line in reader.stdout.splitlines()[1:] if "rtdetr" in line or "deploy-42" in line
    ]
    assert told == ["pointsman.command.started", "pointsman.service.changed", "pointsman.command.settled"]


async def test_the_redis_cli_lines(view: RoomView, programs: Programs, redis_server: RedisServer):
    add, receipt, snapshot, subscribe = commands("run: redis-cli")

    def run(words: list[str]) -> list[str]:
        assert words[0] == "redis-cli"
        return [redis_cli(), "-p", str(redis_server.port), *words[1:]]

    listener = programs.start_command(run(subscribe))
    await listener.says("subscribe")
    assert re.fullmatch(r"\d+-\d+\n", (await programs.start_command(run(add)).ends()).stdout)

    async def is_settled() -> bool:
        lines = (await programs.start_command(run(receipt)).ends()).stdout.splitlines()
        fields = dict(zip(lines[::2], lines[1::2], strict=True))
        return (fields.get("status"), fields.get("code")) == ("succeeded", "200")

    await eventually(is_settled, within=15, what="the receipt says succeeded")
    lines = (await programs.start_command(run(snapshot)).ends()).stdout.splitlines()
    assert dict(zip(lines[::2], lines[1::2], strict=True))["restart_count"] == "1"
    await listener.says("pointsman.command.settled")
    heard = [json.loads(line) for line in listener.stdout.splitlines() if line.startswith("{")]
    assert {event["specversion"] for event in heard} == {"1.0"}


async def test_the_command_lines(view: RoomView, programs: Programs):
    lines = commands("run: pointsman")
    assert len(lines) >= 8
    assert {words[0] for words in lines} == {"pointsman"}
    asking = [words[1:] for words in lines if {"restart", "stop", "start"} & set(words)]
    assert len(asking) == 3
    for words in asking:
        ended = await programs.run(*words)
        assert ended.code == 0, (words, ended)
    looking = [words[1:] for words in lines if words[1:] not in asking]
    named = re.findall(r"`pointsman ((?:[a-z]+ ?)+)`", README)
    assert named
    others = [*looking, *([*name.split(), "--help"] for name in sorted(set(named)))]
    for words, ended in zip(others, await programs.run_all(*others), strict=True):
        assert ended.code == 0, (words, ended)
