"""One held command from grant to settlement; the only caller of engine actions."""

from collections.abc import Callable
from typing import assert_never

from contracts.commands import SHORT_ID, Action
from contracts.errors import AlreadyRunning, AlreadyStopped, PreconditionFailed
from contracts.times import parse_ms
from worker.beginning import Beginning
from worker.core.decide import STATE_ONLY, Act, Decision, Finish, Reject, decide
from worker.core.delivery import Grant, Stale
from worker.core.look import Look, Present
from worker.core.takeover import Elsewhere, Happened, Overdue, Void, Wait, has_evidence, judge
from worker.course import Course, LeaseLost, NotBegun
from worker.limits import Limits
from worker.lookout import Lookout
from worker.patience import Patience
from worker.ports import Clock, Engine, EngineBusy, EngineFailed, EngineUnavailable, Ledger, Log
from worker.settling import Settling, failure, refusal


class Executor:
    """Runs held commands. `stopping` tells whether to hand back instead of waiting for an unfinished effect.

    `engine_lost` is called whenever the engine gave no answer.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        engine: Engine,
        lookout: Lookout,
        clock: Clock,
        limits: Limits,
        log: Log,
        engine_lost: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._lookout = lookout
        self._clock = clock
        self._limits = limits
        self._log = log
        self._engine_lost = engine_lost
        self._patience = Patience(
            lookout=lookout,
            clock=clock,
            limits=limits,
            log=log,
            engine_lost=engine_lost,
            stopping=stopping,
        )
        self._beginning = Beginning(ledger=ledger, clock=clock, limits=limits)
        self._settling = Settling(ledger=ledger, clock=clock, patience=self._patience)

    async def run(self, grant: Grant) -> Grant | None:
        """Bring a held command to its end; return the lane that came with the settlement, if any.

        Raises LeaseLost when the lane is another's, NotBegun when it should be handed back, RedisLost when
        Redis gave no answer, RoomRefused when it refused.
        """
        action = grant.receipt.action
        if action is None:
            raise LeaseLost(f"receipt {grant.id} names no action")
        course = Course(grant, action)
        if action in STATE_ONLY:
            return await self._decide_and_go(course, None)
        if grant.takeover:
            if has_evidence(grant.receipt):
                return await self._resume(course)
            look = await self._patience.look(course)
            return (
                await self._settling.engine_gone(course)
                if look is None
                else await self._decide_and_go(course, look)
            )
        return await self._decide_and_go(course, await self._first_look(grant))

    async def _first_look(self, grant: Grant) -> Look:
        known = grant.state.snapshot
        try:
            return await self._lookout.look(grant.service, known.container_id if known is not None else None)
        except (EngineUnavailable, EngineBusy) as error:
            self._engine_lost()
            raise NotBegun(str(error)) from error
        except EngineFailed as error:
            raise NotBegun(error.message) from error

    # Deciding

    async def _decide_and_go(self, course: Course, look: Look | None) -> Grant | None:
        grant = course.grant
        while True:
            decision = self._decide(course, look)
            match decision:
                case Reject(error=error):
                    return await self._settling.settle(course, refusal(error), None)
                case Finish(changed=changed):
                    answer = await self._settling.without_call(course, changed=changed, look=look)
                    if isinstance(answer, Stale):
                        grant.state = answer.state
                        continue
                    return answer
                case Act(look=present):
                    if not await self._beginning.begin(course, present):
                        return None
                    if course.begun_at < 0:  # stale: decide again
                        continue
                    return await self._call(course, present)
                case _:
                    assert_never(decision)

    def _decide(self, course: Course, look: Look | None) -> Decision:
        grant = course.grant
        decision = decide(grant.receipt, course.action, grant.service, grant.state, look)
        if (
            isinstance(decision, Reject)
            and isinstance(decision.error, AlreadyRunning | AlreadyStopped)
            and (grant.receipt.attempt or 0) > 1
        ):
            # An earlier attempt wrote `desired` itself; what it was after is so now.
            return Finish(changed=True)
        return decision

    # Calling

    async def _call(self, course: Course, look: Present) -> Grant | None:
        """Call the engine once and bring the command to its end."""
        grant, limits = course.grant, self._limits
        if self._clock.boot() - course.begun_at > limits.call_within and not await self._beginning.renew(
            course, look
        ):
            return None
        self._check_lease(grant)
        container_id, grace = look.container.id, int(course.grace)
        bound = course.grace + limits.margin
        try:
            match course.action:
                case Action.RESTART:
                    await self._engine.restart(container_id, grace, bound)
                case Action.START:
                    await self._engine.start(container_id)
                case Action.STOP:
                    await self._engine.stop(container_id, grace, bound)
                case Action.ENABLE | Action.DISABLE:
                    raise AssertionError(course.action)
            course.answered = True
        except EngineBusy:
            course.busy = True
        except EngineUnavailable as error:
            self._engine_lost()
            self._log.warning(
                "engine_lost", "The engine gave no answer to a call", command=grant.id, error=str(error)
            )
        except EngineFailed as error:
            return await self._afterrefusal(course, error)
        return await self._pursue(course)

    def _check_lease(self, grant: Grant) -> None:
        """Raise LeaseLost unless enough of the lease is left to begin a call."""
        if grant.lost or self._clock.boot() > grant.deadline - self._limits.guard:
            raise LeaseLost(grant.id)

    async def _afterrefusal(self, course: Course, error: EngineFailed) -> Grant | None:
        """Look first; where the effect is not there, fail with the engine's own words."""
        look = await self._patience.look(course)
        if look is None:
            return await self._settling.engine_gone(course)
        match self._judge(course, look):
            case Happened():
                return await self._settling.succeed(course, look, recovered=False)
            case Void() | Elsewhere():
                # The container went under our hands: what has its name now decides, as if nothing had been asked.
                return await self._pursue(course, look)
            case Wait() | Overdue():
                return await self._settling.settle(
                    course, failure("500", "engine_error", error.message), look
                )

    # Watching for the effect

    async def _resume(self, course: Course) -> Grant | None:
        """Take over a begun command: judge what the earlier attempt did, before any guard."""
        grant = course.grant
        course.grace = float(
            grant.receipt.timeout if grant.receipt.timeout is not None else self._limits.grace
        )
        look = await self._patience.look(course)
        if look is None:
            return await self._settling.engine_gone(course)
        if isinstance(look, Present):
            course.grace, course.container_id = float(self._beginning.grace(grant, look)), look.container.id
        return await self._pursue(course, look, recovered=True)

    async def _pursue(
        self, course: Course, look: Look | None = None, *, recovered: bool = False
    ) -> Grant | None:
        """Look until the effect is there, or until it is clear that it will not come."""
        limits = self._limits
        while True:
            if look is None:
                look = await self._patience.look(course)
            if look is None:
                return await self._settling.engine_gone(course)
            judgement = self._judge(course, look)
            match judgement:
                case Happened():
                    return await self._settling.succeed(course, look, recovered=recovered)
                case Elsewhere():
                    expected = (course.grant.receipt.expect_container_id or "")[:SHORT_ID]
                    error = PreconditionFailed(
                        f"Service '{course.grant.service}' is not on container {expected} any more"
                    )
                    return await self._settling.settle(course, refusal(error), None)
                case Void():
                    return await self._decide_and_go(course, look)
                case Overdue() if course.busy:
                    called = parse_ms(course.grant.receipt.called_at or "1970-01-01T00:00:00Z")
                    if self._clock.redis_ms() >= called + int(
                        (course.grace + limits.margin + limits.hang) * 1000
                    ):
                        waited = course.grace + limits.margin + limits.hang
                        text = f"The engine was still at it after {waited:g} s; it may yet finish"
                        return await self._settling.settle(course, failure("504", "timed_out", text), look)
                    pause = limits.look_every
                case Overdue() if course.answered:
                    text = "The engine answered the call, but a look does not show its effect"
                    return await self._settling.settle(course, failure("500", "engine_error", text), look)
                case Overdue():
                    return await self._decide_and_go(course, look)
                case Wait(until_ms=until):
                    pause = min(limits.look_every, max(0.0, (until - self._clock.redis_ms()) / 1000) + 0.005)
                case _:
                    assert_never(judgement)
            await self._patience.rest(course, pause)
            look = None

    def _judge(self, course: Course, look: Look) -> Happened | Wait | Overdue | Void | Elsewhere:
        return judge(
            course.grant.receipt,
            course.action,
            look,
            now_ms=self._clock.redis_ms(),
            grace=course.grace,
            margin=self._limits.margin,
        )
