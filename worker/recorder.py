"""Works out what a look at one service means, and writes it on whatever stands by then."""

import random
from collections.abc import Callable
from enum import Enum, auto

from contracts.receipts import Receipt
from contracts.times import format_ms
from worker.core.delivery import Fenced, Held, Outdated, Stale, Written
from worker.core.labels import ServiceLabels
from worker.core.look import Ended, Look, Missing, Present, Verdict
from worker.core.observe import Observation, observe
from worker.core.policy import policy_for
from worker.core.restore import restore
from worker.core.state import ServiceState
from worker.memory import Memory
from worker.ports import Board, Clock, Log

#: A write that finds the service changed is worked out anew so many times before the next look.
TRIES = 10


class Outcome(Enum):
    """What became of a look."""

    WRITTEN = auto()
    HELD = auto()  # a command holds the lane: look again after it settles
    AGAIN = auto()  # something newer stands
    FENCED = auto()  # this is no longer the observer
    NOTHING = auto()  # no such service, and there was none


class Recorder:
    """Writes looks under the observer's lease; `verdict` says what a probe makes of a service."""

    def __init__(
        self,
        *,
        board: Board,
        memory: Memory,
        clock: Clock,
        log: Log,
        on_exhausted: str = "retry",
        self_heal: bool = True,
        verdict: Callable[[str], Verdict | None] = lambda _: None,
        rng: random.Random | None = None,
    ) -> None:
        self._board = board
        self._memory = memory
        self._clock = clock
        self._log = log
        self._on_exhausted = on_exhausted
        self._self_heal = self_heal
        self._verdict = verdict
        self._rng = rng or random.Random()  # noqa: S311 -- spreads retries, guards nothing
        self._ends: dict[str, Ended] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        #: When each service has to be looked at again though nothing happens, ms of Redis TIME.
        self.look_again: dict[str, int] = {}

    def note_end(self, container_id: str, ended: Ended, *, most: int = 1024) -> None:
        """Remember how a container's process ended, as an event told."""
        self._ends.pop(container_id[:12], None)
        self._ends[container_id[:12]] = ended
        if len(self._ends) > most:
            del self._ends[next(iter(self._ends))]

    async def record(
        self,
        name: str,
        ticket: int,
        look: Look,
        *,
        republish: bool = False,
        forgetful: bool = False,
        once: bool = False,
    ) -> Outcome:
        """Write what was seen; with `once` only upon what this worker knows. Raises RedisLost, RoomRefused.

        With `republish` an event is made in any case, of what this worker remembers where Redis has lost
        it; `forgetful` says that its memory may have gaps.
        """
        remembered = self._memory.states.get(name)
        written = remembered if remembered is not None and not republish else None
        if written is None:
            written = (await self._board.states([name]))[0]
        basis = restore(written, remembered, look, forgetful=forgetful) if republish else written
        if basis.memo.lost and not written.memo.lost:
            text = "Redis lost a service's state; made anew from the engine"
            self._log.warning("state_lost", text, service=name)
        for _ in range(TRIES):
            if basis.snapshot is None and isinstance(look, Missing):
                self._memory.drop(name)
                self.look_again.pop(name, None)
                return Outcome.NOTHING
            seen = await self._observe(name, basis, look)
            answer = await self._board.observe(
                name,
                ticket,
                written,
                (seen.snapshot, seen.memo),
                exhausted=seen.exhausted,
                republish=republish,
            )
            match answer:
                case Written(ver=ver):
                    self._keep(name, ServiceState(seen.snapshot, seen.memo, ver), seen, look)
                    return Outcome.WRITTEN
                case Held():
                    return Outcome.HELD
                case Stale(state=state):
                    if once:
                        self._memory.keep(name, state)
                        return Outcome.AGAIN
                    written = basis = state
                    if republish:
                        basis = restore(written, remembered, look, forgetful=forgetful)
                case Outdated():
                    return Outcome.AGAIN
                case Fenced():
                    return Outcome.FENCED
        return Outcome.AGAIN

    async def _observe(self, name: str, state: ServiceState, look: Look) -> Observation:
        heal = await self._settled_heal(state)
        now_ms = self._clock.redis_ms()
        labels = look.labels if isinstance(look, Present) else ServiceLabels()
        run = state.memo.run
        return observe(
            state,
            name,
            look,
            policy_for(labels, on_exhausted=self._on_exhausted, self_heal=self._self_heal),
            now_ms=now_ms,
            observed_at=format_ms(now_ms),
            jitter=self._rng.random(),
            verdict=self._verdict(name),
            ended=self._ends.get(run.split(" ", 1)[0]) if run is not None else None,
            heal=heal,
            waits_for=self._memory.blocked(name),
        )

    async def _settled_heal(self, state: ServiceState) -> Receipt | None:
        """Return the receipt of the planned heal once it has settled."""
        if state.memo.plan is None:
            return None
        receipt = await self._board.receipt(state.memo.plan)
        return receipt if receipt is not None and receipt.settled else None

    def _keep(self, name: str, state: ServiceState, seen: Observation, look: Look) -> None:
        self._memory.keep(name, state)
        if seen.look_again_ms is not None:
            self.look_again[name] = seen.look_again_ms
        else:
            self.look_again.pop(name, None)
        problems = look.labels.problems if isinstance(look, Present) else ()
        if problems and self._told.get(name) != problems:
            self._log.warning("bad_label", "Labels with values of no use", service=name, problems=problems)
        self._told[name] = problems
        if seen.exhausted:
            self._log.warning(
                "exhausted",
                "Healing has spent its budget",
                service=name,
                failures=seen.snapshot.failure_count,
            )
