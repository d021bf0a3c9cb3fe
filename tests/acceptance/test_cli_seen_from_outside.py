"""Two real workers on a real Redis and engine, asked with XADD, judged by HGETALL, SUBSCRIBE and docker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio

from contracts.keys import Keys
from tests.support.dockerd import Containers
from tests.support.processes import Program
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers

#: The settings of this file's workers: a stop grace that tests can wait for.
SETTINGS = {"grace": 5}


class Scene:
    """One room with two workers, and containers in it."""

    def __init__(self, client: "redis.asyncio.Redis", room: str, containers: Containers) -> None:
        self.client = client
        self.room = room
        self.view = RoomView(client, Keys(room))
        self.containers = containers
        self.workers: list[Program] = []

    async def make(self, service: str, **settings: Any) -> str:
        labels = {"pointsman.room": self.room, "pointsman.service": service} | settings.pop("labels", {})
        return await asyncio.to_thread(self.containers.run, labels=labels, network="none", **settings)

    async def started_at(self, container: str) -> str:
        found = await asyncio.to_thread(self.containers.dockerd.inspect, container)
        return str(found["State"]["StartedAt"])

    async def effects(self, container: str) -> list[str]:
        return [one.kind for one in await asyncio.to_thread(self.containers.dockerd.effects, container)]

    async def is_leaving(self, container: str) -> bool:
        """Say whether the process of a container with `slow_term` has been asked to leave, and is at it."""
        told = await asyncio.to_thread(self.containers.dockerd.call, "GET", f"/containers/{container}/top")
        return any("sleep 3.0" in " ".join(process) for process in told["Processes"])

    async def done(self, action: str, service: str, **fields: object) -> dict[str, str]:
        """Add a command, wait for its end, return its receipt."""
        entry = await self.view.add(action, service, **fields)
        return await self.view.settled(str(fields.get("id", entry)))

    async def is_settled_in(self) -> bool:
        """Say whether all has been told that comes with the beginning."""
        told = [event["type"] for event in await self.view.events()]
        return told.count("pointsman.worker.joined") == 2 and "pointsman.engine.available" in told

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Subscribe, and gather what is heard from then on, but for heartbeats and workers' affairs."""
        heard: list[dict[str, Any]] = []
        channel = self.client.pubsub()
        await channel.subscribe(self.view.keys.events)
        confirmation = await channel.get_message(timeout=5)
        assert confirmation is not None
        assert confirmation["type"] == "subscribe"

        async def hear() -> None:
            async for message in channel.listen():
                event = json.loads(message["data"])
                if event["type"].split(".")[1] in {"service", "command"}:
                    heard.append(event)

        task = asyncio.create_task(hear())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await channel.aclose()


@pytest.fixture
async def scene(
    redis_server: RedisServer, containers: Containers, workers: Workers, room: str
) -> AsyncIterator[Scene]:
    async with async_client(redis_server) as client:
        made = Scene(client, room, containers)
        for name in ("w1", "w2"):
            made.workers.append(
                workers.start(redis_server.url, containers.dockerd.url, room=room, name=name, **SETTINGS)
            )
        await eventually(made.is_settled_in, within=15, what="both workers serve, and the engine answers")
        yield made


async def heard_end(heard: list[dict[str, Any]], command: str) -> list[dict[str, Any]]:
    """Wait until the end of a command was heard; return what was heard of it, consecutive and in order."""

    def ended() -> bool:
        return any(one["subject"] == command and one["type"].endswith(".settled") for one in heard)

    await eventually(ended, within=10, what=f"the end of {command} is heard")
    of_it = [
        one
        for one in heard
        if one["subject"] == command or (one["data"].get("cause") or {}).get("command_id") == command
    ]
    revisions = [int(one["revision"]) for one in of_it]
    assert revisions == list(range(revisions[0], revisions[0] + len(of_it))), revisions
    return of_it


def types(events: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("pointsman.") for one in events]


