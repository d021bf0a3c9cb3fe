"""How long a call whose answer was lost is repeated: over a ledger that loses answers, in time that the test sets."""

from typing import Any

import pytest

from contracts.commands import Action
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import ServiceStatus, Snapshot
from worker.core.delivery import Begun, Grant, Settled
from worker.core.state import Memo, ServiceState
from worker.keeper import PatientLedger
from worker.ports import RedisLost

LEASE = 10.0
NOW = 100.0


class Clock:
    """Stands still but for sleeps."""

    def __init__(self) -> None:
        self.now = NOW

    def boot(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Losing:
    """Loses so many answers, then gives them."""

    def __init__(self, losses: int) -> None:
        self.left = losses
        self.calls = 0

    async def begin(self, *_: Any) -> Begun:
        self._lose()
        return Begun(ver="1", called_at="")

    async def settle(self, *_: Any, **__: Any) -> Settled:
        self._lose()
        return Settled()

    def _lose(self) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise RedisLost("lost")


def held(*, until: float) -> Grant:
    receipt = Receipt(id="k1", status=ReceiptStatus.QUEUED, action=Action.RESTART, service="web")
    state = ServiceState(None, Memo())
    return Grant("web", "k1", "t", takeover=False, receipt=receipt, state=state, deadline=until)


async def call(what: str, ledger: PatientLedger, grant: Grant) -> object:
    if what == "settle":
        return await ledger.settle(grant, {}, None)
    return await ledger.begin(grant, Snapshot(name="web", status=ServiceStatus.RUNNING), Memo(), {})


@pytest.mark.parametrize("what", ["begin", "settle"])
@pytest.mark.parametrize("until", [NOW - 30, NOW + LEASE], ids=["known too early", "in full"])
async def test_a_lost_answer_is_asked_for_again_while_the_lease_may_be_ours(what: str, until: float) -> None:
    ledger, doubts = Losing(losses=3), []
    answer = await call(
        what, PatientLedger(ledger, Clock(), LEASE, lambda: doubts.append(1)), held(until=until)
    )
    assert isinstance(answer, Begun | Settled)
    assert (ledger.calls, len(doubts)) == (4, 3)


@pytest.mark.parametrize("what", ["begin", "settle"])
@pytest.mark.parametrize(
    ("until", "given_up_after"),
    [(NOW - 30, LEASE), (NOW + LEASE, LEASE), (NOW + 3 * LEASE, 3 * LEASE)],
    ids=["known too early", "in full", "prolonged"],
)
async def test_it_is_given_up_when_no_lease_can_be_left(
    what: str, until: float, given_up_after: float
) -> None:
    clock = Clock()
    with pytest.raises(RedisLost):
        await call(what, PatientLedger(Losing(losses=10**6), clock, LEASE), held(until=until))
    assert clock.now - NOW == pytest.approx(given_up_after, abs=0.1)


async def test_a_lease_that_is_known_to_be_gone_is_given_up_at_once() -> None:
    ledger, grant = Losing(losses=10), held(until=NOW + LEASE)
    grant.lost = True
    with pytest.raises(RedisLost):
        await call("settle", PatientLedger(ledger, Clock(), LEASE), grant)
    assert ledger.calls == 1
