"""The program as a person and a script meet it: what it prints where, and how it exits."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import redis.asyncio

from contracts.keys import Keys
from contracts.schema import asyncapi, json_schema
from tests.support.dockerd import Containers
from tests.support.host import LOOPBACK, free_port
from tests.support.processes import Finished, Program, Programs, pointsman_command
from tests.support.redis import MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually, holds
from tests.support.workers import RoomView, Workers

ESCAPE = "\x1b["
HEADINGS = ["NAME", "STATUS", "UPTIME", "RESTARTS", "FAILURES", "NEXT ATTEMPT", "CATEGORY", "PORT", "WHY"]


class Desk:
    """A room, and the program to ask it with."""

    def __init__(
        self, client: "redis.asyncio.Redis", room: str, programs: Programs, containers: Containers
    ) -> None:
        self.client = client
        self.room = room
        self.view = RoomView(client, Keys(room))
        self.programs = programs
        self.containers = containers

    async def make(self, service: str, **settings: Any) -> str:
        labels = {"pointsman.room": self.room, "pointsman.service": service} | settings.pop("labels", {})
        return await asyncio.to_thread(self.containers.run, labels=labels, network="none", **settings)

    async def run(self, *arguments: str, code: int = 0, **env: str) -> Finished:
        """Run a command; fail if it ends with another code."""
        ended = await self.programs.run(*arguments, env=env)
        assert ended.code == code, f"{arguments} ended with {ended.code}:\n{ended.stdout}\n{ended.stderr}"
        return ended

    async def data(self, *arguments: str, code: int = 0, **env: str) -> Any:
        """Run a command with --json and return what its stdout is: one JSON document, and nothing else."""
        ended = await self.run(*arguments, "--json", code=code, **env)
        assert ended.stdout.count("\n") == 1, ended.stdout
        return ended.json()

    async def error(self, *arguments: str, code: int) -> dict[str, Any]:
        """Run a command that fails with --json: stdout stays empty; return the last object on stderr."""
        ended = await self.run(*arguments, "--json", code=code)
        assert ended.stdout == ""
        found: dict[str, Any] = json.loads(ended.stderr.splitlines()[-1])["error"]
        return found


@pytest.fixture
async def desk(
    redis_server: RedisServer, containers: Containers, programs: Programs, room: str
) -> AsyncIterator[Desk]:
    programs.environment |= {
        "POINTSMAN_REDIS_URL": redis_server.url,
        "POINTSMAN_ROOM": room,
        "DOCKER_HOST": containers.dockerd.url,
    }
    async with async_client(redis_server) as client:
        yield Desk(client, room, programs, containers)


@pytest.fixture
async def staffed(desk: Desk, workers: Workers, redis_server: RedisServer) -> Desk:
    """Return a desk whose room has a worker."""
    workers.start(redis_server.url, desk.containers.dockerd.url, room=desk.room, name="w1", grace=5)
    return desk


async def test_what_a_person_sees(staffed: Desk):
    desk = staffed
    labels = {"pointsman.display-name": "Web shop", "pointsman.category": "ai", "pointsman.port": "8001"}
    await asyncio.gather(desk.make("web", labels=labels), desk.make("other"))
    await asyncio.gather(desk.view.knows("web"), desk.view.knows("other"))

    listed, of_category = await asyncio.gather(
        desk.run("service", "list"), desk.run("service", "list", "--category", "ai")
    )
    head, *rows = listed.stdout.splitlines()
    assert re.split("  +", head) == HEADINGS
    assert [row.split()[:2] for row in rows] == [["other", "running"], ["web", "running"]]
    assert [row.split()[0] for row in of_category.stdout.splitlines()[1:]] == ["web"]

    done = await desk.run("service", "restart", "web", "--reason", "new model", "--key", "deploy-1")
    assert "✓ Service 'web' restart initiated" in done.stdout
    assert "deploy-1" in done.stdout
    assert done.stderr == ""
    refused = await desk.run("service", "start", "--name", "web", code=3)
    assert "✗ Service 'web' is already running" in refused.stdout
    assert "already_running" in refused.stdout
    for _ in range(2):
        await desk.view.settled(await desk.view.add("restart", "web", issuer="ops"))

    described, commands, shown, plain, loud, helped = await asyncio.gather(
        desk.run("service", "describe", "web"),
        desk.run("command", "list"),
        desk.run("command", "show", "deploy-1"),
        desk.run("service", "list"),
        desk.run("service", "list", NO_COLOR="", FORCE_COLOR="1"),
        desk.run("service", "restart", "--help"),
    )
    page = described.stdout
    for words in (
        "web  Web shop",
        "running, enabled",
        "Restarts",
        "3, the last",
        "none since the last reset",
        "8001",
    ):
        assert words in page
    story = [re.split("  +", line) for line in page.split("MESSAGE\n", 1)[1].splitlines()]
    assert (story[0][:2], story[0][3:]) == (["Normal", "Discovered"], ["1", "Seen, running"])
    assert (story[-1][:2], story[-1][3:]) == (["Normal", "Restarted"], ["2", "Restarted, asked by ops"])
    assert ["Normal", "Restarted"] in [words[:2] for words in story if "new model" in words[-1]]
    assert ["Warning", "StartRejected"] in [words[:2] for words in story]

    rows = [row.split()[1:5] for row in commands.stdout.splitlines()[1:3]]
    assert rows == [["restart", "web", "succeeded", "200"]] * 2
    assert "before_started_at" in shown.stdout
    assert "new model" in shown.stdout
    assert ESCAPE not in plain.stdout + plain.stderr
    assert ESCAPE in loud.stdout
    for option in (
        *("--key", "--wait", "--no-wait", "--ttl", "--timeout"),
        *("--reason", "--room", "--redis-url", "--json"),
    ):
        assert option in helped.stdout


async def test_json_is_typed_as_in_events(staffed: Desk):
    desk = staffed
    container = await desk.make("web", labels={"pointsman.port": "8001"})
    await desk.view.knows("web")

    receipt = await desk.data("service", "restart", "web", "--key", "k1", "--reason", "why", "--timeout", "3")
    wanted = {
        "id": "k1", "status": "succeeded", "code": 200, "error": None, "changed": True,
        "attempt": 1, "timeout": 3, "worker": "w1", "action": "restart", "service": "web", "reason": "why",
        "recovered": None,
    }  # fmt: skip
    assert {name: receipt[name] for name in wanted} == wanted
    assert receipt["issuer"].startswith("cli:")
    assert receipt["before_container_id"] == container[:12]
    again, shown = await asyncio.gather(
        desk.data("service", "restart", "web", "--key", "k1", "--timeout", "3"),
        desk.data("command", "show", "k1"),
    )
    assert again == receipt | {"duplicates": 1}
    assert shown | {"duplicates": 0} == receipt
    nothing = await desk.data("service", "enable", "web")
    assert (nothing["status"], nothing["code"], nothing["changed"]) == ("succeeded", 200, False)

    listed, described, commands, none, rejected, unknown, conflict, checks = await asyncio.gather(
        desk.data("service", "list"),
        desk.data("service", "describe", "web"),
        desk.data("command", "list", "--service", "web", "--limit", "2"),
        desk.data("command", "list", "--service", "somebody"),
        desk.data("service", "start", "web", code=3),
        desk.data("service", "restart", "nobody", code=4),
        desk.error("service", "stop", "web", "--key", "k1", code=3),
        desk.data("doctor"),
    )
    (snapshot,) = listed["services"]
    wanted = {
        "name": "web", "status": "running", "enabled": True, "port": 8001, "restart_count": 1, "reason": None,
    }  # fmt: skip
    assert {name: snapshot[name] for name in wanted} == wanted
    assert isinstance(snapshot["uptime_seconds"], int)
    story = {one["reason"]: one for one in described.pop("events")}
    described["uptime_seconds"] = snapshot["uptime_seconds"]
    # Asked for at the same time, looked at perhaps twice: when it was looked at is no part of the state.
    assert described | {"observed_at": ""} == snapshot | {"observed_at": ""}
    assert (story["Restarted"]["type"], story["Restarted"]["count"]) == ("Normal", 1)
    assert story["Restarted"]["first_at"] == story["Restarted"]["last_at"]
    assert {one["service"] for one in commands["commands"]} == {"web"}
    assert none == {"commands": []}
    assert (rejected["status"], rejected["code"], rejected["error"]) == ("rejected", 400, "already_running")
    assert (unknown["code"], unknown["message"]) == (404, "Service 'nobody' not found")
    assert (conflict["code"], conflict["status"]) == ("idempotency_conflict", 422)
    verdicts = {check["name"]: check["status"] for check in checks["checks"]}
    del verdicts["backlog"]  # the others are at it
    assert verdicts == {
        "packages": "ok", "versions": "ok", "redis": "ok", "policy": "ok", "persistence": "warn",
        "engine": "ok", "binding": "ok", "room": "ok", "workers": "ok", "dead": "ok",
    }  # fmt: skip
    assert checks["status"] == "warn"


async def test_a_name_nobody_knows_and_words_that_make_no_sense(desk: Desk):
    unknown = [
        (("service", "describe", "nobody"), 4, "service_not_found"),
        (("service", "forget", "nobody"), 4, "service_not_found"),
        (("command", "show", "nothing"), 1, "unknown_command"),
        (("command", "cancel", "nothing"), 1, "unknown_command"),
        (("dlq", "show", "1-1"), 1, "unknown_command"),
        (("dlq", "drop", "1-1"), 1, "unknown_command"),
    ]
    errors = await asyncio.gather(*(desk.error(*words, code=code) for words, code, _ in unknown))
    assert [error["code"] for error in errors] == [error for *_, error in unknown]
    usage = [
        ("service", "restart"),
        ("service", "restart", "web", "--name", "other"),
        ("service", "restart", "web", "--wait", "1", "--no-wait"),
        ("service", "restart", "web", "--timeout", "soon"),
        ("service", "restart", "web", "--timeout", "4000"),
        ("service", "restart", "web", "--key", "1-1"),
        ("service", "restart", "we b"),
        ("service", "explode", "web"),
        ("dlq", "requeue", "1-1", "--set", "nonsense"),
        ("service", "list", "--room", "Not A Room"),
        ("service", "list", "--redis-url", "gopher://x"),
    ]
    for ended in await desk.programs.run_all(*usage):
        assert ended.code == 2, ended
        assert ended.stdout == ""
        assert ended.stderr
    reserved = await desk.run("service", "restart", "web", code=2, POINTSMAN_ISSUER="self-heal")
    assert "reserved" in reserved.stderr
    assert await desk.client.xlen(desk.view.keys.commands) == 0


async def test_options_of_all_commands_may_stand_anywhere(desk: Desk, redis_server: RedisServer):
    elsewhere = f"{desk.room}-b"
    await desk.client.hset(Keys(elsewhere).service("web"), mapping={"name": "web", "status": "stopped"})
    await desk.client.sadd(Keys(elsewhere).services, "web")
    url = ("--redis-url", redis_server.url)
    places = [
        ("--room", elsewhere, *url, "--json", "service", "list"),
        ("service", "--room", elsewhere, *url, "--json", "list"),
        ("service", "list", "--room", elsewhere, *url, "--json"),
        ("--room", "nowhere", *url, "service", "list", "--room", elsewhere, "--json"),
    ]
    for ended in await desk.programs.run_all(*places):
        assert ended.code == 0, ended.stderr
        assert [one["name"] for one in json.loads(ended.stdout)["services"]] == ["web"]
    assert (await desk.data("service", "list"))["services"] == []


async def test_without_redis(desk: Desk):
    nowhere = ("--redis-url", f"redis://{LOOPBACK}:{free_port()}/0")
    commands = [
        ("service", "list"),
        ("service", "restart", "web"),
        ("service", "restart", "web", "--no-wait"),
        ("service", "watch"),
        ("command", "list"),
        ("dlq", "list"),
        ("doctor",),
        ("worker", "check"),
    ]
    for ended in await desk.programs.run_all(*((*command, *nowhere) for command in commands)):
        assert ended.code == 5, ended


async def test_without_a_worker_nothing_is_published_but_on_purpose(desk: Desk):
    error = await desk.error("service", "restart", "web", code=6)
    assert error["code"] == "no_worker"
    assert await desk.client.exists(desk.view.keys.commands) == 0

    published = await desk.run(
        "service", "restart", "web", "--no-wait", "--key", "later", "--ttl", "60", "--json"
    )
    assert (published.json()["status"], published.json()["id"]) == ("queued", "later")  # type: ignore[index]
    assert "No worker" in published.stderr
    assert await desk.client.xlen(desk.view.keys.commands) == 1
    assert [one["id"] for one in (await desk.data("command", "list"))["commands"]] == ["later"]
    raw = await desk.view.add("restart", "web")

    canceled = await desk.data("command", "cancel", "later")
    assert (canceled["status"], canceled["code"]) == ("canceled", 410)
    assert (await desk.data("command", "cancel", raw))["status"] == "canceled"
    assert (await desk.error("command", "cancel", "later", code=3))["code"] == "cancel_refused"
    assert await desk.client.xlen(desk.view.keys.commands) == 0
    checked = await desk.data("doctor", code=6)
    assert next(one for one in checked["checks"] if one["name"] == "workers")["status"] == "fail"


async def test_a_wait_that_runs_out_and_one_that_is_given_up(staffed: Desk):
    desk = staffed
    container = await desk.make("slow", ignores_term=True)
    await desk.view.knows("slow")
    asked = ("service", "restart", "slow", "--timeout", "60", "--key", "k", "--json")
    ended = await desk.run(*asked, "--wait", "0.5", code=124)
    assert ended.json()["status"] == "running"  # type: ignore[index]
    assert json.loads(ended.stderr)["error"]["code"] == "wait_timeout"
    assert (await desk.error("command", "cancel", "k", code=3))["code"] == "cancel_refused"
    waiting = desk.programs.start("service", "stop", "slow", "--key", "behind")
    await desk.view.becomes("behind", status="queued")
    waiting.interrupt()
    given_up = await waiting.ends()
    assert given_up.code == 130
    assert "behind" in given_up.stderr
    assert (await desk.data("command", "cancel", "behind"))["status"] == "canceled"
    await asyncio.to_thread(desk.containers.dockerd.kill, container)  # which the restart was waiting for
    again = (await desk.run(*asked)).json()
    assert (again["code"], again["duplicates"]) == (200, 1)  # type: ignore[index]


async def test_dead_letters_are_listed_mended_and_dropped(staffed: Desk):
    desk = staffed
    await desk.make("web")
    await desk.view.knows("web")
    entry = await desk.view.add("explode", "web", reason="typo")
    (letter,) = await eventually(lambda: letters_of(desk), what="a dead letter")
    assert (letter["kind"], letter["entry"], letter["requeues"]) == ("malformed", entry, 0)
    dead_id = letter["dead_id"]
    assert await desk.data("dlq", "show", dead_id) == letter
    assert "explode" in (await desk.run("dlq", "show", dead_id)).stdout
    assert dead_id in (await desk.run("dlq", "list")).stdout

    assert (await desk.error("dlq", "requeue", dead_id, code=2))["code"] == "invalid_command"
    receipt = await desk.data("dlq", "requeue", dead_id, "--set", "action=restart", "--unset", "reason")
    assert (receipt["id"], receipt["requeued_from"]) == (f"{dead_id}:r1", dead_id)
    settled = await desk.view.settled(receipt["id"])
    assert (settled["code"], settled.get("reason")) == ("200", None)
    assert (await desk.data("dlq", "show", dead_id))["requeues"] == 1
    assert (await desk.data("dlq", "drop", dead_id)) == {"dropped": 1}
    assert (await desk.data("dlq", "list")) == {"dead": []}


async def letters_of(desk: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await desk.data("dlq", "list"))["dead"]
    return found


def lines(program: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in program.stdout.splitlines(keepends=True) if line.endswith("\n")]


async def test_watch_follows_the_room_line_by_line(staffed: Desk):
    desk = staffed
    await asyncio.gather(desk.make("web"), desk.make("other"))
    await asyncio.gather(desk.view.knows("web"), desk.view.knows("other"))
    everything = desk.programs.start("service", "watch", "--json", name="watch-all")
    one = desk.programs.start("service", "watch", "--name", "web", "--json", name="watch-web")
    person = desk.programs.start("service", "watch", name="watch-person")
    await asyncio.gather(*(program.says("web") for program in (everything, one, person)))
    await desk.view.settled(await desk.view.add("restart", "web"))
    last = await desk.view.settled(await desk.view.add("disable", "other"))

    def heard_all() -> bool:
        return lines(everything)[-1].get("subject") == last["id"] and "Disabled" in person.stdout

    await eventually(heard_all, within=10, what="the last event is printed")
    reset, *events = lines(everything)
    assert (reset["reset"], reset["reason"]) == (True, "start")
    assert [service["name"] for service in reset["services"]] == ["other", "web"]
    numbers = [int(event["revision"]) for event in events]
    assert numbers == list(range(reset["revision"] + 1, reset["revision"] + 1 + len(events)))
    kept = {event["id"]: event for event in await desk.view.events()}
    assert events == [kept[event["id"]] for event in events]
    alone, *its = lines(one)
    assert [service["name"] for service in alone["services"]] == ["web"]
    assert [event["type"].removeprefix("pointsman.") for event in its][-3:] == [
        "command.started",
        "service.changed",
        "command.settled",
    ]
    assert "Restarted" in person.stdout
    for program, number in ((everything, signal.SIGINT), (one, signal.SIGTERM), (person, signal.SIGINT)):
        program.signal(number)
    codes = [(await program.ends()).code for program in (everything, one, person)]
    assert codes == [130, -15, 130]
    assert "Traceback" not in everything.stderr + person.stderr


async def test_describe_and_watch_tell_the_story_of_a_service_that_fails(staffed: Desk):
    desk = staffed
    watching = desk.programs.start("service", "watch", "web", name="watch-web")
    await watching.says("No service is known yet")
    delays = {"pointsman.backoff-base": "0.2", "pointsman.backoff-max": "60", "pointsman.max-failures": "3"}
    await desk.make("web", labels=delays, exits=3)
    await desk.view.is_so("web", reason="exhausted", status="stopped", failure_count="3")
    await watching.says("Exhausted")
    page, told = await asyncio.gather(
        desk.run("service", "describe", "web"), desk.data("service", "describe", "web")
    )
    assert (told["status"], told["reason"], told["failure_count"]) == ("stopped", "exhausted", 3)
    assert (told["last_exit_code"], told["desired"]) == (3, "running")
    assert told["restart_scheduled_at"] is not None
    assert re.search(r"Failures +3", page.stdout)
    assert re.search(r"Next attempt +in (5\ds|1m)", page.stdout), page.stdout
    assert "Exhausted after 3 failures" in page.stdout
    story = told["events"]
    assert all(set(one) == {"type", "reason", "message", "count", "first_at", "last_at"} for one in story)
    keys = [(one["type"], one["reason"], one["message"]) for one in story]
    assert len(keys) == len(set(keys))
    assert [one["last_at"] for one in story] == sorted(one["last_at"] for one in story)
    (exhausted,) = [one for one in story if one["reason"] == "Exhausted"]
    assert exhausted["type"] == "Warning"
    events = await desk.view.events()
    assert [one["type"] for one in events].count("pointsman.service.exhausted") == 1
    heals = [one["subject"] for one in events if one["type"].endswith("command.settled")]
    assert len(heals) >= 2
    # A run may be over before the look that ends its heal: then nobody saw it start.
    started = sum(one["count"] for one in story if one["message"] == "Started anew by self-healing")
    assert started <= len(heals)
    assert watching.stdout.count("Started anew by self-healing") == started
    assert "Exhausted after 3 failures" in watching.stdout


async def test_watch_says_once_that_redis_is_away_and_once_that_it_is_back(
    programs: Programs, make_redis: MakeRedis, room: str
):
    server = make_redis()
    programs.environment |= {"POINTSMAN_REDIS_URL": server.url, "POINTSMAN_ROOM": room}
    person = programs.start("service", "watch", name="watch-person")
    program = programs.start("service", "watch", "--json", name="watch-json")
    both = (person, program)
    await person.says("No service is known yet")
    await program.says('"reset"')

    def said(words: str, times: int) -> bool:
        return all(one.stderr.count(words) == times for one in both)

    for times in (1, 2):
        server.kill()
        away = partial(said, "Redis does not answer", times)
        await eventually(away, within=10, what="the absence is told")
        await holds(away, during=1.5, what="it is told once, however often it is tried")
        server.restart()
        await eventually(partial(said, "Redis answers again.", times), within=15, what="the return is told")
        assert away()
    assert [json.loads(line) for line in program.stderr.splitlines()][-1] == {
        "note": {"message": "Redis answers again."}
    }
    assert all(line["reset"] for line in lines(program))
    for one in both:
        one.interrupt()
        assert (await one.ends()).code == 130


async def test_a_service_whose_container_is_gone_is_forgotten_on_request(staffed: Desk):
    desk = staffed
    container = await desk.make("web")
    await desk.view.knows("web")
    assert (await desk.error("service", "forget", "web", code=3))["code"] == "precondition_failed"
    await asyncio.to_thread(desk.containers.dockerd.remove, container)

    async def gone() -> bool:
        return (await desk.view.snapshot("web"))["status"] == "not_found"

    await eventually(gone, within=10, what="web is not found")
    assert (await desk.data("service", "restart", "web", code=4))["error"] == "service_not_found"
    last = await desk.data("service", "forget", "web")
    assert (last["name"], last["status"]) == ("web", "not_found")
    assert (await desk.data("service", "list")) == {"services": []}


async def test_schemas_are_printed(desk: Desk):
    printed = await desk.programs.run_all(("schema", "asyncapi"), ("schema", "jsonschema", "--json"))
    assert [json.loads(ended.stdout) for ended in printed] == [
        json.loads(json.dumps(document)) for document in (asyncapi(), json_schema())
    ]


async def test_a_reader_who_has_enough_is_no_error_to_shout_about(desk: Desk):
    program = desk.programs.start_command(
        ["sh", "-c", '"$@" | true', "sh", *pointsman_command(), "schema", "asyncapi"],
        name="pipe",
    )
    ended = await program.ends()
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


async def test_what_only_a_worker_needs_is_not_imported_by_others(desk: Desk):
    asked = [("service", "list"), ("service", "list", "--json"), ("command", "list", "--json")]
    runs = await asyncio.gather(*(desk.run(*words, PYTHONPROFILEIMPORTTIME="1") for words in asked))
    for arguments, ended in zip(asked, runs, strict=True):
        imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "|" in line}
        assert "subscriber.client" in imported
        heavy = ("worker", "aiodocker", "aiohttp", "pydantic_settings", "structlog", "gateway")
        assert sorted(name for name in imported if name.split(".")[0] in heavy) == []
        assert ("rich.console" in imported) == ("--json" not in arguments)