def as_hash(values: dict[str, Any]) -> dict[str, str]:
    """Write typed values as Redis holds them."""
    flags = {True: "1", False: "0"}
    return {
        name: flags[value] if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


async def test_every_action_as_seen_from_outside(scene: Scene):
    container = await scene.make("web")
    view = scene.view
    # A worker may see the container between its creation and its start.
    await view.is_so("web", status="running")
    born = await scene.started_at(container)

    async with scene.listening() as heard:
        # restart: one start, evidence, one changed
        command = await view.add("restart", "web")
        receipt = await view.settled(command)
        told = await heard_end(heard, command)
        assert types(told) == ["command.started", "service.changed", "command.settled"]
        started = await scene.started_at(container)
        assert started != born
        assert {name: receipt.get(name) for name in ("status", "code", "error", "message", "changed")} == {
            "status": "succeeded",
            "code": "200",
            "error": None,
            "message": "Service 'web' restart initiated",
            "changed": "1",
        }
        assert receipt["before_container_id"] == receipt["after_container_id"] == container[:12]
        assert (receipt["before_started_at"], receipt["after_started_at"]) == (born, started)
        assert receipt["attempt"] == "1"
        assert receipt["worker"] in {"w1", "w2"}
        assert receipt["called_at"] <= receipt["finished_at"]
        assert as_hash(told[-1]["data"]["command"]) == {
            name: value
            for name, value in (await view.receipt(command)).items()
            if name in told[-1]["data"]["command"]
        }
        snapshot = await view.snapshot("web")
        assert (snapshot["restart_count"], snapshot["last_restart_at"]) == ("1", started)
        assert (snapshot["status"], snapshot["started_at"], snapshot["revision"]) == (
            "running",
            started,
            told[1]["revision"],
        )
        assert as_hash(told[1]["data"]["service"]) | {"observed_at": ""} == snapshot | {"observed_at": ""}
        assert told[1]["data"]["cause"]["kind"] == "command"
        assert told[1]["data"]["previous_status"] == "running"

        # stop and start: one more changed each, for `desired`
        for action, status, desired in (("stop", "stopped", "stopped"), ("start", "running", "running")):
            command = await view.add(action, "web")
            receipt = await view.settled(command)
            told = await heard_end(heard, command)
            assert types(told) == ["command.started", "service.changed", "service.changed", "command.settled"]
            assert (receipt["code"], receipt["message"]) == ("200", f"Service 'web' {action} initiated")
            assert told[1]["data"]["changed"] == ["desired"]
            snapshot = await view.snapshot("web")
            assert (snapshot["status"], snapshot["desired"]) == (status, desired)

        # disable and enable: the engine is not called, what is observed stays visible
        for action, status, enabled in (("disable", "disabled", "0"), ("enable", "running", "1")):
            command = await view.add(action, "web")
            receipt = await view.settled(command)
            told = await heard_end(heard, command)
            assert types(told) == ["command.started", "service.changed", "command.settled"]
            assert (receipt["code"], receipt["message"]) == ("200", f"Service 'web' {action}d")
            snapshot = await view.snapshot("web")
            assert (snapshot["status"], snapshot["enabled"], snapshot["container_state"]) == (
                status,
                enabled,
                "running",
            )

        # the channel and `changes` tell the same
        kept = {event["id"]: event for event in await view.events()}
        assert all(kept[one["id"]] == one for one in heard)

    assert await scene.effects(container) == ["start", "die", "start", "die", "start"]
    await view.rests()


async def test_every_guard_has_its_code_and_its_message(scene: Scene):
    made = {
        "runs": await scene.make("runs"),
        "rests": await scene.make("rests"),
        "off": await scene.make("off"),
        "kept": await scene.make("kept", labels={"pointsman.protected": "true"}),
        "picky": await scene.make("picky", labels={"pointsman.actions": "stop,start"}),
    }
    twins = [await scene.make("twin"), await scene.make("twin")]
    view = scene.view
    await asyncio.gather(*(view.knows(name) for name in (*made, "twin")))
    await scene.done("stop", "rests")
    await scene.done("disable", "off")
    before = {name: await scene.effects(container) for name, container in made.items()}

    cases: list[tuple[str, str, dict[str, str], str, str, str]] = [
        ("restart", "nobody", {}, "404", "service_not_found", "Service 'nobody' not found"),
        ("enable", "nobody", {}, "404", "service_not_found", "Service 'nobody' not found"),
        ("start", "runs", {}, "400", "already_running", "Service 'runs' is already running"),
        ("stop", "rests", {}, "400", "already_stopped", "Service 'rests' is already stopped"),
        ("restart", "off", {}, "400", "service_disabled", "Service 'off' is disabled. Enable it first."),
        ("restart", "kept", {}, "403", "protected_service", ""),
        ("stop", "kept", {}, "403", "protected_service", ""),
        ("restart", "picky", {}, "403", "action_not_allowed", ""),
        ("restart", "runs", {"expect_container_id": "0" * 12}, "412", "precondition_failed", ""),
        (
            "restart",
            "runs",
            {"expect_started_at": "2020-01-01T00:00:00Z"},
            "412",
            "precondition_failed",
            "",
        ),
    ]
    receipts = await asyncio.gather(
        *(scene.done(action, service, **fields) for action, service, fields, *_ in cases),
        scene.done("restart", "twin"),
    )
    *receipts, ambiguous = receipts
    for (action, service, _, code, error, message), receipt in zip(cases, receipts, strict=True):
        found = (receipt["status"], receipt["code"], receipt["error"])
        assert found == ("rejected", code, error), (action, service, receipt)
        assert service in receipt["message"]
        assert not message or receipt["message"] == message
        assert "called_at" not in receipt, receipt
        assert await view.told(receipt["id"]) == ["command.settled"]
    assert (ambiguous["status"], ambiguous["code"], ambiguous["error"]) == (
        "rejected",
        "409",
        "ambiguous_service",
    )
    assert all(container[:12] in ambiguous["message"] for container in twins), ambiguous["message"]
    assert {name: await scene.effects(container) for name, container in made.items()} == before

    # What is so, but was not wanted so, is taken over without a call; a disabled service may be stopped.
    await asyncio.to_thread(scene.containers.dockerd.start, made["rests"])
    running = await scene.done("start", "rests")
    assert (running["code"], running["changed"], running.get("called_at")) == ("200", "1", None)
    assert (await view.snapshot("rests"))["desired"] == "running"
    stopped = await scene.done("stop", "off")
    assert (stopped["code"], stopped["message"]) == ("200", "Service 'off' stop initiated")
    assert (await view.snapshot("off"))["status"] == "disabled"


async def test_the_same_id_again_does_nothing_and_another_command_under_it_is_refused(scene: Scene):
    container = await scene.make("web")
    view = scene.view
    await view.knows("web")
    first = await scene.done("restart", "web", id="deploy-1")
    assert first["code"] == "200"
    started = await scene.started_at(container)
    revision = await scene.client.hget(view.keys.meta, "revision")

    await view.add("restart", "web", id="deploy-1", reason="again", issuer="somebody else")
    await view.becomes("deploy-1", duplicates="1")
    assert await view.receipt("deploy-1") | {"duplicates": "0"} == first | {"duplicates": "0"}
    assert await scene.client.hget(view.keys.meta, "revision") == revision

    other = await view.add("stop", "web", id="deploy-1")
    refused = await view.settled(other)
    assert (refused["status"], refused["code"], refused["error"]) == (
        "rejected",
        "422",
        "idempotency_conflict",
    )
    assert (await view.receipt("deploy-1"))["duplicates"] == "1"
    assert await scene.started_at(container) == started
    assert await scene.effects(container) == ["start", "die", "start"]
    (letter,) = [fields for _, fields in await scene.client.xrange(view.keys.dead)]
    assert (letter["kind"], letter["entry"]) == ("conflict", other)
    await view.rests()


GARBAGE: list[tuple[list[bytes], str]] = [
    ([b"action", b"explode", b"service", b"web"], "action"),
    ([b"service", b"web"], "action"),
    ([b"action", b"restart"], "service"),
    ([b"nonsense", b"x"], "action"),
    ([b"action", b"restart", b"service", b"web", b"action", b"restart"], "action"),
    ([b"action", b"restart", b"service", b"../etc"], "service"),
    ([b"action", b"restart", b"service", b"web", b"id", b""], "id"),
    ([b"action", b"restart", b"service", b"web", b"id", b"1-1"], "id"),
    ([b"action", b"restart", b"service", b"web", b"timeout", b"soon"], "timeout"),
    ([b"action", b"restart", b"service", b"web", b"expires_at", b"tomorrow"], "expires_at"),
    ([b"action", b"restart", b"service", b"web", b"v", b"2"], "v"),
    ([b"action", b"restart", b"service", b"web", b"reason", b"\xff\xfe"], "reason"),
    ([b"action", b"restart", b"service", b"web", b"x", b"y" * 16_384], "16384"),
]


async def test_garbage_lands_in_dead_with_its_reason_and_the_next_command_still_runs(scene: Scene):
    container = await scene.make("web")
    view = scene.view
    await view.knows("web")
    entries = [
        await scene.client.execute_command("XADD", view.keys.commands, "*", *words) for words, _ in GARBAGE
    ]
    assert (await scene.done("restart", "web"))["code"] == "200"
    letters = {fields["entry"]: fields for _, fields in await scene.client.xrange(view.keys.dead)}
    assert set(letters) == set(entries)
    for entry, (words, about) in zip(entries, GARBAGE, strict=True):
        letter, receipt = letters[entry], await view.receipt(entry)
        assert (letter["kind"], letter["error"]) == ("malformed", "invalid_command")
        assert about in letter["detail"], (words, letter["detail"])
        assert (receipt["status"], receipt["code"], receipt["error"]) == ("dead", "400", "invalid_command")
    assert await scene.effects(container) == ["start", "die", "start"]
    await view.rests()


async def test_one_of_two_workers_is_killed_and_the_other_finishes_the_restart_once(scene: Scene):
    container = await scene.make("slow", slow_term=3.0, stop_timeout=8)
    view = scene.view
    await view.is_so("slow", status="running", desired="running")  # a first look may fall before its start
    command = await view.add("restart", "slow")
    receipt = await view.becomes(command, status="running")
    await eventually(lambda: scene.is_leaving(container), what="the engine has begun to stop it")
    victim = scene.workers[int(receipt["worker"][1]) - 1]
    victim.kill()
    receipt = await view.settled(command)
    assert (receipt["status"], receipt["code"], receipt["attempt"]) == ("succeeded", "200", "2")
    assert receipt["recovered"] == "1"
    assert receipt["worker"] != {0: "w1", 1: "w2"}[scene.workers.index(victim)]
    assert await scene.effects(container) == ["start", "die", "start"]
    assert await view.told(command) == ["command.started", "service.changed", "command.settled"]
    survivor = next(worker for worker in scene.workers if worker is not victim)
    ended = await survivor.stop(within=15)
    assert ended.code == 0, ended.stderr
