"""Probes: verdicts after a row of failures, one that hangs delays no other, few at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.story import Story
from tests.support.waiting import eventually, holds
from worker.adapters.clock import SystemClock
from worker.core.labels import Probe
from worker.core.look import Present
from worker.limits import Limits
from worker.prober import Prober

QUICK = Limits(probe_every=0.01, probe_again=0.005, probe_deadline=0.2, probe_failures=3, probes_at_once=2)


class Answers:
    """An asker that answers by port: a reason, None for ready, or an event to wait for."""

    def __init__(self) -> None:
        self.by_port: dict[int, str | asyncio.Event | None] = {}
        self.asked: list[int] = []
        self.asking = 0
        self.most = 0

    async def ask(self, probe: Probe, addresses: Sequence[str]) -> str | None:
        self.asked.append(probe.port)
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            answer = self.by_port.get(probe.port)
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                return None
            await asyncio.sleep(0)
            return answer
        finally:
            self.asking -= 1


def look(port: int, told: Story | None = None) -> Present:
    told = told or Story(labels={"pointsman.probe": f"tcp://:{port}"}).run()
    found = told.view()
    assert isinstance(found, Present)
    return found


@pytest.fixture
def answers() -> Answers:
    return Answers()


@contextlib.asynccontextmanager
async def running(answers: Answers) -> AsyncIterator[Prober]:
    prober = Prober(asker=answers, clock=SystemClock(), limits=QUICK)
    task = asyncio.create_task(prober.run())
    try:
        yield prober
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_success_is_ready_and_only_a_row_of_failures_is_not(answers: Answers) -> None:
    turned: list[str] = []
    answers.by_port[1] = None
    async with running(answers) as prober:
        prober.on_verdict = turned.append
        prober.watch("web", look(1))
        await eventually(lambda: prober.verdict("web"))
        answers.by_port[1] = "refused"
        asked = len(answers.asked)
        await eventually(lambda: not prober.verdict("web").ready)  # type: ignore[union-attr]
        assert len(answers.asked) >= asked + 3
        assert prober.verdict("web").why == "refused"  # type: ignore[union-attr]
        answers.by_port[1] = None
        await eventually(lambda: prober.verdict("web").ready)  # type: ignore[union-attr]
    assert turned == ["web", "web", "web"]


async def test_a_new_run_has_no_verdict_yet_and_is_asked_at_once(answers: Answers) -> None:
    told = Story(labels={"pointsman.probe": "tcp://:1"}).run()
    async with running(answers) as prober:
        prober.watch("web", look(1, told))
        first = await eventually(lambda: prober.verdict("web"))
        told.die().start()
        prober.watch("web", look(1, told))
        assert prober.verdict("web") is None
        second = await eventually(lambda: prober.verdict("web"))
        assert first is not None
        assert second is not None
        assert first.run != second.run


async def test_hung_probes_delay_others_by_no_more_than_their_deadline_and_are_failures(
    answers: Answers,
) -> None:
    never = asyncio.Event()
    for port in (1, 2):
        answers.by_port[port] = never
    answers.by_port[3] = None
    async with running(answers) as prober:
        for port in (1, 2, 3):
            prober.watch(f"s{port}", look(port))
        await eventually(lambda: prober.verdict("s3"), within=2)
        await eventually(lambda: prober.verdict("s1"), within=5)
        assert prober.verdict("s1").why == "no answer within 0.2 s"  # type: ignore[union-attr]
    assert answers.most <= 2


async def test_one_hung_probe_delays_no_other_at_all(answers: Answers) -> None:
    answers.by_port[1] = asyncio.Event()
    async with running(answers) as prober:
        prober.watch("hung", look(1))
        await eventually(lambda: answers.asking == 1)
        for port in range(2, 12):
            prober.watch(f"s{port}", look(port))
        await eventually(lambda: all(prober.verdict(f"s{port}") for port in range(2, 12)), within=0.19)


async def test_who_is_forgotten_is_asked_no_more(answers: Answers) -> None:
    async with running(answers) as prober:
        prober.watch("web", look(1))
        await eventually(lambda: prober.verdict("web"))
        prober.forget("web")
        await eventually(lambda: answers.asking == 0)
        asked = len(answers.asked)
        await holds(lambda: len(answers.asked) == asked, during=0.05)
        assert prober.verdict("web") is None
