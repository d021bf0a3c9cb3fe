"""Healing on the real engine, by one, two and three workers, and with the observer killed in between."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from contracts.times import parse_ms
from tests.support.host import free_port
from tests.support.needs import leave_out
from tests.support.waiting import eventually, holds
from tests.support.ward import MakeWard, Ward, brief
from tests.support.workers import LEASE

Scene = Callable[[Ward], Awaitable[None]]
#: What a heal of a stopped service tells, from the death on.
DIED = "service.changed stopped 1"
HEALED = ["command.started start running", "service.changed running 1", "command.settled start succeeded"]


async def death_of_the_process(ward: Ward) -> None:
    service = await ward.make("killed")
    steady = await ward.make("steady")
    begin, calm = await ward.revision(), await ward.told(steady)
    await asyncio.to_thread(ward.docker.kill, service)
    await ward.midway()
    one = await ward.becomes(service, status="running", failure_count="1", restart_scheduled_at=None)
    assert (one["last_exit_code"], one["restart_count"], one["desired"]) == ("137", "0", "running")
    assert (one.get("reason"), one.get("message")) == (None, None)
    await eventually(lambda: ward.heals(service))
    events = await ward.told(service, begin)
    assert brief(events) == [DIED, *HEALED]
    assert events[0]["data"]["cause"]["kind"] == "observation"
    assert events[2]["data"]["cause"]["kind"] == "self_heal"
    stopped = events[0]["data"]["service"]
    assert stopped["reason"] == "exited"
    (heal,) = await ward.heals(service)
    assert (
        heal["id"] == f"self-heal:{service}:{stopped['container_id']}:{_ms(stopped['restart_scheduled_at'])}"
    )
    assert (heal["expect_container_id"], heal["expect_started_at"]) == (
        stopped["container_id"],
        stopped["started_at"],
    )
    assert heal["called_at"] >= stopped["restart_scheduled_at"]
    assert await ward.effects(service) == ["start", "die", "start"]
    assert await ward.told(steady) == calm


async def failing_health_check(ward: Ward) -> None:
    # A restart cures it: the script takes the sickness away.
    service = await ward.make("sick", health=True, script="rm -f /tmp/sick", labels={"grace": "1"})
    await ward.becomes(service, status="running", health="healthy")
    begin = await ward.revision()
    await asyncio.to_thread(ward.docker.set_health, service, healthy=False)
    await ward.midway()
    await ward.becomes(service, restart_count="1", status="running", health="healthy")
    events = await ward.told(service, begin)
    assert brief(events) == [
        "service.changed unhealthy 1",
        "command.started restart running",
        "service.changed starting 1",
        "command.settled restart succeeded",
        "service.changed running 1",
    ]
    assert events[0]["data"]["service"]["reason"] == "health_check_failed"
    assert events[-1]["data"]["cause"]["kind"] == "observation"
    assert await ward.effects(service) == ["start", "die", "start"]


async def command_that_exits_at_once(ward: Ward) -> None:
    service = await ward.make("broken", exits=3, running=False, labels={"max-failures": "3"})
    await ward.becomes(service, status="stopped", reason="created", desired="stopped")
    await asyncio.to_thread(ward.docker.start, service)
    await ward.midway()
    await ward.becomes(service, reason="exhausted", desired="running")
    # At the longest delay there is time to stop it between two attempts.
    await ward.becomes(service, failure_count="6", status="stopped")
    await ward.view.settled(await ward.view.add("stop", service))
    one = await ward.becomes(service, desired="stopped", restart_scheduled_at=None)
    events = await ward.told(service)
    assert sum(event["type"] == "pointsman.service.exhausted" for event in events) == 1
    heals = await ward.heals(service)
    assert {heal["status"] for heal in heals} == {"succeeded"}
    effects = await ward.effects(service)
    assert effects.count("start") == 1 + len(heals)
    assert effects.count("die") == effects.count("start") == int(one["failure_count"]) == 6
    assert one["last_exit_code"] == "3"


async def exits_every_third_second(ward: Ward) -> None:
    service = await ward.make("third", exits=1, exits_after=3.0, labels={"backoff-max": "0.6"})
    await ward.becomes(service, failure_count="2", within=40)
    await ward.midway()
    await ward.becomes(service, failure_count="4", within=40)
    one = await ward.becomes(service, status="stopped", reason="flapping")
    assert (one.get("message") or "").startswith("Flapping: 4 failures")
    await ward.view.settled(await ward.view.add("disable", service))
    effects, heals = await ward.effects(service), await ward.heals(service)
    assert effects[:8] == ["start", "die"] * 4
    assert effects.count("start") == 1 + len(heals)
    for before, after in pairwise(heals):
        assert before["finished_at"] < after["called_at"]


async def removed_and_made_anew(ward: Ward) -> None:
    slow = {"backoff-base": "10", "backoff-max": "10"}
    service = await ward.make("anew", labels=slow)
    await ward.view.settled(await ward.view.add("restart", service))
    first = (await ward.becomes(service, status="running"))["container_id"]
    await asyncio.to_thread(ward.docker.remove, service)
    await ward.midway()
    gone = await ward.becomes(service, status="not_found", within=ward.soon)
    assert (gone["reason"], gone.get("container_id"), gone["restart_count"]) == ("no_container", None, "1")
    assert (gone["last_exit_code"], gone.get("restart_scheduled_at")) == ("137", None)
    await ward.remake(service, labels=slow | {"category": "ai"})
    back = await ward.becomes(service, status="running", category="ai", within=ward.soon)
    assert back["container_id"] != first
    assert (gone["category"], gone["desired"], back["desired"]) == ("infrastructure", "running", "running")
    assert (back["restart_count"], back["failure_count"]) == ("1", "1")
    assert [heal["id"] for heal in await ward.heals(service)] == []
    assert await ward.effects(service) == ["start"]


async def restarted_by_the_engines_own_policy(ward: Ward) -> None:
    service = await ward.make("own", restart_policy="always", exits=7, exits_after=1.5)
    await ward.midway()
    one = await ward.becomes(service, status="running", reason="engine_restarted")
    assert int(one["failure_count"]) >= 1
    assert one["last_exit_code"] == "7"
    assert [heal["id"] for heal in await ward.heals(service)] == []
    await ward.view.settled(await ward.view.add("stop", service))
    stopped = await ward.becomes(service, status="stopped", desired="stopped")
    assert stopped["reason"] == "stopped"


async def scaled_renamed_and_paused(ward: Ward) -> None:
    service = await ward.make("two", labels={"service": "pair"}, known=False)
    await ward.becomes("pair", status="running", within=ward.soon)
    other = f"{service}-b"
    await ward.remake(other, labels={"service": "pair"})
    await ward.midway()
    both = await ward.becomes("pair", reason="ambiguous", within=ward.soon)
    assert (both["status"], both["failure_count"]) == ("not_found", "0")
    await asyncio.to_thread(ward.docker.remove, other)
    await ward.becomes("pair", status="running", failure_count="0", within=ward.soon)

    old = await ward.make("named")
    new = f"{old}-new"
    await asyncio.to_thread(ward.docker.rename, old, new)
    await ward.becomes(new, status="running", within=ward.soon)
    await ward.becomes(old, status="not_found", failure_count="0", within=ward.soon)

    await asyncio.to_thread(ward.docker.pause, new)
    await ward.becomes(new, status="stopped", reason="paused", within=ward.soon)
    await asyncio.to_thread(ward.docker.unpause, new)
    await ward.becomes(new, status="running", within=ward.soon)
    assert [heal["id"] for heal in await ward.heals(new)] == []


SCENES: tuple[Scene, ...] = (
    death_of_the_process,
    failing_health_check,
    command_that_exits_at_once,
    exits_every_third_second,
    removed_and_made_anew,
    restarted_by_the_engines_own_policy,
    scaled_renamed_and_paused,
)


@pytest.mark.parametrize("workers_there", [1, 2, 3])
async def test_whatever_befalls_a_service_is_told_and_healed_once(ward: Ward, workers_there: int) -> None:
    await ward.staff(workers_there)
    async with asyncio.TaskGroup() as scenes:
        for scene in SCENES:
            scenes.create_task(scene(ward), name=scene.__name__)
    await _is_sound(ward)


@pytest.mark.parametrize("workers_there", [2, 3])
async def test_the_same_with_the_observer_killed_in_the_middle_of_each(
    make_ward: MakeWard, workers_there: int
) -> None:
    starting = asyncio.Semaphore(1)  # many programs that start at once leave no time for the rest

    async def attempt(scene: Scene) -> None:
        ward = make_ward()
        ward.observer_dies = True
        async with starting:
            await ward.staff(workers_there)
        await scene(ward)
        assert sum(not program.running for program in ward.programs.values()) == 1
        await _is_sound(ward)

    async with asyncio.TaskGroup() as scenes:
        for scene in SCENES:
            scenes.create_task(attempt(scene), name=scene.__name__)


@pytest.mark.parametrize("workers_there", [2, 3])
async def test_with_the_observer_killed_in_between_each_is_still_healed_once(
    ward: Ward, workers_there: int
) -> None:
    await ward.staff(workers_there)
    slow = {"backoff-base": "1.5", "backoff-max": "1.5"}
    planned = await ward.make("planned", labels=slow)
    unseen = await ward.make("unseen")
    running = await ward.make(
        "running", slow_term=2.0, health=True, labels={"grace": "0.5", "stop-timeout": "5"}
    )
    await ward.becomes(running, status="running", health="healthy")
    names = (planned, unseen, running)

    await asyncio.to_thread(ward.docker.set_health, running, healthy=False)
    await ward.becomes(running, status="unhealthy", failure_count="1")
    await asyncio.to_thread(ward.docker.kill, planned)
    one = await ward.becomes(planned, status="stopped", failure_count="1")
    due = one["restart_scheduled_at"]
    dead = await ward.kill_observer()
    await asyncio.to_thread(ward.docker.kill, unseen)
    at = asyncio.get_running_loop().time()
    heir = await eventually(lambda: _other(ward, dead), within=LEASE + 2, what="another observes")
    assert asyncio.get_running_loop().time() - at < LEASE + 1
    assert heir != dead
    for name in (planned, unseen):
        await ward.becomes(name, status="running", failure_count="1", restart_scheduled_at=None)
    await asyncio.to_thread(ward.docker.set_health, running, healthy=True)
    await ward.becomes(running, status="running", restart_count="1", failure_count="1")
    await eventually(lambda: _all_healed(ward, names), within=10)
    heals = await ward.heals(planned)
    assert [heal["id"].rsplit(":", 1)[1] for heal in heals] == [_ms(due)]
    for name in names:
        assert await ward.effects(name) == ["start", "die", "start"]
        assert len(await ward.heals(name)) == 1
    await ward.view.rests()


async def test_a_process_killed_for_want_of_memory_is_told_as_such_and_healed(ward: Ward) -> None:
    if not ward.docker.limits_memory:
        leave_out("an engine that limits memory", "a kernel with the memory controller of cgroups")
    await ward.staff(2)
    eat = "until test -e /eat; do sleep 0.05; done; rm /eat; exec tail /dev/zero"
    service = await ward.make("greedy", command=["/bin/sh", "-c", eat], memory=16 << 20)
    begin = await ward.revision()
    await asyncio.to_thread(ward.docker.execute, service, "/bin/touch", "/eat")
    await ward.becomes(service, status="running", failure_count="1", restart_scheduled_at=None)
    await eventually(lambda: ward.heals(service))
    events = await ward.told(service, begin)
    assert brief(events) == [DIED, *HEALED]
    stopped = events[0]["data"]["service"]
    assert (stopped["reason"], stopped["last_exit_code"]) == ("oom_killed", 137)
    assert await ward.effects(service) == ["start", "die", "start"]


async def test_the_time_of_a_heal_survives_the_death_of_all_workers(ward: Ward) -> None:
    await ward.staff(2)
    planned = await ward.make("planned", labels={"backoff-base": "4", "backoff-max": "4"})
    unseen = await ward.make("unseen", labels={"backoff-base": "0.3"})
    await asyncio.to_thread(ward.docker.kill, planned)
    due = (await ward.becomes(planned, status="stopped", failure_count="1"))["restart_scheduled_at"]
    for program in ward.programs.values():
        program.kill()
    await asyncio.to_thread(ward.docker.kill, unseen)
    assert (await ward.view.snapshot(planned))["restart_scheduled_at"] == due
    assert (await ward.view.snapshot(unseen))["status"] == "running"
    await ward.staff(2)
    for name in (planned, unseen):
        await ward.becomes(name, status="running", failure_count="1", restart_scheduled_at=None)
        await eventually(lambda name=name: ward.heals(name))
        assert await ward.effects(name) == ["start", "die", "start"]
    (heal,) = await ward.heals(planned)
    assert heal["id"].rsplit(":", 1)[1] == _ms(due)
    assert heal["called_at"] >= due
    await _is_sound(ward)


async def test_an_outage_of_the_engine_is_told_and_taken_for_nothing_else(ward: Ward) -> None:
    await ward.staff(2)
    killed, steady, sick = (
        await ward.make("killed"),
        await ward.make("steady"),
        await ward.make("ill", health=True),
    )
    await ward.becomes(sick, status="running", health="healthy")
    begin = await ward.revision()
    await ward.proxy.refuse()
    await ward.engine_is("unavailable")
    await asyncio.to_thread(ward.docker.kill, killed)
    silent = await ward.revision()
    await holds(lambda: _is(ward, silent), during=2.0, what="nothing is told while nothing is known")
    assert (await ward.view.snapshot(killed))["status"] == "running"
    beats = await ward.view.client.hget(ward.view.keys.observer, "deadline")
    assert beats is not None  # somebody goes on to say so
    await ward.proxy.restore()
    await ward.engine_is("available", within=10)
    await ward.becomes(killed, status="running", failure_count="1", last_exit_code="137")
    await eventually(lambda: ward.heals(killed))
    assert brief(await ward.told(killed, begin)) == [DIED, *HEALED]
    for name in (steady, sick):
        assert await ward.told(name, begin) == []
        assert await ward.effects(name) == ["start"]
    kinds = [one["type"] for one in await ward.view.events() if one["type"].startswith("pointsman.engine")]
    assert kinds == [
        "pointsman.engine.available",
        "pointsman.engine.unavailable",
        "pointsman.engine.available",
    ]


async def test_a_probe_decides_where_the_engine_has_no_health_check(ward: Ward) -> None:
    port = free_port()
    serve = f"mkdir -p /www && echo ok > /www/ready && httpd -p 127.0.0.1:{port} -h /www"
    await ward.staff(1)
    http = await ward.make(
        "web", script=serve, network="host", labels={"probe": f"http://:{port}/ready", "grace": "20"}
    )
    closed = await ward.make("closed", labels={"probe": "tcp://:1", "grace": "60"}, network="host")
    await ward.becomes(http, status="running", health="none")
    assert (await ward.becomes(closed, status="starting"))["reason"] == "probe_pending"
    begin = await ward.revision()
    await asyncio.to_thread(ward.docker.execute, http, "/bin/rm", "/www/ready")
    sick = await ward.becomes(http, status="unhealthy", within=20)
    assert (sick["reason"], sick["failure_count"]) == ("probe_failed", "1")
    assert "HTTP 404" in sick["message"]
    await ward.becomes(http, status="running", restart_count="1", within=20)
    assert brief(await ward.told(http, begin)) == [
        "service.changed unhealthy 1",
        "command.started restart running",
        "service.changed starting 1",
        "command.settled restart succeeded",
        "service.changed running 1",
    ]
    assert (await ward.view.snapshot(closed))["failure_count"] == "0"


async def _is_sound(ward: Ward) -> None:
    await ward.view.rests()
    revisions = [int(event["revision"]) for event in await ward.view.events()]
    assert revisions == list(range(1, len(revisions) + 1))


async def _all_healed(ward: Ward, names: tuple[str, ...]) -> bool:
    return all([await ward.heals(name) for name in names])


async def _other(ward: Ward, dead: str) -> str | None:
    observer = await ward.observer()
    return observer if observer != dead else None


async def _is(ward: Ward, revision: int) -> bool:
    return await ward.revision() == revision


def _ms(stamp: str) -> str:
    return str(parse_ms(stamp))
