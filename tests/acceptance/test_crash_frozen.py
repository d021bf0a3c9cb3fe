"""A worker that stood still past its lease and wakes up writes nothing and calls nothing more."""

import pytest

from tests.support.trial import Scene, Trial, stands_still, try_all

POINTS = (
    "after-take",
    "before-first-look",
    "after-first-look",
    "before-begin",
    "after-begin",
    "after-call",
    "before-after-look",
    "after-after-look",
    "before-settle",
)
EFFECT = {"restart": ["die", "start"], "stop": ["die"], "start": ["start"]}


async def _freeze(scene: Scene, action: str, point: str) -> tuple[str, dict[str, str]]:
    """Freeze a worker at the point, let another finish, wake the first; return command and receipt."""
    view = scene.view
    command = await view.add(action, scene.service)
    frozen = scene.doomed(f"{point}:stop", name="frozen")
    await stands_still(frozen)
    async with scene.worker("heir"):
        receipt = await view.settled(command)
        told, effects = await view.told(command), await scene.effects()
        assert receipt["worker"] == "heir", receipt
        frozen.thaw()
        await frozen.says(f'"command": "{command}"', within=20)  # it says why it gives up
        ended = await frozen.stop(within=20)
        assert ended.code == 0, ended.stderr
        assert await view.receipt(command) == receipt
        assert await view.told(command) == told
        assert await scene.effects() == effects
        await view.rests()
    return command, receipt


@pytest.mark.parametrize("action", ["restart", "stop", "start"])
async def test_a_worker_that_slept_past_its_lease_does_nothing_more(trial: Trial, action: str):
    async def attempt(point: str) -> None:
        scene = await trial.scene(running=action != "start")
        await scene.set()
        _, receipt = await _freeze(scene, action, point)
        assert (receipt["status"], receipt["code"]) == ("succeeded", "200"), receipt
        assert await scene.effects() == EFFECT[action]

    await try_all(POINTS, attempt)


async def test_the_stated_exception_is_one_call_and_no_write(trial: Trial):
    """Between the last look at the lease and the first byte of the call, sleep cannot be told from haste."""
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("restart", scene.service)
    frozen = scene.doomed("before-call:stop", name="frozen")
    await stands_still(frozen)
    async with scene.worker("heir"):
        receipt = await scene.view.settled(command)
        assert await scene.effects() == ["die", "start"]
        frozen.thaw()
        await frozen.says(f'"command": "{command}"', within=20)
        assert (await frozen.stop(within=20)).code == 0
    assert await scene.view.receipt(command) == receipt
    assert await scene.effects() == ["die", "start"] * 2
