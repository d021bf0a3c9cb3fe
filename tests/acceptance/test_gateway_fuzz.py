"""Requests that nobody would think of, made from the gateway's own document."""

import sys
from pathlib import Path

import httpx

from gateway.tokens import ServicesScope, mint
from tests.support.gateway import Scene, take
from tests.support.gateway import stream as open_stream
from tests.support.processes import Programs
from tests.support.waiting import eventually

SECRET = "a-secret-of-this-test-and-of-nothing-else"  # noqa: S105
#: All that schemathesis checks but one: that a request of the right form is never refused. Services are
#: disabled, running already, or not there.
LEFT_OUT = "positive_data_acceptance"
STREAMS = "services/(events|.*/events)$"


async def test_no_request_made_from_the_document_is_a_server_error(scene: Scene, programs: Programs):
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
    fuzz = programs.start_command(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{url}/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
            "--exclude-checks",
            LEFT_OUT,
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
        ]
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
