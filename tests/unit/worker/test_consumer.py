"""How the take loop sleeps and wakes: over an inbox that the test fills."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts.commands import Action
from contracts.receipts import Receipt, ReceiptStatus
from tests.support.waiting import eventually
from worker.adapters.clock import SystemClock
from worker.adapters.telemetry.log import NullLog
from worker.consumer import RING, Consumer
from worker.core.delivery import Grant, Taken
from worker.core.state import Memo, ServiceState
from worker.limits import Limits


def grant(name: str) -> Grant:
    receipt = Receipt(id=name, status=ReceiptStatus.QUEUED, action=Action.RESTART, service=name)
    return Grant(
        name,
        name,
        f"token-{name}",
        takeover=False,
        receipt=receipt,
        state=ServiceState(None, Memo()),
        deadline=1e9,
    )


def taken(grants: list[Grant]) -> Taken:
    return Taken(now_ms=0, epoch="e", revision=0, position="0-0", due_ms=0, more=False, grants=grants)


class Inbox:
    """Answers takes with what waits; a waiting take with what the test rings with."""

    def __init__(self) -> None:
        self.waits: list[Grant] = []
        self.takes: list[int] = []
        self.rings: list[int] = []
        self.ring: asyncio.Future[list[Grant] | None] | None = None
        self.released = 0
        self.lulls: list[int] = []

    async def take(self, free: int, *, state_only: bool, count: int) -> Taken:
        self.takes.append(free)
        given, self.waits = self.waits[:free], self.waits[free:]
        return taken(given)

    async def await_take(
        self, position: str, seconds: float, free: int, *, state_only: bool, count: int
    ) -> Taken | None:
        self.rings.append(free)
        self.ring = asyncio.get_running_loop().create_future()
        given = await self.ring
        return None if given is None else taken(given)

    def after_lull(self, then: Callable[[], object]) -> None:
        self.lulls.append(len(self.rings))
        asyncio.get_running_loop().call_soon(then)

    async def release(self) -> None:
        self.released += 1
        if self.ring is not None and not self.ring.done():
            self.ring.set_result([grant("late")])

    def brings(self, *names: str) -> None:
        assert self.ring is not None
        self.ring.set_result([grant(name) for name in names])


class Ledger:
    def __init__(self) -> None:
        self.back: list[tuple[str, float]] = []
        self.reconciled: list[list[str]] = []

    async def hand_back(self, grants: Sequence[Grant], *, rest: float = 0) -> None:
        self.back += [(one.id, rest) for one in grants]

    async def reconcile(self, held: Callable[[], Sequence[Grant]]) -> None:
        self.reconciled.append([one.id for one in held()])


class Executor:
    """Runs a command until the test lets it end."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Event] = {}
        self.ran: list[str] = []

    async def run(self, held: Grant) -> None:
        self.ran.append(held.id)
        self.running[held.id] = asyncio.Event()
        await self.running[held.id].wait()


class House:
    def __init__(self, capacity: int) -> None:
        self.inbox, self.ledger, self.executor = Inbox(), Ledger(), Executor()
        parts: Any = {"inbox": self.inbox, "ledger": self.ledger, "executor": self.executor}
        limits = Limits(capacity=capacity, idle=60.0)
        self.consumer = Consumer(
            **parts, clock=SystemClock(), limits=limits, log=NullLog(), engine_up=lambda: True
        )

    async def sleeps(self) -> None:
        """Wait until a take waits that has not been answered."""
        await eventually(lambda: self.inbox.ring is not None and not self.inbox.ring.done(), within=5)


@asynccontextmanager
async def serving(capacity: int) -> AsyncIterator[House]:
    house = House(capacity)
    run = asyncio.create_task(house.consumer.run())
    await house.sleeps()
    try:
        yield house
    finally:
        house.consumer.stopping = True
        house.consumer.nudge()
        await run
        for done in house.executor.running.values():
            done.set()
        await house.consumer.drain(5)


async def test_what_a_waiting_take_brings_is_run_and_the_next_one_waits() -> None:
    async with serving(64) as house:
        assert house.inbox.rings == [RING]
        house.inbox.brings("a")
        await eventually(lambda: house.executor.ran == ["a"], within=5)
        await house.sleeps()
        assert (house.inbox.rings, house.inbox.takes) == ([RING, RING], [64])
        house.executor.running["a"].set()
        await eventually(lambda: house.consumer.running == 0, within=5)
    assert house.inbox.takes == [64]  # less had come than was asked for: nothing else waited


async def test_where_all_that_was_asked_for_came_more_is_taken_at_once() -> None:
    async with serving(64) as house:
        house.inbox.waits = [grant("c")]
        house.inbox.brings("a", "b")
        await eventually(lambda: sorted(house.executor.ran) == ["a", "b", "c"], within=5)
        assert house.inbox.takes == [64, 62]


async def test_a_full_house_takes_again_when_a_slot_ends() -> None:
    async with serving(1) as house:
        house.inbox.brings("a")
        await eventually(lambda: house.executor.ran == ["a"], within=5)
        await house.sleeps()
        assert house.inbox.rings == [1, 0]  # nothing more can be run, though something may be read
        house.inbox.waits = [grant("b")]
        house.executor.running["a"].set()
        await eventually(lambda: house.executor.ran == ["a", "b"], within=5)


async def test_what_comes_into_a_house_that_was_filled_meanwhile_is_given_back() -> None:
    async with serving(1) as house:
        house.inbox.waits = [grant("a")]
        house.consumer.nudge()
        await eventually(lambda: house.executor.ran == ["a"], within=5)
        house.inbox.brings("b")
        await eventually(lambda: house.ledger.back == [("b", 0.0)], within=5)
        assert house.executor.ran == ["a"]


async def test_where_it_is_not_known_what_was_taken_the_room_is_asked() -> None:
    async with serving(64) as house:
        ring = house.inbox.ring
        assert ring is not None
        ring.set_result(None)
        await eventually(lambda: house.ledger.reconciled == [[]], within=5)
        await eventually(lambda: len(house.inbox.takes) == 2, within=5)


async def test_what_was_taken_goes_before_the_next_wait_is_set_up() -> None:
    async with serving(64) as house:
        house.inbox.brings()
        await eventually(lambda: len(house.inbox.rings) == 2, within=5)
        house.inbox.brings("a")
        await eventually(lambda: len(house.inbox.rings) == 3, within=5)
        assert house.inbox.lulls == [2]


@pytest.mark.parametrize("running", [False, True])
async def test_a_worker_that_stops_ends_its_wait_and_gives_back_what_still_came(running: bool) -> None:
    async with serving(64) as house:
        if running:
            house.inbox.brings("a")
            await eventually(lambda: house.executor.ran == ["a"], within=5)
            await house.sleeps()
    assert house.inbox.released == 1
    assert house.ledger.back == [("late", 0.0)]
    assert house.executor.ran == (["a"] if running else [])
