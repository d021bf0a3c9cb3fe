"""Watches the engine and has written what it sees; one worker of a room at a time does, by a lease.

Engine events are hints that make it look; list and inspect are the truth. Every service is looked at in a
task of its own, so that one whose inspect hangs delays no other.
"""

import asyncio
from collections.abc import Iterable

from worker.agenda import Agenda
from worker.core.absence import is_long_gone
from worker.core.container import EngineConnected, EngineHint
from worker.core.discovery import is_managed, room_of, service_name
from worker.core.look import Ended
from worker.core.state import ServiceState
from worker.examiner import Examiner
from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.lookout import Lookout
from worker.memory import Memory
from worker.ports import Board, Clock, Engine, Log, RedisLost, RoomRefused
from worker.prober import Prober
from worker.recorder import Recorder
from worker.restoration import Restoration
from worker.surveyor import Surveyor
from worker.tenure import Tenure


class Observer:
    """The room's observer, or its stand-in. `written` is set when there may be news of a service."""

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
        self._gauge = gauge
        self._recorder = recorder
        self._clock = clock
        self._limits = limits
        self._log = log
        self._room = room
        self.memory = memory
        self.tenure = Tenure()
        self.agenda = Agenda(clock)
        self.written = asyncio.Event()
        self.restoration = Restoration(board=board, memory=memory, clock=clock)
        self._surveyor = Surveyor(
            board=board,
            lookout=lookout,
            gauge=gauge,
            memory=memory,
            agenda=self.agenda,
            tenure=self.tenure,
            restoration=self.restoration,
            clock=clock,
            limits=limits,
            log=log,
            room=room,
            news=self.written,
        )
        self._examiner = Examiner(
            board=board,
            lookout=lookout,
            gauge=gauge,
            recorder=recorder,
            prober=prober,
            memory=memory,
            agenda=self.agenda,
            tenure=self.tenure,
            restoration=self.restoration,
            clock=clock,
            limits=limits,
            log=log,
            fenced=self.step_down,
            unknown=self._surveyor.soon,
            news=self.written,
        )
        self._oom: set[str] = set()
        self._mine_now = asyncio.Event()
        gauge.on_return.append(self._surveyor.soon)
        prober.on_verdict = lambda name: self.look_soon([name])

    @property
    def states(self) -> dict[str, ServiceState]:
        """Return what this worker remembers of every service."""
        return self.memory.states

    @property
    def mine(self) -> bool:
        """Say whether this worker observes."""
        return self.tenure.mine

    @property
    def able(self) -> bool:
        """Say whether this worker can heal: it observes, it knows the room, and the engine answers."""
        return self.tenure.mine and self.tenure.loaded and self._gauge.up

    # What others tell it

    def take_over(self, *, restore: bool) -> None:
        """Begin to observe; `restore`: nobody has published every snapshot in this epoch."""
        self.tenure.begin()
        self.restoration.due = restore
        self._mine_now.set()
        self._surveyor.soon()

    def step_down(self) -> None:
        """Observe no more."""
        self.tenure.end()
        self._mine_now.clear()
        self._examiner.clear()
        self.agenda.clear()
        self.restoration.clear()

    def look_soon(self, names: Iterable[str]) -> None:
        """Ask for a look at some services."""
        self.agenda.look_soon(names)

    def epoch_began(self, epoch: str, *, lost: bool) -> None:
        """Take note of a new epoch: the observer publishes every snapshot anew, from memory where it is lost.

        `lost`: this process knew an older one. Then a service that it does not remember may have been
        there, unless it was the observer, who remembers all.
        """
        self.restoration.epoch = epoch
        self.restoration.forgetful = lost and not (self.tenure.mine and self.tenure.loaded)
        if self.tenure.mine:
            self.restoration.due = True
            self._surveyor.soon()

    # Roles, each supervised by the app

    async def listen(self) -> None:
        """Turn engine events into looks, for ever."""
        async for signal in self._engine.signals():
            match signal:
                case EngineConnected():
                    self._surveyor.soon()
                case EngineHint():
                    self._hint(signal)

    async def follow(self) -> None:
        """Look at what commands have left, for ever."""
        while True:
            await self._mine_now.wait()
            try:
                names = await self._board.settled(self._limits.idle)
            except (RedisLost, RoomRefused):
                self._surveyor.soon()
                await self._clock.sleep(0.2)
                continue
            self.agenda.held.difference_update(names)
            if names and self.tenure.mine:
                self.agenda.look_soon(names)

    async def run(self) -> None:
        """Look whenever there is a reason to, for ever; stand by while another worker observes."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._clock.boot()
                if self._surveyor.is_due(now) and (self._gauge.up or not self.tenure.mine):
                    tasks.create_task(self._surveyor.begin(now), name="survey")
                if self.tenure.mine and self._gauge.up:
                    for name, surveyed in self.agenda.begin(now):
                        tasks.create_task(self._examiner.examine(name, surveyed), name=f"look-{name}")
                await self._pause(now)

    async def _pause(self, now: float) -> None:
        pause = self._surveyor.next_at - now
        if self.tenure.mine and not self._gauge.up:
            pause = self._limits.idle  # the engine's return asks for a survey
        elif self.tenure.mine and (due := self.agenda.next_due()) is not None:
            pause = min(pause, due - now)
        if pause <= 0 and self._surveyor.under_way:
            pause = self._limits.idle
        if pause > 0:
            try:
                async with asyncio.timeout(pause):
                    await self.agenda.kick.wait()
            except TimeoutError:
                pass
        self.agenda.kick.clear()

    def _hint(self, hint: EngineHint) -> None:
        short = hint.container_id[:12]
        ended: Ended | None = None
        if hint.action == "oom":
            self._oom.add(short)
        elif hint.action == "die":
            ended = Ended(hint.time_ns, hint.exit_code, short in self._oom)
            self._recorder.note_end(short, ended)
            self._oom.discard(short)
        if not self.tenure.mine:
            return
        names = self.memory.names_on(short)
        if ended is not None:
            for name in names - self.agenda.held:
                self._examiner.hear_of_death(name, ended)
        if is_managed(hint.labels) and room_of(hint.labels) == self._room:
            name = service_name(hint.labels, hint.name)
            names.add(name)
            self._examiner.hear_of_container(name, hint.container_id)
        self.agenda.look_soon(names - self.agenda.held)
        if hint.action == "rename":
            self._surveyor.soon()  # several containers may have had the old name, and one has it now

    # Housekeeping

    async def forget_long_gone(self) -> None:
        """Remove the snapshots of services that have been gone for a week, though wanted."""
        now_ms = self._clock.redis_ms()
        gone = [(name, state.ver) for name, state in self.states.items() if is_long_gone(state, now_ms)]
        for name, ver in gone:
            if await self._board.remove(name, ver):
                self.memory.drop(name)
                self._log.info("service_removed", "A service gone for a week was removed", service=name)
