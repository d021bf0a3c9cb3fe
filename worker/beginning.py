"""How a held command begins: what its effect will be judged by is stored before the engine is called."""

from typing import assert_never

from msgspec.structs import replace

from contracts.receipts import ReceiptStatus
from contracts.services import Snapshot
from contracts.times import format_ms
from worker.core.container import NEVER
from worker.core.delivery import Begun, Ended, Fenced, Grant, Stale
from worker.core.effects import at_begin
from worker.core.look import Present
from worker.course import Course, LeaseLost
from worker.limits import Limits
from worker.ports import Clock, Ledger


class Beginning:
    """Begins held commands. Raises LeaseLost when the lane is another's, RedisLost, RoomRefused."""

    def __init__(self, *, ledger: Ledger, clock: Clock, limits: Limits) -> None:
        self._ledger = ledger
        self._clock = clock
        self._limits = limits

    async def begin(self, course: Course, look: Present) -> bool:
        """Store the evidence. False when the command ended instead; `begun_at` < 0 when it must be decided again."""
        grant, container = course.grant, look.container
        now = self._clock.redis_ms()
        snapshot, memo = at_begin(
            grant.state,
            grant.receipt,
            course.action,
            grant.service,
            look,
            now_ms=now,
            observed_at=format_ms(now),
        )
        evidence = {
            "before_container_id": container.short_id,
            "before_started_at": container.started_at if container.started_at != NEVER else "",
            "before_finished_at": container.finished_at if container.finished_at != NEVER else "",
        }
        sent = self._clock.boot()
        answer = await self._ledger.begin(grant, snapshot, memo, evidence)
        match answer:
            case Begun(ver=ver, called_at=called_at):
                grant.state = type(grant.state)(_revised(snapshot, grant), memo, ver)
                grant.receipt = replace(
                    grant.receipt,
                    status=ReceiptStatus.RUNNING,
                    attempt=grant.receipt.attempt or 1,
                    called_at=called_at,
                    before_container_id=container.short_id,
                    before_started_at=evidence["before_started_at"] or None,
                    before_finished_at=evidence["before_finished_at"] or None,
                )
                course.begun_at, course.container_id, course.grace = (
                    sent,
                    container.id,
                    self.grace(grant, look),
                )
                course.busy = course.answered = False
                return True
            case Stale(state=state):
                grant.state, course.begun_at = state, -1.0
                return True
            case Ended():
                return False
            case Fenced():
                raise LeaseLost(grant.id)
            case _:
                assert_never(answer)

    def grace(self, grant: Grant, look: Present) -> int:
        """Return the stop grace in seconds: the command's, the label's, the container's, the default."""
        for value in (grant.receipt.timeout, look.labels.stop_timeout, look.container.stop_timeout):
            if value is not None:
                return value
        return self._limits.grace

    async def renew(self, course: Course, look: Present) -> bool:
        """Renew the time of the call where the begin was long ago."""
        if not await self.begin(course, look):
            return False
        if course.begun_at < 0:
            # The lane is held, so only something outside the rules wrote the service: take its word and go on.
            if not await self.begin(course, look):
                return False
            if course.begun_at < 0:
                raise LeaseLost(course.grant.id)
        return True


def _revised(snapshot: Snapshot, grant: Grant) -> Snapshot:
    """Return the snapshot as written; its revision is the script's and is not decided on."""
    before = grant.state.snapshot
    if before is None or before.revision == snapshot.revision:
        return snapshot
    return replace(snapshot, revision=before.revision)
