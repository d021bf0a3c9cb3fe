"""A worker as a program: where it refuses to serve, how it leaves, what `worker check` says beforehand."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.keys import Keys
from tests.support.dockerd import Containers
from tests.support.host import LOOPBACK, free_port
from tests.support.processes import Programs
from tests.support.redis import MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers

OTHER = "OTHE:RENG:INE0"


@pytest.fixture
async def view(redis_server: RedisServer, room: str) -> AsyncIterator[RoomView]:
    async with async_client(redis_server) as client:
        yield RoomView(client, Keys(room))


@pytest.fixture
def here(programs: Programs, containers: Containers, redis_server: RedisServer, room: str) -> Programs:
    """Return the starter of programs, its environment set for the room."""
    programs.environment |= {
        "POINTSMAN_REDIS_URL": redis_server.url,
        "POINTSMAN_ROOM": room,
        "DOCKER_HOST": containers.dockerd.url,
    }
    return programs


async def alive(view: RoomView) -> list[str]:
    names: list[str] = await view.client.zrange(view.keys.workers, 0, -1)
    return names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_asked_to_stop_leaves_the_room_and_exits_0(
    here: Programs, workers: Workers, view: RoomView, room: str, number: signal.Signals
):
    worker = workers.start(
        here.environment["POINTSMAN_REDIS_URL"], here.environment["DOCKER_HOST"], room=room
    )
    await worker.says("serving")
    assert await alive(view) == ["w1"]
    worker.signal(number)
    ended = await worker.ends()
    assert ended.code == 0, ended.stderr
    assert ended.stdout == ""
    assert await alive(view) == []
    logged = [json.loads(line)["action"] for line in ended.stderr.splitlines()]
    assert "stopping" in logged
    assert logged[-1] == "stopped"
    told = [event["type"] for event in await view.events() if event["type"].startswith("pointsman.worker.")]
    assert told == ["pointsman.worker.joined", "pointsman.worker.left"]


async def test_a_worker_finishes_what_it_is_at_before_it_leaves(
    here: Programs, workers: Workers, view: RoomView, room: str, containers: Containers
):
    labels = {"pointsman.room": room, "pointsman.service": "slow"}
    await asyncio.to_thread(containers.run, labels=labels, slow_term=1.5, network="none")
    url, docker = here.environment["POINTSMAN_REDIS_URL"], here.environment["DOCKER_HOST"]
    worker = workers.start(url, docker, room=room, grace=5)
    await view.knows("slow")
    command = await view.add("restart", "slow")
    await view.becomes(command, status="running")
    assert (await worker.stop(within=15)).code == 0
    receipt = await view.receipt(command)
    assert (receipt["status"], receipt["attempt"]) == ("succeeded", "1")


async def test_a_room_belongs_to_one_engine(
    here: Programs, workers: Workers, view: RoomView, room: str, containers: Containers
):
    engine_id = await asyncio.to_thread(lambda: containers.dockerd.id)
    await view.client.hset(view.keys.meta, "engine_id", OTHER)
    refused = await here.run("worker", "run", "--name", "w1")
    assert refused.code == 1
    assert OTHER in refused.stderr
    assert engine_id in refused.stderr
    assert "--adopt-engine" in refused.stderr
    assert "Traceback" not in refused.stderr
    checked = await here.run("worker", "check", "--json")
    assert checked.code == 1
    (binding,) = [one for one in json.loads(checked.stdout)["checks"] if one["name"] == "binding"]
    assert binding["status"] == "fail"
    assert OTHER in binding["message"]
    assert engine_id in binding["message"]
    assert await alive(view) == []

    epoch = await view.epoch()
    url, docker = here.environment["POINTSMAN_REDIS_URL"], here.environment["DOCKER_HOST"]
    adopting = workers.start(url, docker, room=room, adopt_engine=True)
    await adopting.says("serving")
    assert await view.client.hget(view.keys.meta, "engine_id") == engine_id
    assert await view.epoch() != epoch
    assert (await here.run("worker", "check")).code == 0


async def test_a_name_is_served_by_one_worker_at_a_time(here: Programs, workers: Workers, room: str):
    url, docker = here.environment["POINTSMAN_REDIS_URL"], here.environment["DOCKER_HOST"]
    quick = {"alive": 1.0, "beat": 0.3}
    first = workers.start(url, docker, room=room, name="same", **quick)
    await first.says("serving")
    second = workers.start(url, docker, room=room, name="same", **quick)
    refused = await second.ends(within=10)
    assert refused.code == 1
    assert "name" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert first.running
    # One that died without a word is outwaited.
    first.kill()
    third = workers.start(url, docker, room=room, name="same", **quick)
    await third.says("serving")


async def test_a_worker_that_waits_for_its_name_can_be_stopped(here: Programs, workers: Workers, room: str):
    url, docker = here.environment["POINTSMAN_REDIS_URL"], here.environment["DOCKER_HOST"]
    first = workers.start(url, docker, room=room, name="same", alive=60)
    await first.says("serving")
    second = workers.start(url, docker, room=room, name="same", alive=60)
    await second.says("epoch")
    ended = await second.stop(within=5)
    assert ended.code == 0, ended.stderr
    assert first.running


async def test_a_redis_that_evicts_is_refused(here: Programs, make_redis: MakeRedis):
    server = make_redis(maxmemory_policy="allkeys-lru")
    for arguments in (("worker", "run"), ("worker", "check")):
        ended = await here.run(*arguments, env={"POINTSMAN_REDIS_URL": server.url})
        assert ended.code == 1, ended
        assert "allkeys-lru" in ended.stdout + ended.stderr
        assert "noeviction" in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


async def test_a_key_of_a_wrong_type_is_named_with_what_to_do(
    here: Programs, make_redis: MakeRedis, room: str
):
    server = make_redis()
    keys = Keys(room)
    async with async_client(server) as client:
        await client.set(keys.meta, "mine")
    ended = await here.run(
        "worker", "run", env={"POINTSMAN_REDIS_URL": server.url, "POINTSMAN_REDIS_TIMEOUT": "1"}
    )
    assert ended.code == 1, ended
    assert f"the key {keys.meta} holds a string, not a hash" in ended.stderr
    assert "rename or delete that key, or choose another room" in ended.stderr
    assert "does not answer" not in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_without_redis_without_an_engine_and_with_settings_that_cannot_be(here: Programs):
    nowhere = {"POINTSMAN_REDIS_URL": f"redis://{LOOPBACK}:{free_port()}/0", "POINTSMAN_REDIS_TIMEOUT": "1"}
    no_engine = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    cases: list[tuple[tuple[str, ...], dict[str, str], int, str]] = [
        (("worker", "run"), nowhere, 5, "Redis"),
        (("worker", "check"), nowhere, 5, "redis"),
        (("worker", "run"), no_engine, 1, "engine"),
        (("worker", "check"), no_engine, 1, "engine"),
        (("worker", "run"), {"POINTSMAN_LEASE": "soon"}, 2, "POINTSMAN_LEASE"),
        (("worker", "run"), {"POINTSMAN_MARGIN": "1"}, 2, "margin"),
        (("worker", "run"), {"DOCKER_HOST": "gopher://x"}, 2, "gopher"),
        (("worker", "run", "--room", "Not A Room"), {}, 2, "ROOM"),
    ]
    started = [here.start(*arguments, env=environment) for arguments, environment, *_ in cases]
    for program, (arguments, environment, code, words) in zip(started, cases, strict=True):
        ended = await program.ends(within=20)
        assert ended.code == code, (arguments, environment, ended)
        assert words in ended.stdout + ended.stderr, (arguments, ended)
        assert "Traceback" not in ended.stderr


async def test_check_and_doctor_say_what_they_looked_at(here: Programs, room: str):
    told = await here.run("worker", "check")
    assert told.code == 0
    words = [line.split()[:2] for line in told.stdout.splitlines()]
    assert words == [
        ["ok", "redis"],
        ["ok", "policy"],
        ["warn", "persistence"],
        ["ok", "engine"],
        ["ok", "binding"],
    ]
    doctor: Any = json.loads((await here.run("doctor", "--json", env={"DOCKER_HOST": "unix:///x"})).stdout)
    verdicts = {one["name"]: one["status"] for one in doctor["checks"]}
    assert (verdicts["engine"], verdicts["room"], verdicts["workers"]) == ("warn", "warn", "fail")
    secret = here.environment["POINTSMAN_REDIS_URL"].replace("redis://", "redis://:s3cret@")
    shown = await here.run("doctor", "--redis-url", secret)
    assert "s3cret" not in shown.stdout + shown.stderr


async def test_two_rooms_on_one_engine_do_not_see_each_other(
    here: Programs, workers: Workers, containers: Containers, room: str, redis_server: RedisServer
):
    rooms = (room, f"{room}-b")
    made = {}
    async with async_client(redis_server) as client:
        views = {name: RoomView(client, Keys(name)) for name in rooms}
        for name in rooms:
            labels = {"pointsman.room": name, "pointsman.service": "web"}
            made[name] = await asyncio.to_thread(containers.run, labels=labels, network="none")
            workers.start(redis_server.url, containers.dockerd.url, room=name)
        await asyncio.gather(*(views[name].knows("web") for name in rooms))
        receipt = await views[room].settled(await views[room].add("restart", "web"))
        assert receipt["before_container_id"] == made[room][:12]

        async def both() -> bool:
            return await client.smembers(views[room].keys.rooms) == set(rooms)

        await eventually(both, what="both rooms are registered")
    effects = [[one.kind for one in containers.dockerd.effects(made[name])] for name in rooms]
    assert effects == [["start", "die", "start"], ["start"]]
