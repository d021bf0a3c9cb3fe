"""Watches the engine and writes what it sees; one worker of a room at a time does, by a lease.

Engine events are hints that make it look; list and inspect are the truth.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from contracts.receipts import Receipt
from contracts.services import Desired, Snapshot
from contracts.times import format_ms

from worker.core.container import EngineConnected, EngineHint
from worker.core.delivery import Fenced, Held, Outdated, Stale, Written
from worker.core.discovery import Ambiguous, Found, group, is_managed, room_of, service_name
from worker.core.labels import ServiceLabels
from worker.core.look import Clash, Look, Missing, Present
from worker.core.observe import Observation, observe
from worker.core.policy import policy_for
from worker.core.state import Memo, ServiceState
from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.lookout import Lookout
from worker.ports import Board, Clock, Engine, EngineError, EngineFailed, Log, RedisLost, RoomRefused

#: Containers inspected at once by a survey.
INSPECTS = 8
#: A held lane is looked at again after this long, seconds, doubled up to the second value.
HELD_FIRST, HELD_MOST = 0.05, 1.0
#: A service gone for so long, enabled and desired running, is removed (contract 5).
REMOVE_AFTER_MS = 7 * 86_400_000


class Observer:
    """The room's observer, or its stand-in. `states` is what this worker remembers of every service."""

    def __init__(
        self,
        *,
        board: Board,
        engine: Engine,
        lookout: Lookout,
        gauge: EngineGauge,
        clock: Clock,
        limits: Limits,
        log: Log,
        room: str,
        on_exhausted: str = "retry",
        self_heal: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        self._board = board
        self._engine = engine
        self._lookout = lookout
        self._gauge = gauge
        self._clock = clock
        self._limits = limits
        self._log = log
        self._room = room
        self._on_exhausted = on_exhausted
        self._self_heal = self_heal
        self._rng = rng or random.Random()  # noqa: S311 -- spreads retries, guards nothing
        self.states: dict[str, ServiceState] = {}
        self.mine = False
        self._survey_due = True
        self._republish = False
        self._lost_state = False
        self._dirty: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._look_at: dict[str, int] = {}
        self._kick = asyncio.Event()
        self._reported: frozenset[str] = frozenset()
        #: Set whenever a service was written: a plan may have been made.
        self.written = asyncio.Event()
        gauge.on_up.append(self.survey_soon)

    @property
    def engine_up(self) -> bool:
        """Say whether the engine answers here; while it does not, nothing is known and nothing is healed."""
        return self._gauge.up

    def survey_soon(self) -> None:
        """Ask for a look at everything."""
        self._survey_due = True
        self._kick.set()

    def look_soon(self, names: Iterable[str], after: float = 0.0) -> None:
        """Ask for a look at some services, `after` seconds from now."""
        at = self._clock.boot() + after
        for name in names:
            self._dirty[name] = min(at, self._dirty.get(name, at))
        self._kick.set()

    def epoch_began(self, *, lost: bool) -> None:
        """A new epoch: every snapshot is to be published anew; `lost` says that this process knew an older one."""
        self._republish = True
        self._lost_state = self._lost_state or lost
        self.survey_soon()

    # Roles, each supervised by the app

    async def listen(self) -> None:
        """Turn engine events into looks, for ever."""
        async for signal in self._engine.signals():
            match signal:
                case EngineConnected():
                    self.survey_soon()
                case EngineHint():
                    self._hint(signal)

    def _hint(self, hint: EngineHint) -> None:
        if hint.action in {"rename", "destroy"}:
            self.survey_soon()
        if is_managed(hint.labels) and room_of(hint.labels) == self._room:
            self.look_soon([service_name(hint.labels, hint.name)])

    async def run(self) -> None:
        """Look whenever there is a reason to, for ever; stand by while another worker observes."""
        surveyed = self._clock.boot()
        while True:
            await self._wait(surveyed)
            if self._survey_due or self._clock.boot() - surveyed >= self._limits.resync:
                self._survey_due = False
                surveyed = self._clock.boot()
                await self._guarded(self._survey)
            elif self.mine:
                await self._guarded(self._look_at_due)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (RedisLost, RoomRefused) as error:
            self._log.warning("observe_failed", "Redis gave no answer; looking again", error=str(error))
            await self._clock.sleep(0.2)
            self.survey_soon()
        except EngineFailed as error:
            self._log.warning("look_failed", "The engine refused a look", error=error.message)
            await self._clock.sleep(self._limits.look_every)
            self.survey_soon()
        except EngineError:
            self._gauge.lost()  # unknown: nothing is written; the engine's return asks for a survey

    async def _wait(self, surveyed: float) -> None:
        now = self._clock.boot()
        times = [surveyed + self._limits.resync]
        if self.mine:  # a stand-in looks at nothing by itself, whatever it was told of
            times += self._dirty.values()
            if self._look_at:
                times.append(now + (min(self._look_at.values()) - self._clock.redis_ms()) / 1000)
        pause = 0.0 if self._survey_due else min(times) - now
        if pause > 0:
            try:
                async with asyncio.timeout(pause):
                    await self._kick.wait()
            except TimeoutError:
                pass
        self._kick.clear()
        if self._survey_due and not self._gauge.up:
            await self._clock.sleep(0.05)

    # Looking

    async def _survey(self) -> None:
        """List, and look at every service that is or was; a stand-in only refreshes what it remembers."""
        if not self.mine:
            names = await self._board.names()
            for name, state in zip(names, await self._board.states(names), strict=True):
                if state.snapshot is not None:
                    self.states[name] = state
            return
        if not self._gauge.up:
            self._survey_due = True
            return
        republish, self._republish = self._republish, False
        try:
            await self._survey_as_observer(republish=republish)
        except BaseException:
            self._republish = self._republish or republish
            raise

    async def _survey_as_observer(self, *, republish: bool) -> None:
        known = set(await self._board.names())
        written = dict(zip(known, await self._board.states(list(known)), strict=True))
        if republish:
            await self._restore(written)
        ticket = await self._board.ticket()
        found = group(await self._lookout.listed(), self._room)
        self._report({f"{one.container_name}: {one.why}" for one in found.ignored})
        names = sorted(known | set(self.states) | set(found.services))
        gate = asyncio.Semaphore(INSPECTS)

        async def one(name: str) -> None:
            async with gate:
                resolution = found.services.get(name)
                look: Look
                match resolution:
                    case Found(id=container_id):
                        look = await self._lookout.inspect(container_id) or await self._lookout.look(name)
                    case Ambiguous(ids=ids):
                        look = Clash(ids)
                    case None:
                        look = Missing()
                await self._write(name, ticket, look, written.get(name), republish=republish)

        async with asyncio.TaskGroup() as tasks:
            for name in names:
                self._dirty.pop(name, None)
                tasks.create_task(one(name))

    async def _restore(self, written: dict[str, ServiceState]) -> None:
        """After Redis lost services: what this worker remembers, and for the rest what others put down."""
        await self._board.remember(self.states, first=True)
        if self._lost_state:
            await self._clock.sleep(min(0.5, self._limits.lease / 4))  # others put down theirs meanwhile
        for name, state in (await self._board.recall()).items():
            if name not in written and (name not in self.states or self.states[name].snapshot is None):
                self.states[name] = state

    def _report(self, ignored: set[str]) -> None:
        for text in sorted(ignored - self._reported):
            self._log.warning(
                "container_ignored", "A container asks to be managed but cannot be", container=text
            )
        self._reported = frozenset(ignored)

    async def _look_at_due(self) -> None:
        """Look at the services that hints or time have named, all under one ticket and one list."""
        now, now_ms = self._clock.boot(), self._clock.redis_ms()
        names = [name for name, at in self._dirty.items() if at <= now]
        names += [name for name, at in self._look_at.items() if at <= now_ms and name not in names]
        for name in names:
            self._dirty.pop(name, None)
            self._look_at.pop(name, None)
        if not names:
            return
        if not self._gauge.up:
            self.survey_soon()
            return
        ticket = await self._board.ticket()
        try:
            looks = await asyncio.gather(*(self._lookout.look(name) for name in names))
        except EngineError:
            self.look_soon(names, after=0.2)
            raise
        await asyncio.gather(
            *(self._write(name, ticket, look, None) for name, look in zip(names, looks, strict=True))
        )

    async def _write(
        self, name: str, ticket: int, look: Look, written: ServiceState | None, *, republish: bool = False
    ) -> None:
        """Work out what the look means and write it, again on whatever stands by then."""
        if written is None:
            written = self.states.get(name) or (await self._board.states([name]))[0]
        basis = written
        if written.snapshot is None and republish:
            remembered = self.states.get(name)
            if remembered is not None and remembered.snapshot is not None:
                basis = ServiceState(remembered.snapshot, remembered.memo, written.ver)
            elif self._lost_state and not isinstance(look, Missing):
                basis = ServiceState(None, Memo(lost=True), written.ver)
                self._log.warning(
                    "state_lost", "Redis lost a service's state; made anew from the engine", service=name
                )
        for _ in range(10):
            if basis.snapshot is None and isinstance(look, Missing):
                self.states.pop(name, None)
                return
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
                    self._keep(name, ServiceState(seen.snapshot, seen.memo, ver), seen)
                    return
                case Held():
                    self._held[name] = min(HELD_MOST, self._held.get(name, HELD_FIRST / 2) * 2)
                    self.look_soon([name], after=self._held[name])
                    return
                case Stale(state=state):
                    written = basis = state
                    self.states[name] = state
                case Outdated():
                    self.look_soon([name])
                    return
                case Fenced():
                    self.mine = False
                    return
        self.look_soon([name], after=HELD_MOST)

    async def _observe(self, name: str, state: ServiceState, look: Look) -> Observation:
        now_ms = self._clock.redis_ms()
        labels = look.labels if isinstance(look, Present) else ServiceLabels()
        return observe(
            state,
            name,
            look,
            policy_for(labels, on_exhausted=self._on_exhausted, self_heal=self._self_heal),
            now_ms=now_ms,
            observed_at=format_ms(now_ms),
            jitter=self._rng.random(),
            heal=await self._settled_heal(state),
        )

    async def _settled_heal(self, state: ServiceState) -> Receipt | None:
        """Return the receipt of the planned heal once it has settled."""
        if state.memo.plan is None:
            return None
        receipt = await self._board.receipt(state.memo.plan)
        return receipt if receipt is not None and receipt.settled else None

    def _keep(self, name: str, state: ServiceState, seen: Observation) -> None:
        self.states[name] = state
        self._held.pop(name, None)
        self.written.set()
        if seen.look_again_ms is not None:
            self._look_at[name] = seen.look_again_ms
            self._kick.set()
        else:
            self._look_at.pop(name, None)

    # Housekeeping

    async def forget_long_gone(self) -> None:
        """Remove the snapshots of services that have been gone for a week, though wanted."""
        now_ms = self._clock.redis_ms()
        for name, state in list(self.states.items()):
            if _long_gone(state.snapshot, state.memo, now_ms) and await self._board.remove(name, state.ver):
                self.states.pop(name, None)
                self._log.info("service_removed", "A service gone for a week was removed", service=name)


def _long_gone(snapshot: Snapshot | None, memo: Memo, now_ms: int) -> bool:
    return (
        snapshot is not None
        and snapshot.enabled
        and snapshot.desired is Desired.RUNNING
        and snapshot.container_state is None
        and memo.missing_since_ms > 0
        and now_ms - memo.missing_since_ms > REMOVE_AFTER_MS
    )
