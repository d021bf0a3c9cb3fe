"""Requests that nobody would think of, made from the gateway's own document."""

import sys
from pathlib import Path

import httpx

from contracts.keys import Keys
from gateway.tokens import ServicesScope, mint
from tests.support.gateway import Scene, take
from tests.support.gateway import stream as open_stream
from tests.support.processes import Programs
from tests.support.waiting import eventually

SECRET = "a-secret-of-this-test-and-of-nothing-else"  # noqa: S105
ROOT = Path(__file__).resolve().parents[2]
#: A request of the right form is taken. It may still be refused for what stands at that moment: by 404, 409, 410
#: and 412 for the service or command, by 422 for a key that another request has used, and by 400 for a service
#: that is not as restart, start or stop need it or a dead letter that is still none: tests/support/fuzzing.py
#: checks which.
TAKEN = ["2xx", "404", "409", "410", "412", "422"]
CONFIG = f"""
[checks.positive_data_acceptance]
expected-statuses = {TAKEN}
[[operations]]
include-path-regex = "/(restart|start|stop|requeue)$"
[operations.checks.positive_data_acceptance]
expected-statuses = {[*TAKEN, "400"]}
[[operations]]
include-path-regex = "/requeue$"
parameters = {{"path.id" = "DEAD"}}
"""
STREAMS = "services/(events|.*/events)$"


async def test_every_request_of_the_documents_form_is_taken_and_none_is_a_server_error(
    scene: Scene, programs: Programs, tmp_path: Path
):
    scene.add("rtdetr", category="ai")
    await scene.worker()
    programs.environment |= {
        "POINTSMAN_REDIS_URL": scene.redis.url,
        "POINTSMAN_ROOM": scene.room,
        "POINTSMAN_GATEWAY_HS256_KEY": SECRET,
        "POINTSMAN_GATEWAY_RATE": "0",
        "POINTSMAN_GATEWAY_MAX_WAIT": "2",
    }
    gateway = programs.start("gateway", "run", "--port", "0")
    await gateway.says("Serving room", within=30)
    url = gateway.stderr.partition(" at ")[2].partition('"')[0]
    everything = ServicesScope(
        list=True,
        restart=("*",),
        start=("*",),
        stop=("*",),
        enable=("*",),
        disable=("*",),
        dead_letters=True,
    )
    token = mint(SECRET.encode(), subject="fuzz", rooms=["*"], scope=everything, seconds=600)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:

        async def listed() -> bool:
            return (await http.get("/api/system/services/rtdetr")).status_code == 200

        await eventually(listed, within=20)
        scene.redis.admin.xadd(
            Keys(scene.room).commands, {"action": "restart", "service": "rtdetr", "timeout": "ten"}
        )

        async def buried() -> str:
            dead = (await http.get("/api/system/dlq")).json()["dead"]
            return str(dead[0]["dead_id"]) if dead else ""

        dead = await eventually(buried, within=10)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.replace("DEAD", dead))
    fuzz = programs.start_command(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(config),
            "run",
            f"{url}/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
            "--exclude-path-regex",
            STREAMS,
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "4",
            "--request-timeout",
            "20",
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
        ],
        env={"SCHEMATHESIS_HOOKS": "tests.support.fuzzing", "PYTHONPATH": str(ROOT)},
    )
    done = await fuzz.ends(within=150)
    assert done.code == 0, done.stdout[-6000:]
    assert '"defect"' not in gateway.stderr
    assert (await gateway.stop(within=15)).code == 0


async def test_odd_positions_open_a_stream_all_the_same(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    odd = ("", "0", "/", "//1", "a/b/c", "1/-1", "1/1e5", "x" * 3000, "None/0", "/" + "9" * 18)
    for last in odd:
        async with open_stream(served, last=last) as events:
            (event,) = await take(events, 1)
            assert event.event == "reset", last
