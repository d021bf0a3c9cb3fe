"""One held command from grant to settlement; the only caller of engine actions."""

from collections.abc import Callable
from typing import assert_never

from msgspec.structs import replace

from contracts.commands import SHORT_ID, Action
from contracts.errors import AlreadyRunning, AlreadyStopped, PreconditionFailed
from contracts.receipts import ReceiptStatus
from contracts.services import Snapshot
from contracts.times import format_ms, parse_ms
from worker.core.container import NEVER
from worker.core.decide import STATE_ONLY, Act, Decision, Finish, Reject, decide
from worker.core.delivery import Begun, Early, Ended, Fenced, Grant, Settled, Stale
from worker.core.effects import at_begin, without_call
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
        self._ledger = ledger
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
                    now = self._clock.redis_ms()
                    change = without_call(
                        grant.state,
                        course.action,
                        grant.service,
                        look,
                        now_ms=now,
                        observed_at=format_ms(now),
                    )
                    outcome = self._settling.success(course, changed=changed, look=look)
                    answer = await self._ledger.settle(grant, outcome, change, started=True, want=True)
                    match answer:
                        case Stale(state=state):
                            grant.state = state
                            continue
                        case Settled(next=following):
                            return following
                        case Fenced() | Early():
                            raise LeaseLost(grant.id)
                        case Ended():
                            return None
                        case _:
                            assert_never(answer)
                case Act(look=present):
                    if not await self._begin(course, present):
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

    async def _begin(self, course: Course, look: Present) -> bool:
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
                    self._grace(grant, look),
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

    def _grace(self, grant: Grant, look: Present) -> int:
        """Return the stop grace in seconds: the command's, the label's, the container's, the default."""
        for value in (grant.receipt.timeout, look.labels.stop_timeout, look.container.stop_timeout):
            if value is not None:
                return value
        return self._limits.grace

    # Calling

    async def _call(self, course: Course, look: Present) -> Grant | None:
        """Call the engine once and bring the command to its end."""
        grant, limits = course.grant, self._limits
        if self._clock.boot() - course.begun_at > limits.call_within and not await self._begin_anew(
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

    async def _begin_anew(self, course: Course, look: Present) -> bool:
        """Renew the time of the call where the begin was long ago."""
        if not await self._begin(course, look):
            return False
        if course.begun_at < 0:
            # The lane is held, so only something outside the rules wrote the service: take its word and go on.
            if not await self._begin(course, look):
                return False
            if course.begun_at < 0:
                raise LeaseLost(course.grant.id)
        return True

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
            course.grace, course.container_id = float(self._grace(grant, look)), look.container.id
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


def _revised(snapshot: Snapshot, grant: Grant) -> Snapshot:
    """Return the snapshot as written; its revision is the script's and is not decided on."""
    before = grant.state.snapshot
    if before is None or before.revision == snapshot.revision:
        return snapshot
    return replace(snapshot, revision=before.revision)
