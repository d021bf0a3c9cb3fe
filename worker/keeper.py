"""Keeps what the worker holds: leases renewed every third of their length, calls repeated while Redis is silent."""

from collections.abc import Callable, Mapping, Sequence

from contracts.services import Snapshot
from worker.core.delivery import BeginAnswer, Grant, SettleAnswer
from worker.core.state import Memo
from worker.limits import Limits
from worker.ports import Clock, Ledger, Log, RedisLost, RoomRefused


class PatientLedger:
    """A ledger that repeats a call whose answer was lost, while the grant's lease can still be ours.

    Every write carries the grant's token, so one that was carried out is recognised when it comes again.
    What the grant says of its lease's end may be too early, but no lease outlasts the first try by more than
    `lease` seconds. `doubt` is called for each answer lost: it may have brought another lane.
    """

    def __init__(
        self, ledger: Ledger, clock: Clock, lease: float, doubt: Callable[[], None] = lambda: None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lease = lease
        self._doubt = doubt

    async def begin(
        self, grant: Grant, snapshot: Snapshot, memo: Memo, evidence: Mapping[str, str]
    ) -> BeginAnswer:
        """See `Ledger.begin`."""
        until = self._clock.boot() + self._lease
        while True:
            try:
                return await self._ledger.begin(grant, snapshot, memo, evidence)
            except RedisLost:
                await self._unless_lapsed(grant, until)

    async def settle(
        self,
        grant: Grant,
        outcome: Mapping[str, str],
        change: tuple[Snapshot, Memo] | None,
        *,
        started: bool = False,
        overdue_only: bool = False,
        want: bool = False,
    ) -> SettleAnswer:
        """See `Ledger.settle`."""
        until = self._clock.boot() + self._lease
        while True:
            try:
                return await self._ledger.settle(
                    grant, outcome, change, started=started, overdue_only=overdue_only, want=want
                )
            except RedisLost:
                await self._unless_lapsed(grant, until)

    async def renew(self, grants: Sequence[Grant]) -> None:
        """See `Ledger.renew`."""
        await self._ledger.renew(grants)

    async def hand_back(self, grants: Sequence[Grant], *, rest: float = 0) -> None:
        """See `Ledger.hand_back`."""
        await self._ledger.hand_back(grants, rest=rest)

    async def reconcile(self, held: Callable[[], Sequence[Grant]]) -> None:
        """See `Ledger.reconcile`."""
        await self._ledger.reconcile(held)

    async def _unless_lapsed(self, grant: Grant, until: float) -> None:
        """Wait a little before the call is repeated; raise what was caught where the lease cannot be ours any more."""
        self._doubt()
        if grant.lost or self._clock.boot() >= max(until, grant.deadline):
            raise  # noqa: PLE0704 -- called where RedisLost is being handled
        await self._clock.sleep(0.05)


class Keeper:
    """Renews the leases of all lanes that the worker holds, in one script call."""

    def __init__(
        self, *, ledger: Ledger, held: Callable[[], Sequence[Grant]], clock: Clock, limits: Limits, log: Log
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._clock = clock
        self._limits = limits
        self._log = log

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self._clock.sleep(self._limits.lease / 3)
            grants = list(self._held())
            if not grants:
                continue
            try:
                await self._ledger.renew(grants)
            except (RedisLost, RoomRefused) as error:
                self._log.warning(
                    "renew_failed", "Leases could not be renewed", lanes=len(grants), error=str(error)
                )
