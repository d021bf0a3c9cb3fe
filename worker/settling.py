"""How a held command ends: the outcome that its receipt gets, and what its end makes of the service."""

from collections.abc import Callable, Mapping
from typing import assert_never

from contracts.commands import Action
from contracts.errors import PointsmanError
from contracts.services import Snapshot
from contracts.times import format_ms
from worker.core.delivery import Early, Ended, Fenced, Grant, Settled, Stale
from worker.core.effects import at_end_unseen, at_settle, without_call
from worker.core.look import Look, Present
from worker.core.state import Memo
from worker.course import Course, LeaseLost
from worker.patience import Patience
from worker.ports import Clock, Ledger

#: What an end makes of the service; None leaves it as it was.
Change = tuple[Snapshot, Memo] | None

_DONE = {
    Action.RESTART: "Service '{}' restart initiated",
    Action.START: "Service '{}' start initiated",
    Action.STOP: "Service '{}' stop initiated",
    Action.ENABLE: "Service '{}' enabled",
    Action.DISABLE: "Service '{}' disabled",
}


class Settling:
    """Settles held commands; each method returns the lane that came with the settlement, if any.

    Raises LeaseLost when the lane is another's, RedisLost, RoomRefused.
    """

    def __init__(self, *, ledger: Ledger, clock: Clock, patience: Patience) -> None:
        self._ledger = ledger
        self._clock = clock
        self._patience = patience

    async def succeed(self, course: Course, look: Look, *, recovered: bool) -> Grant | None:
        """Settle a command whose effect was seen; `recovered`: an earlier attempt had it."""
        outcome = self.success(course, changed=True, look=look)
        if recovered:
            outcome["recovered"] = "1"
        return await self.settle(course, outcome, look, done=True)

    def success(self, course: Course, *, changed: bool, look: Look | None) -> dict[str, str]:
        """Return the outcome of a command that did what it was asked for."""
        outcome = {
            "status": "succeeded",
            "code": "200",
            "message": _DONE[course.action].format(course.grant.service),
            "changed": "1" if changed else "0",
        }
        if isinstance(look, Present):
            outcome["after_container_id"] = look.container.short_id
            if look.container.ever_started:
                outcome["after_started_at"] = look.container.started_at
        return outcome

    async def settle(
        self, course: Course, outcome: Mapping[str, str], look: Look | None, *, done: bool = False
    ) -> Grant | None:
        """Settle with what the last look showed; on a changed service, work the change out anew."""
        grant = course.grant

        def change() -> Change:
            if look is None:
                return at_end_unseen(grant.state, grant.receipt)
            now = self._clock.redis_ms()
            return at_settle(
                grant.state,
                grant.receipt,
                course.action,
                grant.service,
                look,
                done=done,
                now_ms=now,
                observed_at=format_ms(now),
            )

        return await self._end(course, outcome, change)

    async def without_call(self, course: Course, *, changed: bool, look: Look | None) -> Grant | Stale | None:
        """Begin and settle at once a command that needs no engine call; Stale where it must be decided again."""
        grant, now = course.grant, self._clock.redis_ms()
        change = without_call(
            grant.state, course.action, grant.service, look, now_ms=now, observed_at=format_ms(now)
        )
        outcome = self.success(course, changed=changed, look=look)
        answer = await self._ledger.settle(grant, outcome, change, started=True, want=True)
        return answer if isinstance(answer, Stale) else self._following(grant, answer)

    async def engine_gone(self, course: Course) -> Grant | None:
        """Settle with 503, by Redis TIME: the deadline came and the engine had not answered."""
        grant = course.grant
        outcome = failure("503", "engine_unavailable", "The engine did not answer before the command expired")
        return await self._end(
            course, outcome, lambda: at_end_unseen(grant.state, grant.receipt), overdue_only=True
        )

    async def _end(
        self,
        course: Course,
        outcome: Mapping[str, str],
        change: Callable[[], Change],
        *,
        overdue_only: bool = False,
    ) -> Grant | None:
        """Settle; on a changed service, work its `change` out anew. With `overdue_only` not before the deadline."""
        grant = course.grant
        while True:
            answer = await self._ledger.settle(grant, outcome, change(), overdue_only=overdue_only, want=True)
            match answer:
                case Stale(state=state):
                    grant.state = state
                case Early() if overdue_only:
                    await self._patience.rest(course, 0.05)
                case _:
                    return self._following(grant, answer)

    @staticmethod
    def _following(grant: Grant, answer: Settled | Fenced | Early | Ended) -> Grant | None:
        """Return the lane that came with a settlement. Raises LeaseLost where there was none."""
        match answer:
            case Settled(next=following):
                return following
            case Ended():
                return None
            case Fenced() | Early():
                raise LeaseLost(grant.id)
            case _:
                assert_never(answer)


def refusal(error: PointsmanError) -> dict[str, str]:
    """Return the outcome of a command that a guard refused."""
    return {"status": "rejected", "code": str(error.status), "error": error.code, "message": error.message}


def failure(code: str, word: str, message: str) -> dict[str, str]:
    """Return the outcome of a command that did not have its effect."""
    return {"status": "failed", "code": code, "error": word, "message": message}
