"""Turns due plans into ordinary commands on the same stream, a few at a time and in the order services need each other."""

import asyncio
from collections.abc import Iterable, Mapping

from contracts.commands import SELF_HEAL, Action
from contracts.services import ServiceStatus

from worker.core.heal import due_ms
from worker.core.order import blocked_by, find_rings, heal_order
from worker.core.state import ServiceState
from worker.limits import Limits
from worker.observer import Observer
from worker.ports import Board, Clock, Log

#: A heal that could not begin within this many seconds is of no use any more (its need is judged anew).
HEAL_TTL = 60.0


class Healer:
    """Publishes heals while this worker observes the room."""

    def __init__(
        self, *, board: Board, observer: Observer, clock: Clock, limits: Limits, log: Log, at_once: int
    ) -> None:
        self._board = board
        self._observer = observer
        self._clock = clock
        self._limits = limits
        self._log = log
        self._at_once = at_once
        self._out: dict[str, str] = {}
        self._reported: frozenset[str] = frozenset()

    async def step(self) -> float:
        """Publish what is due; return the seconds until the next plan is due (bounded by the idle time)."""
        if not self._observer.mine or not self._observer.engine_up:
            return self._limits.idle
        states = self._observer.states
        await self._settle_out(states)
        now_ms = self._clock.redis_ms()
        due = [name for name, state in states.items() if self._is_due(name, state, now_ms)]
        needs = {name: state.memo.needs for name, state in states.items() if state.memo.needs}
        for cycle in self._new_cycles(needs):
            self._log.warning(
                "dependency_cycle",
                "Services depend on each other in a ring; the ring is not followed",
                ring=cycle,
            )
        for name in heal_order(due, {name: state.snapshot for name, state in states.items()}, needs):
            if len(self._out) >= self._at_once:
                break
            waits_for = blocked_by(name, needs, lambda need: _is_well(states.get(need)))
            if waits_for is None:
                await self._publish(name, states[name])
        return self._pause(states)

    def _is_due(self, name: str, state: ServiceState, now_ms: int) -> bool:
        at = due_ms(state.snapshot) if state.snapshot is not None else None
        return (
            at is not None
            and at <= now_ms
            and state.memo.plan is not None
            and self._out.get(name) != state.memo.plan
        )

    async def _settle_out(self, states: Mapping[str, ServiceState]) -> None:
        """Free the places of heals that have settled, or whose plan is gone."""
        for name, plan in list(self._out.items()):
            state = states.get(name)
            if state is None or state.memo.plan != plan:
                del self._out[name]
                continue
            receipt = await self._board.receipt(plan)
            if receipt is None or receipt.settled:
                del self._out[name]
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
            "reason": (snapshot.message or snapshot.reason or snapshot.status.value)[:256],
        }
        if snapshot.container_id is not None:
            fields["expect_container_id"] = snapshot.container_id
        if snapshot.started_at is not None:
            fields["expect_started_at"] = snapshot.started_at
        answer = await self._board.heal(name, snapshot.restart_scheduled_at, HEAL_TTL, fields)
        match answer:
            case "ok" | "duplicate":
                self._out[name] = memo.plan
                self._log.info(
                    "heal_published", "A heal is due", service=name, command=memo.plan, heal=action.value
                )
            case "conflict" | "moot":
                self._observer.look_soon([name])
            case "early":
                pass
            case word:
                self._log.warning("heal_refused", "The heal could not be published", service=name, why=word)

    def _new_cycles(self, needs: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
        rings = frozenset(" -> ".join(ring) for ring in find_rings(needs))
        fresh, self._reported = rings - self._reported, rings
        return sorted(fresh)

    def _pause(self, states: Mapping[str, ServiceState]) -> float:
        now_ms = self._clock.redis_ms()
        waiting = [
            at for state in states.values() if state.snapshot and (at := due_ms(state.snapshot)) is not None
        ]
        later = [at for at in waiting if at > now_ms]
        pause = (min(later) - now_ms) / 1000 + 0.001 if later else self._limits.idle
        if len(later) < len(waiting):
            pause = min(pause, 0.25)
        return min(pause, self._limits.idle)

    async def run(self, kick: asyncio.Event) -> None:
        """Step for ever; `kick` is set when a plan was made."""
        while True:
            pause = await self.step()
            try:
                async with asyncio.timeout(max(0.001, pause)):
                    await kick.wait()
            except TimeoutError:
                pass
            kick.clear()


def _is_well(state: ServiceState | None) -> bool:
    """Say whether a needed service stands in nobody's way: running, or none that this room knows or watches."""
    if state is None or state.snapshot is None:
        return True
    return state.snapshot.status in {ServiceStatus.RUNNING, ServiceStatus.DISABLED}
