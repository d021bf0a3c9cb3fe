"""Real containers seen and moved over HTTP, within a second, and over the death of the gateway."""

import asyncio
import json
import time
from typing import Any

import httpx

from tests.support.dockerd import Containers
from tests.support.gateway import Sent, read_events
from tests.support.host import free_port
from tests.support.processes import Program, Programs
from tests.support.redis import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import Workers

BASE = "/api/system/services"
PATH = f"{BASE}/events"


class Follower:
    """A client that reads the stream and comes back where it was."""

    def __init__(self, port: int) -> None:
        self.found: list[Sent] = []
        self._url = f"http://127.0.0.1:{port}{PATH}"
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        last: str | None = None
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            while True:
                headers = {} if last is None else {"last-event-id": last}
                try:
                    async with http.stream("GET", self._url, headers=headers) as response:
                        async for event in read_events(response):
                            if event.id is not None:
                                last = event.id
                                self.found.append(event)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    def numbers(self) -> list[int]:
        """Return the revisions so far."""
        return [int(str(event.id).rpartition("/")[2]) for event in self.found]

    def settled(self, command_id: str) -> bool:
        """Tell whether the end of a command was heard of."""
        return any(
            event.event == "pointsman.command.settled" and event.data["subject"] == command_id
            for event in self.found
        )

    async def aclose(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.wait([self._task])


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
    follower = Follower(port)
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
    numbers = follower.numbers()
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "over the gateway's death too"
    assert len([event for event in follower.found if event.event == "reset"]) == 1
    assert len(containers.dockerd.effects(container, "start")) == 3
    assert took < 2, "a second on a machine that does nothing else"
    assert (await gateway.stop(within=15)).code == 0
    assert (await worker.stop(within=15)).code == 0
