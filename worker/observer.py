"""Watches the engine and has written what it sees; one worker of a room at a time does, by a lease.

Engine events are hints that make it look; list and inspect are the truth. Every service is looked at in a
task of its own, so that one whose inspect hangs delays no other.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from contracts.services import Desired
from worker.core.container import EngineConnected, EngineHint
from worker.core.discovery import Ambiguous, Found, group, is_managed, room_of, service_name
from worker.core.look import Clash, Ended, Look, Missing, Present, after_end
from worker.core.state import ServiceState, run_of
from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.lookout import Lookout, still_runs
from worker.memory import Memory
from worker.ports import Board, Clock, Engine, EngineError, EngineFailed, Log, RedisLost, RoomRefused
from worker.prober import Prober
from worker.recorder import Outcome, Recorder

#: Services looked at at once; so many of them by a survey, which leaves room for what events name.
AT_ONCE, SURVEYED_AT_ONCE = 12, 8
#: A service whose lane is held is looked at again after this long, seconds, should its settlement go unheard.
HELD = 1.0
#: Where the observer's memory has gaps, the others have so long to put down what they remember, seconds.
RECALL = 0.5
#: A service gone for so long, enabled and desired running, is removed (contract 5).
REMOVE_AFTER_MS = 7 * 86_400_000


class Observer:
    """The room's observer, or its stand-in. `written` is set whenever a service was written."""

    def __init__(
        self,
        *,
        board: Board,
        engine: Engine,
        lookout: Lookout,
        gauge: EngineGauge,
        recorder: Recorder,
        prober: Prober,
        memory: Memory,
        clock: Clock,
        limits: Limits,
        log: Log,
        room: str,
    ) -> None:
        self._board = board
        self._engine = engine
        self._lookout = lookout
        self._gauge = gauge
        self._recorder = recorder
        self._prober = prober
        self._clock = clock
        self._limits = limits
        self._log = log
        self._room = room
        self.memory = memory
        self.mine = False
        #: Grows with each lease, so that what was begun under an earlier one is known.
        self.term = 0
        self.written = asyncio.Event()
        #: The epoch in which every snapshot has been published by this observer.
        self.restored = ""
        self.on_restored: Callable[[], None] = lambda: None
        self.epoch = ""  # the present one, as far as this worker knows
        self._forgetful = False
        self._restoring: set[str] | None = None
        self._restore_due = False
        self._loaded = False
        self._survey_due = True
        self._surveying = False
        self._surveyed = clock.boot()
        self._due: dict[str, float] = {}
        self._queue: deque[tuple[str, int, Found | Look]] = deque()
        self._busy: set[str] = set()
        self._held: set[str] = set()
        self._near: dict[str, str] = {}
        self._oom: set[str] = set()
        self._deaths: dict[str, Ended] = {}
        self._last: dict[str, Present] = {}
        self._kick = asyncio.Event()
        self._mine_now = asyncio.Event()
        self._reported: frozenset[str] = frozenset()
        gauge.on_return.append(self.survey_soon)
        prober.on_verdict = lambda name: self.look_soon([name])

    @property
    def states(self) -> dict[str, ServiceState]:
        """Return what this worker remembers of every service."""
        return self.memory.states

    @property
    def able(self) -> bool:
        """Say whether this worker can heal: it observes, it knows the room, and the engine answers."""
        return self.mine and self._loaded and self._gauge.up

    # What others tell it

    def take_over(self, *, restore: bool) -> None:
        """Begin to observe; `restore`: nobody has published every snapshot in this epoch."""
        self.mine = True
        self.term += 1
        self._loaded = False
        self._restore_due = restore
        self._mine_now.set()
        self.survey_soon()

    def step_down(self) -> None:
        """Observe no more."""
        self.mine = self._loaded = False
        self._mine_now.clear()
        self._prober.clear()
        self._due.clear()
        self._queue.clear()
        self._held.clear()
        self._near.clear()
        self._deaths.clear()
        self._last.clear()
        self._restoring, self._restore_due = None, False

    def survey_soon(self) -> None:
        """Ask for a look at everything."""
        self._survey_due = True
        self._kick.set()

    def look_soon(self, names: Iterable[str], after: float = 0.0) -> None:
        """Ask for a look at some services, `after` seconds from now."""
        at = self._clock.boot() + after
        for name in names:
            self._due[name] = min(at, self._due.get(name, at))
        self._kick.set()

    def epoch_began(self, epoch: str, *, lost: bool) -> None:
        """Take note of a new epoch: the observer publishes every snapshot anew, from memory where it is lost.

        `lost`: this process knew an older one. Then a service that it does not remember may have been
        there, unless it was the observer, who remembers all.
        """
        self.epoch = epoch
        self._forgetful = lost and not (self.mine and self._loaded)
        if self.mine:
            self._restore_due = True
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

    async def follow(self) -> None:
        """Look at what commands have left, for ever."""
        while True:
            await self._mine_now.wait()
            try:
                names = await self._board.settled(self._limits.idle)
            except (RedisLost, RoomRefused):
                self.survey_soon()
                await self._clock.sleep(0.2)
                continue
            self._held.difference_update(names)
            if names and self.mine:
                self.look_soon(names)

    async def run(self) -> None:
        """Look whenever there is a reason to, for ever; stand by while another worker observes."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._clock.boot()
                late = now - self._surveyed >= self._limits.resync
                if (self._survey_due or late) and not self._surveying and (self._gauge.up or not self.mine):
                    self._survey_due, self._surveying, self._surveyed = False, True, now
                    tasks.create_task(self._survey_guarded(), name="survey")
                if self.mine and self._gauge.up:
                    self._dispatch(tasks, now)
                await self._pause(now)

    async def _pause(self, now: float) -> None:
        times = [self._surveyed + self._limits.resync]
        if self.mine and self._gauge.up and len(self._busy) < AT_ONCE:
            times += [at for name, at in self._due.items() if name not in self._busy]
        pause = min(times) - now
        if not self._gauge.up and self.mine:
            pause = self._limits.idle  # the engine's return asks for a survey
        if pause <= 0 and self._surveying:
            pause = self._limits.idle
        if pause > 0:
            try:
                async with asyncio.timeout(pause):
                    await self._kick.wait()
            except TimeoutError:
                pass
        self._kick.clear()

    def _hint(self, hint: EngineHint) -> None:
        short = hint.container_id[:12]
        if hint.action == "oom":
            self._oom.add(short)
        elif hint.action == "die":
            ended = Ended(hint.time_ns, hint.exit_code, short in self._oom)
            self._recorder.note_end(short, ended)
            self._oom.discard(short)
        if not self.mine:
            return
        names = self.memory.names_on(short)
        if hint.action == "die":
            self._deaths.update(dict.fromkeys(names - self._held, ended))
        if is_managed(hint.labels) and room_of(hint.labels) == self._room:
            name = service_name(hint.labels, hint.name)
            names.add(name)
            self._near[name] = hint.container_id
        self.look_soon(names - self._held)
        if hint.action == "rename":
            self.survey_soon()  # several containers may have had the old name, and one has it now

    # Looking

    def _dispatch(self, tasks: asyncio.TaskGroup, now: float) -> None:
        """Begin looks, no more at once than may be: first those that something has named."""
        for name in [name for name, at in self._due.items() if at <= now and name not in self._busy]:
            if len(self._busy) >= AT_ONCE:
                return
            del self._due[name]
            self._begin(tasks, name, None)
        while self._queue and len(self._busy) < SURVEYED_AT_ONCE:
            name, ticket, found = self._queue.popleft()
            if name in self._busy:
                self.look_soon([name])
            else:
                self._begin(tasks, name, (ticket, found))

    def _begin(self, tasks: asyncio.TaskGroup, name: str, given: tuple[int, Found | Look] | None) -> None:
        self._busy.add(name)
        tasks.create_task(self._look_guarded(name, given), name=f"look-{name}")

    async def _look_guarded(self, name: str, given: tuple[int, Found | Look] | None) -> None:
        try:
            await self._look(name, given)
        except RedisLost as error:
            self._log.warning("observe_failed", "Redis gave no answer", service=name, error=str(error))
            self.look_soon([name], after=0.2)
        except RoomRefused as error:
            self._log.warning("observe_refused", "Redis refused a look", service=name, error=str(error))
            self.look_soon([name], after=self._limits.look_every)
        except EngineFailed as error:
            self._log.warning("look_failed", "The engine refused a look", service=name, error=error.message)
            self.look_soon([name], after=self._limits.look_every)
        except EngineError as error:
            # Unknown: nothing is written. The engine's return asks for a survey.
            if await self._gauge.check():
                self._log.warning("look_unanswered", "No answer to a look", service=name, error=str(error))
                self.look_soon([name], after=self._limits.look_every)
            else:
                self._survey_due = True
        finally:
            self._busy.discard(name)
            self._kick.set()

    async def _look(self, name: str, given: tuple[int, Found | Look] | None) -> None:
        look: Look
        ended = self._deaths.pop(name, None)
        if ended is not None and not await self._note_death(name, ended):
            return
        if given is None or ended is not None:
            ticket = await self._board.ticket()
            known = self.memory.container_of(name)
            look = await self._lookout.look(name, self._near.pop(name, None) or known)
        else:
            ticket, found = given
            if isinstance(found, Found):
                look = await self._lookout.inspect(found.id) or await self._lookout.look(name)
            else:
                look = found
        await self._record(name, ticket, look)

    async def _note_death(self, name: str, ended: Ended) -> bool:
        """Write a death as the engine's event tells it; False where that ends the look.

        The engine answers no inspect of a container that has just died before it has cleared up after it,
        tens of milliseconds later. An event about the very run that was alive at the last write is word enough
        that it has ended; the look that follows has the last word.
        """
        last = self._last.get(name)
        dead = after_end(last, ended) if last is not None else None
        state = self.memory.states.get(name)
        if dead is None or state is None or not state.memo.alive or state.memo.run != run_of(dead.container):
            return True
        return await self._record(name, await self._board.ticket(), dead, once=True)

    async def _record(self, name: str, ticket: int, look: Look, *, once: bool = False) -> bool:
        """Have a look written; say whether it was."""
        if not self.mine:
            return False
        well = self.memory.is_well(name)
        restoring = self._restoring is not None and name in self._restoring
        outcome = await self._recorder.record(
            name, ticket, look, republish=restoring, forgetful=restoring and self._forgetful, once=once
        )
        match outcome:
            case Outcome.WRITTEN:
                self._after(name, look)
                if self.memory.is_well(name) != well:
                    self.look_soon(self.memory.waiting_for(name))
            case Outcome.NOTHING:
                self._prober.forget(name)
                self._last.pop(name, None)
            case Outcome.HELD:
                self._held.add(name)
                if name not in self._due:
                    self.look_soon([name], after=HELD)
                return False
            case Outcome.AGAIN:
                self.look_soon([name])
                return False
            case Outcome.FENCED:
                self._log.info("fenced", "Another worker observes the room now")
                self.step_down()
                return False
        self._restored(name)
        return True

    def _after(self, name: str, look: Look) -> None:
        self._held.discard(name)
        self.written.set()
        at_ms = self._recorder.look_again.get(name)
        if at_ms is not None:
            self.look_soon([name], after=max(0.0, (at_ms - self._clock.redis_ms()) / 1000))
        if isinstance(look, Present):
            self._last[name] = look
        else:
            self._last.pop(name, None)
        if isinstance(look, Present) and _answers_probes(look):
            self._prober.watch(name, look)
        else:
            self._prober.forget(name)

    def _restored(self, name: str) -> None:
        if self._restoring is None:
            return
        self._restoring.discard(name)
        if not self._restoring:
            self._restoring = None
            if not self._restore_due:
                self.restored = self.epoch
                self.on_restored()

    # Surveys

    async def _survey_guarded(self) -> None:
        try:
            if self.mine:
                await self._survey()
            else:
                await self._refresh()
        except (RedisLost, RoomRefused) as error:
            self._log.warning("survey_failed", "Redis gave no answer; looking again", error=str(error))
            await self._clock.sleep(0.2)
            self._survey_due = True
        except EngineFailed as error:
            self._log.warning("survey_failed", "The engine refused to list", error=error.message)
            await self._clock.sleep(self._limits.look_every)
            self._survey_due = True
        except EngineError:
            self._survey_due = True
            if await self._gauge.check():
                await self._clock.sleep(self._limits.look_every)
        finally:
            self._surveying = False
            self._kick.set()

    async def _refresh(self) -> None:
        """Remember what another observer writes, for the day that it and Redis forget."""
        names = await self._board.names()
        states = dict(zip(names, await self._board.states(names), strict=True))
        # While a lost room is being restored, what is remembered here may be all that there is.
        if await self._board.whole() and not self.mine:
            self.memory.replace(states)

    async def _survey(self) -> None:
        """List, and have every service looked at that is or was."""
        term, restore = self.term, self._restore_due
        known = set(await self._board.names())
        if restore:
            await self._recall(known)
        elif not self._loaded:
            names = sorted(known)
            self.memory.replace(dict(zip(names, await self._board.states(names), strict=True)))
        ticket = await self._board.ticket()
        listed = await self._lookout.listed()
        if not self.mine or term != self.term:
            return
        self._loaded = True
        self.written.set()  # plans are known now
        found = group(listed, self._room)
        self._report({f"{one.container_name}: {one.why}" for one in found.ignored})
        names = sorted(known | set(self.memory.states) | set(found.services))
        if restore:
            self._restore_due = False
            self._restoring = set(names)
        self._queue.clear()
        for name in names:
            match found.services.get(name):
                case None:
                    moved = still_runs(listed, self.memory.container_of(name))
                    self._queue.append((name, ticket, Missing(moved=moved)))
                case Ambiguous(ids=ids):
                    self._queue.append((name, ticket, Clash(ids)))
                case Found() as one:
                    self._queue.append((name, ticket, one))
        if restore and not names:
            self._restored("")

    async def _recall(self, known: set[str]) -> None:
        """Before publishing anew: put down what this worker remembers, and take the rest from others."""
        await self._board.remember(dict(self.memory.states), first=not self._forgetful)
        if self._forgetful:
            await self._board.rouse()
            await self._clock.sleep(RECALL)
        for name, state in (await self._board.recall()).items():
            if name not in self.memory.states:
                self.memory.keep(name, state)
        for name, state in zip(sorted(known), await self._board.states(sorted(known)), strict=True):
            if name not in self.memory.states:
                self.memory.keep(name, state)

    def _report(self, ignored: set[str]) -> None:
        for text in sorted(ignored - self._reported):
            self._log.warning(
                "container_ignored", "A container asks to be managed but cannot be", container=text
            )
        self._reported = frozenset(ignored)

    # Housekeeping

    async def forget_long_gone(self) -> None:
        """Remove the snapshots of services that have been gone for a week, though wanted."""
        now_ms = self._clock.redis_ms()
        gone = [(name, state.ver) for name, state in self.states.items() if _long_gone(state, now_ms)]
        for name, ver in gone:
            if await self._board.remove(name, ver):
                self.memory.drop(name)
                self._log.info("service_removed", "A service gone for a week was removed", service=name)


def _answers_probes(look: Present) -> bool:
    """Say whether the label's probe decides: it runs, and the engine has no health check of its own."""
    container = look.container
    runs = container.running and not container.paused and not container.restarting
    return look.labels.probe is not None and container.health == "none" and runs


def _long_gone(state: ServiceState, now_ms: int) -> bool:
    snapshot, since = state.snapshot, state.memo.missing_since_ms
    wanted = snapshot is not None and snapshot.enabled and snapshot.desired is Desired.RUNNING
    return wanted and since > 0 and now_ms - since > REMOVE_AFTER_MS
