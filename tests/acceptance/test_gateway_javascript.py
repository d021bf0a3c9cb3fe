"""A producer and readers in plain JavaScript, with nothing but node: the contract is for all languages."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from contracts import fixtures
from gateway.tokens import ServicesScope, mint
from tests.support.gateway import Scene
from tests.support.needs import leave_out
from tests.support.processes import Program, Programs
from tests.support.waiting import eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "javascript"
SECRET = "a-secret-of-this-test-and-of-nothing-else"  # noqa: S105


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        leave_out("node", "apt-get install nodejs, or scripts/install-test-deps as root")
    return found


class Node:
    """Starts the examples in a scene."""

    def __init__(self, node: str, programs: Programs, scene: Scene) -> None:
        self.node, self.programs = node, programs
        self.common = ("--room", scene.room, "--redis-url", scene.redis.url)

    def start(self, name: str, *words: str) -> Program:
        command = [self.node, str(EXAMPLES / name), *words]
        return self.programs.start_command(command, name=name)

    async def produce(self, *words: str) -> tuple[int, dict[str, str]]:
        done = await self.start("producer.mjs", *words, *self.common).ends(within=30)
        return done.code, json.loads(done.stdout)


def lines(program: Program) -> list[dict[str, Any]]:
    """Return what a program has told so far."""
    return [json.loads(line) for line in program.stdout.splitlines()]


async def test_a_producer_gets_its_receipt(node: str, programs: Programs, scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    js = Node(node, programs, scene)
    code, receipt = await js.produce("restart", "rtdetr", "--id", "job-1", "--reason", "Größe: 5 €")
    assert (code, receipt["status"], receipt["issuer"]) == (0, "succeeded", "producer.mjs")
    assert receipt["reason"] == "Größe: 5 €"
    code, again = await js.produce("restart", "rtdetr", "--id", "job-1", "--reason", "Größe: 5 €")
    assert (code, again["revision"], again["duplicates"]) == (0, receipt["revision"], "1")
    code, unknown = await js.produce("restart", "nobody")
    assert (code, unknown["code"]) == (1, "404")
    assert len(scene.engine.effects("rtdetr", "start")) == 2


async def test_a_reader_misses_nothing_even_when_its_line_is_cut(
    node: str, programs: Programs, scene: Scene, make_wire: Any
):
    scene.add("a")
    scene.add("b")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "a", "b")
    wire = await make_wire(scene.redis)
    js = Node(node, programs, scene)
    reader = js.start("reader.mjs", "--room", scene.room, "--redis-url", wire.url)
    await eventually(lambda: lines(reader), within=20)
    assert lines(reader)[0]["services"] == {"a": "running", "b": "running"}
    await served.act("a", "restart")
    await eventually(lambda: any(one.get("type", "").endswith("settled") for one in lines(reader)), within=10)
    await wire.cut()
    await served.act("b", "disable")
    revision = (await served.http.get("/api/system/room")).json()["revision"]

    def told() -> list[int]:
        found = [one for one in lines(reader) if "id" in one]
        return [int(one["id"].rpartition("/")[2]) for one in found]

    await eventually(lambda: told() and told()[-1] >= revision, within=20)
    first = lines(reader)[0]["revision"] + 1
    assert told() == list(range(first, first + len(told())))
    assert len([one for one in lines(reader) if one.get("reset")]) == 1


async def test_a_reader_begins_anew_in_a_new_epoch(
    node: str, programs: Programs, scene: Scene, make_redis: Any
):
    scene.redis = make_redis()
    scene.add("a")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "a")
    reader = Node(node, programs, scene).start(
        "reader.mjs", "--room", scene.room, "--redis-url", scene.redis.url
    )
    await eventually(lambda: lines(reader), within=20)
    scene.redis.admin.flushall()

    def again() -> bool:
        resets = [one for one in lines(reader) if one.get("reset") and one["epoch"]]
        return len({one["epoch"] for one in resets}) == 2

    await eventually(again, within=30)


async def test_a_stream_is_read_through_the_gateway_with_a_token(node: str, programs: Programs, scene: Scene):
    scene.add("a")
    await scene.worker()
    served = await scene.gateway(hs256_key=SECRET)
    scope = ServicesScope(list=True, restart=("*",))
    token = mint(SECRET.encode(), subject="js", rooms=[scene.room], scope=scope, seconds=60)
    js = Node(node, programs, scene)
    to = ("--url", served.url, "--room", scene.room)
    refused = await js.start("stream.mjs", *to).ends(within=20)
    assert (refused.code, "No token" in refused.stderr) == (1, True)
    reader = js.start("stream.mjs", *to, "--token", token)
    await eventually(lambda: lines(reader), within=20)
    bearer = {"authorization": f"Bearer {token}"}

    async def restarted() -> bool:
        return (await served.act("a", "restart", headers=bearer)).status_code == 200

    await eventually(restarted, within=10)
    await eventually(lambda: any(one.get("type", "").endswith("settled") for one in lines(reader)), within=10)
    port = served.port
    await served.stop()
    other = await scene.gateway(hs256_key=SECRET, port=port)
    count = len(lines(reader))
    assert (await other.act("a", "restart", headers=bearer)).status_code in {200, 202}
    await eventually(lambda: len(lines(reader)) >= count + 3, within=20)
    told = [int(one["id"].rpartition("/")[2]) for one in lines(reader) if "id" in one]
    assert told == list(range(told[0], told[0] + len(told))), "over the restart of the gateway too"


async def test_the_fixtures_can_be_read_in_another_language(node: str, programs: Programs, tmp_path: Path):
    for fixture in fixtures.fixtures():
        (tmp_path / f"{fixture.name}.json").write_text(json.dumps(fixture.json))
    script = tmp_path / "check.mjs"
    script.write_text(
        "import fs from 'node:fs';\n"
        "for (const name of fs.readdirSync(process.argv[2]).filter((name) => name.startsWith('event-'))) {\n"
        "  const event = JSON.parse(fs.readFileSync(`${process.argv[2]}/${name}`));\n"
        "  if (event.specversion !== '1.0' || !event.type.startsWith('pointsman.')) throw new Error(name);\n"
        "  if (!event.id.startsWith(`${event.epoch}/${event.revision}`)) throw new Error(name);\n"
        "}\n"
    )
    done = await programs.start_command([node, str(script), str(tmp_path)]).ends(within=20)
    assert done.code == 0, done.stderr
