"""Callers share a request only if it is sent after they asked."""

import asyncio

import pytest

from tests.support.waiting import eventually
from worker.adapters.docker.sharing import Shared
from worker.ports import EngineFailed, EngineUnavailable


class Source:
    """A request that is answered when the test says so; its answer is what was true when it was sent."""

    def __init__(self) -> None:
        self.truth = 0
        self.sent = 0
        self.running = 0
        self.most_at_once = 0
        self.error: Exception | None = None
        self.answer = asyncio.Event()

    async def fetch(self) -> int:
        self.sent += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        seen = self.truth
        try:
            await self.answer.wait()
            if self.error:
                raise self.error
            return seen
        finally:
            self.running -= 1


@pytest.fixture
def source() -> Source:
    return Source()


async def test_all_who_ask_at_once_share_one_request(source: Source):
    shared = Shared(source.fetch)
    source.answer.set()
    assert await asyncio.gather(*(shared.get() for _ in range(50))) == [0] * 50
    assert source.sent == 1


async def test_who_asks_while_one_runs_gets_the_next(source: Source):
    shared = Shared(source.fetch)
    first = asyncio.create_task(shared.get())
    await eventually(lambda: source.running == 1)
    source.truth = 1
    late = [asyncio.create_task(shared.get()) for _ in range(20)]
    await asyncio.wait({first}, timeout=0)
    assert source.sent == 1, "one runs, one waits"
    source.answer.set()
    assert await first == 0
    assert await asyncio.gather(*late) == [1] * 20
    assert (source.sent, source.most_at_once) == (2, 1)
    source.truth = 2
    assert await shared.get() == 2


async def test_an_error_goes_to_all_who_share_it_and_to_nobody_else(source: Source):
    shared = Shared(source.fetch)
    source.error = EngineFailed("no", 500)
    source.answer.set()
    answers = await asyncio.gather(*(shared.get() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(answer, EngineFailed) for answer in answers)
    source.error = None
    assert await shared.get() == 0


async def test_who_gives_up_takes_nothing_from_the_others(source: Source):
    shared = Shared(source.fetch)
    impatient, patient = (asyncio.create_task(shared.get()) for _ in range(2))
    await eventually(lambda: source.running == 1)
    impatient.cancel()
    await asyncio.wait({impatient})
    assert impatient.cancelled()
    source.answer.set()
    assert await patient == 0


async def test_an_error_that_nobody_waits_for_makes_no_noise(source: Source):
    shared = Shared(source.fetch)
    source.error = EngineUnavailable("gone")
    caller = asyncio.create_task(shared.get())
    await eventually(lambda: source.running == 1)
    caller.cancel()
    await asyncio.wait({caller})
    source.answer.set()
    await eventually(lambda: source.running == 0)


async def test_closing_lets_all_go(source: Source):
    shared = Shared(source.fetch)
    first = asyncio.create_task(shared.get())
    await eventually(lambda: source.running == 1)
    second = asyncio.create_task(shared.get())
    await asyncio.wait({second}, timeout=0)
    await shared.close()
    answers = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 2)
    assert all(isinstance(answer, EngineUnavailable) for answer in answers)
    assert source.running == 0
