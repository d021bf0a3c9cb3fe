"""The real gateway, the documented examples word for word, tokens and the room's command line."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.settings import GatewaySettings
from gateway.tokens import Keyring
from tests.support.gateway import Scene
from tests.support.host import free_port
from tests.support.needs import leave_out
from tests.support.processes import Finished, Program, Programs
from tests.support.usage import CALL, CURL, JAVASCRIPT, PAGE, PYTHON, outcome, port_is_free
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(scene: Scene, programs: Programs) -> AsyncIterator[Program]:
    """Give the real gateway on its own port, 8000, before a room with two services."""
    await eventually(port_is_free, within=60, what="port 8000 is free")
    scene.add("rtdetr", category="ai", display="RT-DETR Object Detection")
    scene.add("nemotron", category="ai", display="Nemotron LLM", running=False)
    await scene.worker()
    programs.environment |= {"POINTSMAN_REDIS_URL": scene.redis.url, "POINTSMAN_ROOM": scene.room}
    program = programs.start("gateway", "run")
    await program.says("serving", within=30)
    async with httpx.AsyncClient(base_url="http://localhost:8000", trust_env=False) as http:

        async def listed() -> bool:
            response = await http.get("/api/system/services")
            return response.status_code == 200 and len(response.json()["services"]) == 2

        await eventually(listed, within=20)
    yield program
    assert (await program.stop(within=15)).code == 0


async def test_the_python_example_runs_unchanged(gateway: Program, capsys: pytest.CaptureFixture[str]):
    space: dict[str, Any] = {}
    exec(PYTHON, space)  # noqa: S102 -- the example above
    summary = await asyncio.to_thread(space["check_ai_services"])
    assert summary == {"total": 2, "healthy": 1, "unhealthy": 1}
    assert capsys.readouterr().out == "Unhealthy AI services: ['nemotron']\n  - Nemotron LLM: stopped\n"


async def test_the_javascript_example_runs_unchanged(gateway: Program, scene: Scene, tmp_path: Path):
    node = shutil.which("node")
    if node is None:
        leave_out("node", "apt-get install nodejs, or scripts/install-test-deps as root")
    script = tmp_path / "example.js"
    script.write_text(PAGE + JAVASCRIPT + CALL)
    done = await outcome(node, str(script), "rtdetr")
    message, service = done.stdout.splitlines()
    assert message == "Service 'rtdetr' restart initiated", done
    assert (json.loads(service)["name"], json.loads(service)["restart_count"]) == ("rtdetr", 1)
    failed = await outcome(node, str(script), "nobody")
    assert failed.returncode == 9
    assert "Error: Service 'nobody' not found" in failed.stderr
    assert len(scene.engine.effects("rtdetr", "start")) == 2


async def test_the_curl_example_runs_unchanged(gateway: Program):
    commands = [line for line in CURL.splitlines() if line.startswith("curl")]
    answers = [await outcome("sh", "-c", command) for command in commands]
    disabled, enabled = (json.loads(answer.stdout) for answer in answers)
    assert (disabled["message"], disabled["service"]["status"]) == ("Service 'nemotron' disabled", "disabled")
    assert disabled["service"]["enabled"] is False
    assert (enabled["message"], enabled["service"]["enabled"]) == ("Service 'nemotron' enabled", True)
    assert enabled["service"]["failure_count"] == 0


async def test_it_says_at_start_whom_it_serves(scene: Scene, programs: Programs):
    programs.environment |= {"POINTSMAN_REDIS_URL": scene.redis.url}
    port = str(free_port())
    open_one = programs.start("gateway", "run", "--port", port)
    await open_one.says(f"http://127.0.0.1:{port}", within=30)
    await open_one.says("only loopback is served")
    taken, anywhere, unknown, bad = await asyncio.gather(
        programs.run("gateway", "run", "--port", port),
        programs.run("gateway", "run", "--port", "0", "--host", "0.0.0.0"),
        programs.run("gateway", "run", "--port", "0", "--host", "no.such.name.invalid"),
        programs.run("gateway", "run", env={"POINTSMAN_GATEWAY_HS256_KEY": "short"}),
    )
    for refused, words in ((taken, "in use"), (anywhere, "only loopback"), (unknown, "no key"), (bad, "32")):
        assert (refused.code, words in refused.stderr) == (2, True)
    assert (await open_one.stop()).code == 0
    with_key = programs.start(
        "gateway", "run", "--port", "0", "--host", "0.0.0.0", env={"POINTSMAN_GATEWAY_HS256_KEY": "k" * 40}
    )
    await with_key.says("Serving room", within=30)
    assert "only loopback" not in with_key.stderr
    assert (await with_key.stop()).code == 0


async def test_a_minted_token_opens_what_it_says(scene: Scene, programs: Programs, tmp_path: Path):
    scene.add("rtdetr")
    await scene.worker()
    secret = tmp_path / "secret"
    secret.write_text("a secret of at least thirty-two bytes\n")
    programs.environment |= {"POINTSMAN_REDIS_URL": scene.redis.url, "POINTSMAN_ROOM": scene.room}
    keyed = {"POINTSMAN_GATEWAY_HS256_KEY_FILE": str(secret)}
    gateway = programs.start("gateway", "run", "--port", "0", env=keyed)
    await gateway.says("serving", within=30)
    port = next(json.loads(line)["port"] for line in gateway.stderr.splitlines() if '"serving"' in line)

    async def minted(*options: str) -> Finished:
        return await programs.run("token", "create", "--subject", "alice", *options, env=keyed)

    made = await minted("--list", "--restart", "rt*")
    assert made.code == 0
    assert made.stdout.count(".") == 2
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        assert (await http.get("/api/system/services")).status_code == 401

        async def listed() -> bool:
            return (await http.get("/api/system/services/rtdetr", headers=headers)).status_code == 200

        await eventually(listed, within=20)
        assert (await http.post("/api/system/services/rtdetr/restart", headers=headers)).status_code == 200
        refused = await http.post("/api/system/services/rtdetr/stop", headers=headers)
        assert (refused.status_code, refused.json()["missing"]) == (403, "services.stop:rtdetr")
    url = f"http://127.0.0.1:{port}"
    listing = await programs.run(
        "room", "service", "list", "--gateway", url, "--token", made.stdout.strip(), "--output", "json"
    )
    assert [one["id"] for one in json.loads(listing.stdout)["services"]] == ["rtdetr"]
    refusals = await asyncio.gather(
        minted(),
        minted("--full", "--key-file", str(tmp_path / "nowhere")),
        programs.run("token", "create", "--subject", "alice", "--full"),
        programs.run("token", "create", "--subject", "self-heal", "--full", env=keyed),
    )
    assert [refused.code for refused in refusals] == [2, 2, 2, 2]
    full = json.loads((await minted("--full", "--json")).stdout)
    assert full["services"]["dead_letters"] is True
    assert (await gateway.stop()).code == 0


async def test_a_pair_of_keys_makes_tokens_that_the_public_one_checks(programs: Programs, tmp_path: Path):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        ("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)),
        ("openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)),
    ):
        made = await outcome(*command)
        assert made.returncode == 0, made
    minted = await programs.run("token", "create", "--subject", "bob", "--full", "--key-file", str(private))
    caller = Keyring.of(GatewaySettings(eddsa_key_file=public)).check(f"Bearer {minted.stdout.strip()}")
    assert (caller.issuer, caller.enters("default"), caller.enters("other")) == ("bob", True, False)


async def test_the_rooms_command_line_answers_as_documented(scene: Scene, programs: Programs):
    scene.add("my-service", image="org/mine:1")
    await scene.worker()
    programs.environment |= {"POINTSMAN_REDIS_URL": scene.redis.url}
    room = ("--room", scene.room)
    restarted = await programs.run("room", "service", "restart", *room, "--name", "my-service")
    assert (restarted.code, restarted.stdout) == (0, "Service 'my-service' restart initiated\n")
    listed = await programs.run("room", "service", "list", *room)
    head, row = listed.stdout.splitlines()
    assert head.split() == ["id", "name", "image", "state", "restarts"]
    assert row.split() == ["my-service", "my-service", "org/mine:1", "running", "1"]
    asked = ("room", "service", "list", *room)
    for done in await programs.run_all((*asked, "--output", "json"), (*asked, "--json")):
        found = json.loads(done.stdout)
        assert [one["metadata"]["name"] for one in found["services"]] == ["my-service"]
        assert found["service_states"]["my-service"]["restart_count"] == 1
    restart = ("room", "service", "restart", *room)
    again, unknown, nobody, unnamed, help_ = await programs.run_all(
        (*restart, "--name", "my-service", "--output", "json"),
        (*restart, "--name", "nobody"),
        ("room", "service", "restart", "--room", "empty", "--name", "x"),
        restart,
        ("room", "service", "--help"),
    )
    assert json.loads(again.stdout)["status"] == "succeeded"
    assert (unknown.code, "not found" in unknown.stderr) == (4, True)
    assert (nobody.code, unnamed.code, help_.code) == (6, 2, 0)
    assert (await programs.run("service", "disable", "my-service", *room)).code == 0
    refused = await programs.run(*restart, "my-service")
    assert (refused.code, "Enable it first" in refused.stderr) == (3, True)
