"""Real containers seen and moved over HTTP, within a second, and over the death of the gateway."""

import json
import time
from typing import Any

import httpx

from tests.support.dockerd import Containers
from tests.support.gateway import Follower
from tests.support.host import free_port
from tests.support.processes import Program, Programs
from tests.support.redis import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import Workers

BASE = "/api/system/services"


async def test_what_happens_to_a_container_is_seen_within_a_second_and_never_twice(
    redis_server: RedisServer, room: str, containers: Containers, workers: Workers, programs: Programs
):
    container = containers.run(labels={"pointsman.room": room, "pointsman.service": "rtdetr"})
    worker = workers.start(redis_server.url, containers.dockerd.url, room=room, POINTSMAN_SELF_HEAL="false")
    await worker.says("serving", within=30)
    port = free_port()

    async def start() -> Program:
        environment = {"POINTSMAN_REDIS_URL": redis_server.url, "POINTSMAN_ROOM": room}
        program = programs.start("gateway", "run", "--port", str(port), env=environment)
        await program.says('"serving"', within=30)
        return program

    gateway = await start()
    follower = Follower(f"http://127.0.0.1:{port}")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:

        async def listed(**fields: Any) -> bool:
            response = await http.get(BASE)
            if response.status_code != 200:
                raise AssertionError(response.text)
            services = {service["name"]: service for service in response.json()["services"]}
            return "rtdetr" in services and services["rtdetr"] | fields == services["rtdetr"]

        await eventually(lambda: listed(status="running", container_id=container[:12]), within=20)
        restarted = await http.post(f"{BASE}/rtdetr/restart", headers={"idempotency-key": "r1"})
        assert (restarted.status_code, restarted.json()["service"]["restart_count"]) == (200, 1)
        assert len(containers.dockerd.effects(container, "start")) == 2

        began = time.monotonic()
        containers.dockerd.kill(container)
        await eventually(lambda: listed(status="stopped", uptime_seconds=None), within=10)
        took = time.monotonic() - began
        started = await http.post(f"{BASE}/rtdetr/start")
        assert (started.status_code, started.json()["service"]["status"]) == (200, "running")

        gateway.kill()
        elsewhere = await programs.run(
            "service", "disable", "rtdetr", "--room", room, "--redis-url", redis_server.url, "--json"
        )
        assert json.loads(elsewhere.stdout)["status"] == "succeeded"
        gateway = await start()
        await eventually(lambda: listed(status="disabled", enabled=False), within=10)
        again = await http.post(f"{BASE}/rtdetr/restart", headers={"idempotency-key": "r1"})
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        enabled = await http.post(f"{BASE}/rtdetr/enable")
        last = enabled.headers["pointsman-command"]
        await eventually(lambda: follower.settled(last), within=10)
    await follower.aclose()
    numbers = follower.revisions
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "over the gateway's death too"
    assert follower.resets == 1
    assert len(containers.dockerd.effects(container, "start")) == 3
    assert took < 2, "a second on a machine that does nothing else"
    assert (await gateway.stop(within=15)).code == 0
    assert (await worker.stop(within=15)).code == 0
