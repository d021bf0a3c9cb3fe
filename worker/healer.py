"""Turns due plans into ordinary commands on the same stream, a few at a time and in the order of needs."""

import asyncio
import math
from collections.abc import Iterable, Mapping

from contracts.commands import SELF_HEAL, Action
from contracts.services import ServiceStatus
from worker.core.order import find_rings, heal_order, rank_of
from worker.core.state import ServiceState
from worker.limits import Limits
from worker.observer import Observer
from worker.ports import Board, Clock, Log, RedisLost, RoomRefused

#: A heal that could not begin within this many seconds is of no use any more (its need is judged anew).
HEAL_TTL = 60.0
#: The receipts of heals under way are read so often, seconds: for ends that the observer does not hear of.
CHECK_EVERY = 1.0
#: A service of a later category waits for an untried one of an earlier that is due within this time.
SHORTLY_MS = 5000
LAST_RANK = 99
_REASON_LIMIT = 256


class Healer:
    """Publishes heals while this worker observes the room."""

    def __init__(
        self, *, board: Board, observer: Observer, clock: Clock, limits: Limits, log: Log, at_once: int
    ) -> None:
        self._board = board
        self._observer = observer
        self._memory = observer.memory
        self._clock = clock
        self._limits = limits
        self._log = log
        self._at_once = at_once
        #: service -> the plan whose command is under way.
        self._out: dict[str, str] = {}
        self._term = 0
        self._checked = -math.inf
        self._needs: Mapping[str, tuple[str, ...]] = {}
        self._reported: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Step for ever: when a plan is due, and whenever a service was written."""
        kick = self._observer.written
        while True:
            kick.clear()
            try:
                pause = await self.step()
            except (RedisLost, RoomRefused) as error:
                self._log.warning("heal_failed", "Redis did not take a heal; trying again", error=str(error))
                pause = 0.5
            try:
                async with asyncio.timeout(max(0.001, pause)):
                    await kick.wait()
            except TimeoutError:
                pass

    async def step(self) -> float:
        """Publish what is due; return the seconds until the next plan is due (bounded by the idle time)."""
        if not self._observer.able:
            return self._limits.idle
        await self._settle_out()
        self._report_rings()
        now_ms = self._clock.redis_ms()
        memory = self._memory
        due = [name for name, at in memory.plans.items() if at <= now_ms and name not in self._out]
        snapshots = {name: memory.states[name].snapshot for name in due}
        for name in heal_order(due, snapshots, memory.needs):
            if len(self._out) >= self._at_once or rank_of(snapshots[name]) > self._first_rank(now_ms):
                break
            if name in memory.plans and memory.blocked(name) is None:
                await self._publish(name, memory.states[name])
        return self._pause()

    def _first_rank(self, now_ms: int) -> int:
        """Return the category that comes first: of what is down, has not been tried yet and will be shortly.

        When several are down at once their delays differ by chance; the order of categories does not.
        """
        memory, soon = self._memory, now_ms + SHORTLY_MS
        return min(
            (
                rank_of(memory.states[name].snapshot)
                for name, at in memory.plans.items()
                if at <= soon and name not in self._out and memory.states[name].memo.attempts == 0
                if memory.blocked(name) is None
            ),
            default=LAST_RANK,
        )

    async def _settle_out(self) -> None:
        """Free the places of heals that have ended or are planned no more; find an earlier observer's."""
        states = self._memory.states
        if self._term != self._observer.tenure.term:
            self._term, self._checked = self._observer.tenure.term, -math.inf
            self._out = {
                name: plan for name in self._memory.plans if (plan := states[name].memo.plan) is not None
            }
        for name, plan in list(self._out.items()):
            if name not in states or states[name].memo.plan != plan:
                del self._out[name]
        now = self._clock.boot()
        if not self._out or now - self._checked < CHECK_EVERY:
            return
        self._checked = now
        for name, plan in list(self._out.items()):
            receipt = await self._board.receipt(plan)
            if receipt is None or receipt.settled:
                self._out.pop(name, None)
                if receipt is not None:
                    self._observer.look_soon([name])

    async def _publish(self, name: str, state: ServiceState) -> None:
        snapshot, memo = state.snapshot, state.memo
        if snapshot is None or snapshot.restart_scheduled_at is None or memo.plan is None:
            return
        action = Action.RESTART if snapshot.status is ServiceStatus.UNHEALTHY else Action.START
        fields = {
            "id": memo.plan,
            "action": action.value,
            "service": name,
            "issuer": SELF_HEAL,
            "reason": _reason(state),
        }
        if snapshot.container_id is not None:
            fields["expect_container_id"] = snapshot.container_id
        if snapshot.started_at is not None:
            fields["expect_started_at"] = snapshot.started_at
        answer = await self._board.heal(name, snapshot.restart_scheduled_at, HEAL_TTL, fields)
        match answer:
            case "ok":
                self._out[name] = memo.plan
                self._log.info(
                    "heal_published", "A heal is due", service=name, command=memo.plan, heal=action.value
                )
            case "duplicate":
                self._out[name] = memo.plan
                self._checked = -math.inf
            case "conflict" | "moot":
                self._observer.look_soon([name])
            case "early":
                pass
            case word:
                self._log.warning("heal_refused", "The heal could not be published", service=name, why=word)

    def _report_rings(self) -> None:
        if self._needs == self._memory.needs:
            return
        self._needs = dict(self._memory.needs)
        for ring in self._new_rings(self._needs):
            text = "Services depend on each other in a ring; the ring is not followed"
            self._log.warning("dependency_cycle", text, ring=ring)

    def _new_rings(self, needs: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
        rings = frozenset(" -> ".join(ring) for ring in find_rings(needs))
        fresh, self._reported = rings - self._reported, rings
        return sorted(fresh)

    def _pause(self) -> float:
        """Return how long nothing is due. What waits for a place or another service is woken by a write."""
        now_ms = self._clock.redis_ms()
        waiting = [at for name, at in self._memory.plans.items() if name not in self._out]
        later = [at for at in waiting if at > now_ms]
        pause = self._limits.idle
        if later:
            pause = min(pause, (min(later) - now_ms) / 1000 + 0.001)
        if self._out:
            pause = min(pause, CHECK_EVERY)
        return pause


def _reason(state: ServiceState) -> str:
    """Return why it is healed: what was observed, without what healing itself adds to it."""
    seen = state.memo.seen
    text = (seen[2] or seen[1] or seen[0].value) if seen is not None else ""
    return " ".join(text.split())[:_REASON_LIMIT]
