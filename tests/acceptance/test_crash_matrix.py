"""A worker killed at every step of every action leaves one effect, one settled receipt and nothing else."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.trial import Trial, try_all

ENGINE_ACTIONS = ("restart", "start", "stop")
STATE_ACTIONS = ("enable", "disable")
ENGINE_POINTS = ("take", "first-look", "begin", "call", "after-look", "settle")
STATE_POINTS = ("take", "settle")
#: What the engine does for one command.
EFFECT = {"restart": ["die", "start"], "start": ["start"], "stop": ["die"], "enable": [], "disable": []}
#: Points by which the call has gone out, so that whoever takes over finds its effect.
CALLED = {"after-call", "before-after-look", "after-after-look", "before-settle"}
CALLED |= {f"{side}-{point}" for side in ("before", "after") for point in ("renew", "handback")}
BEGUN = CALLED | {"after-begin", "before-call"}
#: Where the action begins and settles in one step, nothing has begun before it.
NOT_BEGUN = {(action, "before-settle") for action in STATE_ACTIONS}


@dataclass(frozen=True)
class Cell:
    """One death: in which action, and where."""

    action: str
    point: str
    container: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    #: Ask the worker to stop as soon as the command runs.
    ask_to_stop: bool = False

    def __str__(self) -> str:
        return f"{self.action} {self.point}"


def _cells(action: str) -> list[Cell]:
    points = STATE_POINTS if action in STATE_ACTIONS else ENGINE_POINTS
    cells = [Cell(action, f"{side}-{point}") for point in points for side in ("before", "after")]
    if action in {"restart", "stop"}:  # a start is over before any renewal
        slow: dict[str, Any] = {"container": {"slow_term": 1.5}, "fields": {"timeout": 4}}
        cells += [Cell(action, f"{side}-renew", **slow) for side in ("before", "after")]
        slow |= {"container": {"slow_term": 3.0}, "settings": {"shutdown": 0.5}, "ask_to_stop": True}
        cells += [Cell(action, f"{side}-handback", **slow) for side in ("before", "after")]
    return cells


async def _try(trial: Trial, cell: Cell) -> None:
    """Let one worker die at its point and another take over."""
    scene = await trial.scene(running=cell.action != "start", **cell.container)
    await scene.set(*(["disable"] if cell.action == "enable" else []))
    view = scene.view
    command = await view.add(cell.action, scene.service, **cell.fields)
    doomed = scene.doomed(f"{cell.point}:kill", **cell.settings)
    if cell.ask_to_stop:
        await view.becomes(command, status="running")
        doomed.terminate()
    await doomed.ends(within=20)
    assert doomed.code == -9, f"the worker was to die, and ended with {doomed.code}:\n{doomed.tail()}"
    async with scene.worker("heir"):
        receipt = await view.settled(command)
        await view.rests()
    assert receipt["status"] == "succeeded", receipt
    assert receipt["code"] == "200", receipt
    assert receipt["worker"] == ("doomed" if cell.point == "after-settle" else "heir"), receipt
    begun = (cell.action, cell.point) not in NOT_BEGUN
    assert receipt["attempt"] == ("2" if begun and cell.point in BEGUN else "1"), receipt
    assert receipt.get("recovered") == ("1" if begun and cell.point in CALLED else None), receipt
    assert receipt["changed"] == "1", receipt
    assert await scene.effects() == EFFECT[cell.action]
    told = await view.told(command)
    assert told.count("command.started") == told.count("command.settled") == 1, told
    snapshot = await view.snapshot(scene.service)
    assert snapshot["enabled"] == ("0" if cell.action == "disable" else "1"), snapshot
    assert snapshot["desired"] == ("stopped" if cell.action == "stop" else "running"), snapshot
    assert snapshot.get("restart_count", "0") == ("1" if cell.action == "restart" else "0"), snapshot


@pytest.mark.parametrize("action", [*ENGINE_ACTIONS, *STATE_ACTIONS])
async def test_a_worker_killed_anywhere_leaves_one_effect(trial: Trial, action: str):
    await try_all(_cells(action), lambda cell: _try(trial, cell))


async def test_a_command_that_kills_every_worker_is_given_up_and_its_lane_goes_on(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    poison = await scene.view.add("restart", scene.service)
    after = await scene.view.add("stop", scene.service)
    for number in range(2):
        doomed = scene.doomed("after-begin:kill", name=f"doomed-{number}", max_attempts=2)
        await doomed.ends(within=20)
        assert doomed.code == -9, doomed.tail()
    async with scene.worker("heir", max_attempts=2):
        receipt = await scene.view.settled(poison)
        assert (receipt["status"], receipt["code"], receipt["error"]) == ("dead", "500", "attempts_exhausted")
        assert receipt["attempt"] == "2"
        assert (await scene.view.settled(after))["code"] == "200"
        await scene.view.rests()
    letters = await trial.client.xrange(scene.view.keys.dead)
    assert [fields["id"] for _, fields in letters] == [poison]
    assert await scene.effects() == ["die"]


async def test_two_deaths_in_a_row_leave_one_effect(trial: Trial):
    scene = await trial.scene()
    await scene.set()
    command = await scene.view.add("restart", scene.service)
    for number, point in enumerate(["after-begin", "before-call"]):
        doomed = scene.doomed(f"{point}:kill", name=f"doomed-{number}")
        await doomed.ends(within=20)
        assert doomed.code == -9, doomed.tail()
    async with scene.worker("heir"):
        receipt = await scene.view.settled(command)
        await scene.view.rests()
    assert (receipt["code"], receipt["attempt"], receipt["worker"]) == ("200", "3", "heir")
    assert await scene.effects() == ["die", "start"]
