"""Deaths with something else going on: a deaf container, a new one, a restart policy, the usual times."""

import asyncio
import time

import pytest

from tests.support.processes import Program
from tests.support.trial import Scene, Trial, try_all
from tests.support.workers import LEASE

#: The contract's promise: a takeover within lease + 2 s.
PROMISE = 2.0
USUAL = {"lease": 10, "margin": 15, "beat": 2, "alive": 10}


async def _dies(doomed: Program) -> None:
    await doomed.ends(within=20)
    assert doomed.code == -9, doomed.tail()


@pytest.mark.parametrize("action", ["restart", "stop"])
async def test_a_deaf_container_is_taken_over_before_its_grace_is_over(trial: Trial, action: str):
    scene = await trial.scene(ignores_term=True)
    await scene.set()
    command = await scene.view.add(action, scene.service, timeout=5)
    doomed = scene.doomed("before-renew:kill")
    async with asyncio.timeout(60):
        await _dies(doomed)
        died = time.monotonic()
        async with scene.worker("heir"):
            await scene.view.becomes(command, worker="heir", attempt="2", status="running")
            taken = time.monotonic() - died
            receipt = await scene.view.settled(command)
            await scene.view.rests()
    assert taken < LEASE + PROMISE
    assert (receipt["code"], receipt.get("recovered"), receipt["attempt"]) == ("200", "1", "2")
    assert await scene.effects() == (["die", "start"] if action == "restart" else ["die"])


async def test_a_container_made_anew_after_the_death_satisfies_a_restart(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("restart", scene.service)
    await _dies(scene.doomed("before-call:kill"))
    other = await scene.remake()
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt.get("recovered")) == ("200", "1")
    assert receipt["before_container_id"] == scene.container[:12]
    assert receipt["after_container_id"] == other[:12]
    assert await scene.effects(other) == ["start"]


@pytest.mark.parametrize(("action", "effect"), [("restart", ["start"]), ("start", ["start"])])
async def test_a_container_made_anew_and_not_started_is_acted_on(
    trial: Trial, action: str, effect: list[str]
):
    scene = await trial.scene(running=action == "restart")
    await scene.set()
    command = await scene.view.add(action, scene.service)
    await _dies(scene.doomed("before-call:kill"))
    other = await scene.remake(running=False)
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt["attempt"]) == ("200", "2")
    assert await scene.effects(other) == effect


async def test_a_stop_acts_on_the_container_made_anew(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("stop", scene.service)
    await _dies(scene.doomed("after-call:kill"))
    other = await scene.remake()
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt["attempt"]) == ("200", "2")
    assert await scene.effects(other) == ["start", "die"]


async def test_a_command_for_one_container_leaves_the_next_alone(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("restart", scene.service, expect_container_id=scene.container[:12])
    await _dies(scene.doomed("before-call:kill"))
    other = await scene.remake()
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["status"], receipt["code"], receipt["error"]) == (
        "rejected",
        "412",
        "precondition_failed",
    )
    assert await scene.effects(other) == ["start"]


async def test_a_command_whose_container_went_is_not_found(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("restart", scene.service)
    await _dies(scene.doomed("after-call:kill"))
    await asyncio.to_thread(trial.docker.remove, scene.container)
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt["error"]) == ("404", "service_not_found")


async def test_a_restart_by_the_engines_own_policy_counts(trial: Trial):
    scene = await trial.scene(restart_policy="always")
    await scene.set()
    command = await scene.view.add("restart", scene.service)
    await _dies(scene.doomed("before-call:kill"))
    await asyncio.to_thread(trial.docker.execute, scene.container, "/bin/sh", "-c", "kill -TERM 1")
    async with scene.worker():
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt.get("recovered")) == ("200", "1")
    assert await scene.effects() == ["die", "start"]


async def test_at_the_usual_times_a_takeover_comes_within_the_lease_and_two_seconds(
    trial: Trial, request: pytest.FixtureRequest
):
    times: list[float] = []

    async def attempt(action: str) -> None:
        scene = await trial.scene(ignores_term=True)
        await scene.set()
        times.append(await _take_over(scene, action))

    await try_all(["restart", "stop", "restart"], attempt)
    request.node.user_properties.append(("takeover_seconds", [round(one, 2) for one in times]))
    assert max(times) < USUAL["lease"] + PROMISE, times


async def _take_over(scene: Scene, action: str) -> float:
    """Kill a worker in its call while another stands by; return the seconds until that one has it."""
    command = await scene.view.add(action, scene.service, timeout=14)
    doomed = scene.doomed("after-renew:kill", **USUAL)  # the worst moment: its lease is as long as can be
    await scene.view.becomes(command, status="running")
    heir = scene.doomed(name="heir", **USUAL)
    await heir.says("serves the room")
    await _dies(doomed)
    died = time.monotonic()
    await scene.view.becomes(command, worker="heir", attempt="2")
    taken = time.monotonic() - died
    receipt = await scene.view.settled(command)
    assert (receipt["code"], receipt.get("recovered")) == ("200", "1")
    assert await scene.effects() == (["die", "start"] if action == "restart" else ["die"])
    await scene.view.rests()
    return taken
