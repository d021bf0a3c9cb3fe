"""The composition root: builds one worker from settings and runs its roles until it is told to stop."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from contracts.keys import Keys
from contracts.times import format_ms
from worker import crashpoints
from worker.adapters.clock import SystemClock
from worker.adapters.probe import NetworkAsker
from worker.adapters.redis.board import RedisBoard
from worker.adapters.redis.inbox import RedisInbox
from worker.adapters.redis.ledger import RedisLedger
from worker.adapters.redis.link import Link
from worker.adapters.redis.room import Room
from worker.consumer import Consumer
from worker.ending import end_all
from worker.executor import Executor
from worker.fitness import bind_engine, find_room, refuse_eviction
from worker.gauge import EngineGauge
from worker.healer import Healer
from worker.keeper import Keeper, PatientLedger
from worker.limits import Limits
from worker.lookout import Lookout
from worker.memory import Memory
from worker.observer import Observer
from worker.ports import Engine, Inbox, Ledger, Log, RedisLost, RoomRefused
from worker.prober import Prober
from worker.process import own_container_id
from worker.recorder import Recorder
from worker.settings import WorkerSettings
from worker.version import VERSION
from worker.warden import Warden


class Worker:
    """One worker process's roles over one room. `engine` is closed by its owner."""

    def __init__(
        self, settings: WorkerSettings, engine: Engine, log: Log, *, limits: Limits | None = None
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.log = log
        self.limits = limits or settings.limits()
        self.clock = SystemClock()
        self.link = Link(settings.redis_url, call_timeout=settings.redis_timeout)
        self.room = Room(
            self.link,
            Keys(settings.room, settings.prefix),
            name=settings.name,
            limits=self.limits,
            clock=self.clock,
            log=log,
        )
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._started_at = ""
        self._epoch_tasks: set[asyncio.Task[None]] = set()
        self._build()

    def _build(self) -> None:
        ledger: Ledger = PatientLedger(
            RedisLedger(self.room),
            self.clock,
            self.limits.lease,
            doubt=lambda: self.consumer.doubt(),  # noqa: PLW0108 -- it comes later
        )
        self.gauge = EngineGauge(self.engine, clock=self.clock, limits=self.limits, log=self.log)
        lookout = Lookout(self.engine, self.settings.room, own_container_id())
        self.inbox = RedisInbox(self.room, self.settings.redis_url)
        inbox: Inbox = self.inbox
        engine, executors_lookout = self.engine, lookout
        if (points := crashpoints.from_environment()) is not None:
            ledger, inbox = points.in_ledger(ledger), points.in_inbox(inbox)
            engine, executors_lookout = points.in_engine(engine), points.in_lookout(lookout)
        executor = Executor(
            ledger=ledger,
            engine=engine,
            lookout=executors_lookout,
            clock=self.clock,
            limits=self.limits,
            log=self.log,
            engine_lost=self.gauge.lost,
            stopping=self._stop.is_set,
        )
        self.consumer = Consumer(
            inbox=inbox,
            ledger=ledger,
            executor=executor,
            clock=self.clock,
            limits=self.limits,
            log=self.log,
            engine_up=lambda: self.gauge.up,
        )
        self.gauge.on_up.append(self.consumer.nudge)
        self.keeper = Keeper(
            ledger=ledger, held=lambda: self.consumer.held, clock=self.clock, limits=self.limits, log=self.log
        )
        self.board = RedisBoard(self.room, self.settings.redis_url)
        self.asker = NetworkAsker(self.limits.probe_deadline)
        self.prober = Prober(asker=self.asker, clock=self.clock, limits=self.limits)
        memory = Memory()
        recorder = Recorder(
            board=self.board,
            memory=memory,
            clock=self.clock,
            log=self.log,
            on_exhausted=self.settings.on_exhausted,
            self_heal=self.settings.self_heal,
            verdict=self.prober.verdict,
        )
        self.observer = Observer(
            board=self.board,
            engine=self.engine,
            lookout=lookout,
            gauge=self.gauge,
            recorder=recorder,
            prober=self.prober,
            memory=memory,
            clock=self.clock,
            limits=self.limits,
            log=self.log,
            room=self.settings.room,
        )
        self.healer = Healer(
            board=self.board,
            observer=self.observer,
            clock=self.clock,
            limits=self.limits,
            log=self.log,
            at_once=self.settings.heals_at_once,
        )
        self.room.on_epoch = self._epoch_began

    def stop(self) -> None:
        """Ask for a shutdown; a second time: at once."""
        if self._stop.is_set():
            self._at_once.set()
        self._stop.set()
        self.consumer.stopping = True
        self.consumer.nudge()

    def _epoch_began(self, epoch: str, why: str) -> None:
        """Tell the roles; what this worker remembers is put down for whoever observes the new epoch."""
        lost = self.room.known_before
        self.log.info("epoch", "The room is in this epoch", epoch=epoch, why=why)
        self.observer.epoch_began(epoch, lost=lost)
        self.warden_lost_due()
        if lost and self.observer.states:
            task = asyncio.create_task(self._remember(), name="remember")
            self._epoch_tasks.add(task)
            task.add_done_callback(self._epoch_tasks.discard)

    async def _remember(self) -> None:
        try:
            await self.board.remember(dict(self.observer.states), first=self.observer.mine)
        except (RedisLost, RoomRefused) as error:
            self.log.warning("remember_failed", "Could not put down what is remembered", error=str(error))

    warden_lost_due: Callable[[], None] = staticmethod(lambda: None)

    def _info(self) -> dict[str, str]:
        return {
            "started_at": self._started_at,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "version": VERSION,
            "engine_status": "available" if self.gauge.up else "unavailable",
            "running": str(self.consumer.running),
            "capacity": str(self.limits.capacity),
        }

    async def run(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`; then finish or hand back. Raises Unfit, NameTaken, RedisLost (never connected)."""
        link = asyncio.create_task(self.link.run(), name="redis-link")
        try:
            await self._serve(link, ready)
        finally:
            await end_all([link, *self._epoch_tasks])
            await self.inbox.close()
            await self.board.close()
            await self.asker.close()

    async def _serve(self, link: asyncio.Task[None], ready: Callable[[], None]) -> None:
        await find_room(self.link, self.room)
        await refuse_eviction(self.room)
        engine_id = await self._engine_id()
        self._started_at = format_ms(self.clock.redis_ms())
        warden = Warden(
            presence=self.room,
            board=self.board,
            observer=self.observer,
            gauge=self.gauge,
            clock=self.clock,
            limits=self.limits,
            log=self.log,
            info=self._info,
            engine_id=engine_id,
        )

        def sweep_soon() -> None:
            warden.lost_due = True

        self.warden_lost_due = sweep_soon
        if not await self._enlist(warden):
            return
        await self.room.register()
        self.log.info("serving", "This worker serves the room", room=self.settings.room, engine=engine_id)
        duties = {
            "beat": warden.beat(),
            "observer-lease": warden.observe_lease(),
            "engine-status": warden.tell_engine(),
            "heartbeat": warden.heartbeat(),
            "relook": self.observer.follow(),
            "sweep": warden.sweep(),
            "leases": self.keeper.run(),
            "gauge": self.gauge.run(),
            "signals": self.observer.listen(),
            "observer": self.observer.run(),
            "probes": self.prober.run(),
            "healer": self.healer.run(),
        }
        tasks = [asyncio.create_task(duty, name=name) for name, duty in duties.items()]
        consumer = asyncio.create_task(self.consumer.run(), name="consumer")
        ready()
        try:
            await self._until_stopped([*tasks, consumer, link])
            await self._wind_down(consumer)
        finally:
            await end_all([*tasks, consumer])
            await end_all(self.consumer.slots)  # there are some only where there was no time to drain them

    async def _engine_id(self) -> str:
        """Bind the room to this engine, or learn whose it is. Raises Unfit, EngineMismatch."""
        found = await bind_engine(self.room, self.engine, adopt=self.settings.adopt_engine)
        if not found.answers:
            self.gauge.lost()
        return found.id

    async def _enlist(self, warden: Warden) -> bool:
        """Claim this worker's name, which may take a while; False when the stop came first."""
        enlisted = asyncio.create_task(warden.enlist(), name="enlist")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({enlisted, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not enlisted.done():
                return False
            await enlisted
            return True
        finally:
            enlisted.cancel()
            stopped.cancel()

    async def _until_stopped(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Wait for the stop; a role that ends by itself is a defect and ends the worker."""
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                if not self._stop.is_set() or task.exception() is not None:
                    raise RuntimeError(f"the role {task.get_name()} ended") from task.exception()
        finally:
            stopped.cancel()

    async def _wind_down(self, consumer: asyncio.Task[None]) -> None:
        """Finish or hand back within the grace; leave."""
        self.log.info("stopping", "Stopping: finishing or handing back", running=self.consumer.running)
        drain = asyncio.create_task(self._drain(consumer), name="drain")
        at_once = asyncio.create_task(self._at_once.wait(), name="at-once")
        await asyncio.wait({drain, at_once}, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not drain.done():
            self.log.warning("stopped_at_once", "Stopped at once; leases lapse by themselves")
            drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        if drain.cancelled():
            return
        try:
            async with asyncio.timeout(2):
                await self.room.leave()
                await self.room.forget_consumer()
        except (RedisLost, RoomRefused, TimeoutError) as error:
            self.log.warning(
                "leave_failed", "Redis did not hear the goodbye; the beat lapses", error=str(error)
            )
        self.log.info("stopped", "Stopped")

    async def _drain(self, consumer: asyncio.Task[None]) -> None:
        await asyncio.wait({consumer})
        await self.consumer.drain(max(0.0, self.limits.shutdown - min(3.0, self.limits.shutdown / 5)))
