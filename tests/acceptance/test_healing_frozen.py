"""An observer that stands still past its lease, in the middle of a look, and goes on as if nothing had been."""

import asyncio
from typing import Any

import pytest

from contracts.times import parse_ms
from tests.support.waiting import eventually, holds
from tests.support.ward import Ward, brief
from tests.support.workers import LEASE

AN_INSPECT = rb"GET \S*/containers/[0-9a-f]{12,64}/json"
SLOW = {"backoff-base": "2", "backoff-max": "2"}
HEALED = [
    "service.changed stopped 1",
    "command.started start running",
    "service.changed running 1",
    "command.settled start succeeded",
]


@pytest.mark.parametrize("others", [1, 2])
async def test_an_observer_that_slept_past_its_lease_writes_and_heals_nothing_more(
    ward: Ward, others: int
) -> None:
    """It wakes with old answers of the engine unread, with deaths to tell that others told, with heals overdue."""
    await ward.staff(1, resync=0.3)
    await ward.staff(others, direct=True)
    sleeper = ward.programs["w1"]
    assert await ward.observer() == "w1"
    died, planned, steady = (
        await ward.make("died"),
        await ward.make("planned", labels=SLOW),
        await ward.make("ok"),
    )
    sick = await ward.make("sick", health=True, script="rm -f /tmp/sick", labels={"grace": "1"})
    await ward.becomes(sick, status="running", health="healthy")
    names = (died, planned, steady, sick)

    await asyncio.to_thread(ward.docker.kill, planned)
    due = (await ward.becomes(planned, status="stopped", failure_count="1"))["restart_scheduled_at"]
    # It has asked and been answered that all is well; the answers reach it when it wakes.
    ward.proxy.hold_answers_to(AN_INSPECT)
    await eventually(lambda: ward.proxy.held >= len(names), what="it looks at all of them")
    sleeper.freeze()
    asleep = asyncio.get_running_loop().time()
    ward.proxy.let_go()
    heir = await eventually(lambda: _another(ward), within=LEASE + 1, what="another observes")
    assert asyncio.get_running_loop().time() - asleep < LEASE + 0.5

    await asyncio.gather(
        asyncio.to_thread(ward.docker.kill, died),
        asyncio.to_thread(ward.docker.set_health, sick, healthy=False),
    )
    for name in (died, planned):
        await ward.becomes(name, status="running", failure_count="1", restart_scheduled_at=None)
    await ward.becomes(sick, status="running", health="healthy", failure_count="1", restart_count="1")
    await ward.view.rests()
    await eventually(lambda: _left(ward, "w1"), within=10, what="the sleeper is missed")
    before, effects = await _said(ward, names), {name: await ward.effects(name) for name in names}
    assert effects == {name: ["start"] if name == steady else ["start", "die", "start"] for name in names}
    told = await _told(ward)

    sleeper.thaw()
    await sleeper.says("Another worker observes the room now", within=10)
    await eventually(lambda: _is_there(ward, "w1"), what="it beats again")
    await holds(lambda: _is_so(ward, told), during=3 * LEASE, what="the one that woke tells nothing")
    assert await _said(ward, names) == before
    assert {name: await ward.effects(name) for name in names} == effects
    assert await ward.observer() == heir
    assert brief(await ward.told(died))[-4:] == HEALED
    for name in (died, planned, sick):
        (heal,) = await ward.heals(name)
        assert heal["status"] == "succeeded"
    assert (await ward.heals(planned))[0]["id"].endswith(f":{parse_ms(due)}")

    # From here on it is a worker like any other: it runs commands, observes when it is its turn, and heals.
    for name in [name for name in ward.programs if name != "w1"]:
        await ward.programs[name].stop()
    receipt = await ward.view.settled(await ward.view.add("restart", steady))
    assert (receipt["status"], receipt["worker"]) == ("succeeded", "w1")
    await eventually(lambda: _observes(ward, "w1"), within=LEASE + 1, what="it observes again")
    await asyncio.to_thread(ward.docker.kill, steady)
    await ward.becomes(steady, status="running", failure_count="1", restart_scheduled_at=None)
    await ward.view.rests()
    revisions = [int(one["revision"]) for one in await ward.view.events()]
    assert revisions == list(range(1, len(revisions) + 1))


async def _another(ward: Ward) -> str | None:
    observer = await ward.observer()
    return observer if observer != "w1" else None


async def _observes(ward: Ward, name: str) -> bool:
    return await ward.observer() == name


async def _left(ward: Ward, name: str) -> bool:
    events = await ward.view.events()
    return any(one["type"] == "pointsman.worker.left" and one["subject"] == name for one in events)


async def _is_there(ward: Ward, name: str) -> bool:
    return await ward.client.zscore(ward.view.keys.workers, name) is not None


async def _said(ward: Ward, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the snapshots, without the time of the last look."""
    snapshots = [await ward.view.snapshot(name) for name in names]
    return [{key: text for key, text in one.items() if key != "observed_at"} for one in snapshots]


async def _told(ward: Ward) -> list[dict[str, Any]]:
    """Return what was told of anything but workers."""
    return [one for one in await ward.view.events() if ".worker." not in one["type"]]


async def _is_so(ward: Ward, told: list[dict[str, Any]]) -> bool:
    return await _told(ward) == told
