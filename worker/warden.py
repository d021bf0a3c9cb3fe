"""The standing duties of a worker: presence, the observer's lease, the engine's status, the heartbeat."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.observer import Observer
from worker.ports import Board, Clock, Log, Presence, RedisLost, RoomRefused

#: How often lost entries are looked for without a new epoch, seconds (contract 3: within an hour).
LOST_EVERY = 1800.0
#: A new observer looks before it says that the engine answers; if no look succeeds, it says so after this, seconds.
LOOK_WITHIN = 5.0
#: The lease is asked for this long after it lapses by Redis TIME, seconds; the answer told how long that is.
SLACK = 0.005


class NameTaken(Exception):
    """Another live worker has this worker's name."""


class Warden:
    """Runs the duties, each in a loop of its own that outlives Redis and the engine."""

    def __init__(
        self,
        *,
        presence: Presence,
        board: Board,
        observer: Observer,
        gauge: EngineGauge,
        clock: Clock,
        limits: Limits,
        log: Log,
        info: Callable[[], Mapping[str, str]],
        engine_id: str,
    ) -> None:
        self._presence = presence
        self._board = board
        self._observer = observer
        self._gauge = gauge
        self._clock = clock
        self._limits = limits
        self._log = log
        self._info = info
        self._engine_id = engine_id
        #: What was last said of the engine, and in which epoch.
        self._told: bool | None = None
        self._told_in = ""
        self._mine_until = 0.0
        self._claim_soon = asyncio.Event()
        gauge.on_up.append(self._claim_soon.set)
        gauge.on_down.append(self._claim_soon.set)
        observer.restoration.on_restored = self._claim_soon.set
        self.lost_due = True

    async def enlist(self) -> None:
        """Claim this worker's name; wait for an old beat of the same name to lapse. Raises NameTaken, RedisLost."""
        until = self._clock.boot() + self._limits.alive * 1.2
        while True:
            answer = await self._presence.beat(self._info())
            if answer is None:
                return
            if self._clock.boot() >= until:
                raise NameTaken(f"another live worker has this name (its beat lapses in {answer:.1f} s)")
            await self._clock.sleep(min(answer, 0.5) + 0.01)

    async def beat(self) -> None:
        """Beat for ever."""
        while True:
            await self._clock.sleep(self._limits.beat)
            await self._guard("beat", self._beat_once)

    async def _beat_once(self) -> None:
        taken = await self._presence.beat(self._info())
        if taken is not None:
            self._log.warning("name_taken", "Another process beats under this worker's name", lapses_in=taken)

    async def observe_lease(self) -> None:
        """Claim and keep the observer's lease for ever."""
        while True:
            try:
                pause = await self._claim()
            except (RedisLost, RoomRefused) as error:
                self._log.warning("claim_failed", "Redis gave no answer to a duty", error=str(error))
                pause = min(0.2, self._limits.lease / 10)
                if self._observer.mine and self._clock.boot() >= self._mine_until:
                    self._observer.step_down()  # another may hold the lease by now
            try:
                async with asyncio.timeout(pause):
                    await self._claim_soon.wait()
            except TimeoutError:
                pass
            self._claim_soon.clear()

    async def _claim(self) -> float:
        """Claim once; return the seconds until the next time."""
        sent = self._clock.boot()
        claim = await self._board.claim(able=self._gauge.up, restored=self._observer.restoration.restored)
        if claim.mine:
            self._mine_until = sent + self._limits.lease
            if not self._observer.mine:
                self._log.info("observing", "This worker observes the room now")
                self._told = None
                self._observer.take_over(restore=claim.restore)
            return self._limits.lease / 3
        if self._observer.mine:
            self._log.info("stood_down", "Another worker observes the room now")
            self._observer.step_down()
        pause = min(1.0, self._limits.lease / 4)
        return min(pause, claim.wait + SLACK) if claim.wait else pause

    async def tell_engine(self) -> None:
        """While observing, say whether the engine answers, for ever."""
        pause = min(0.5, self._limits.engine_silence / 10)
        look_by = self._clock.boot() + LOOK_WITHIN
        while True:
            await self._clock.sleep(pause)
            if not (self._observer.mine and self._gauge.up):
                look_by = self._clock.boot() + LOOK_WITHIN
            if not self._observer.mine:
                continue
            if self._told_in != self._observer.restoration.epoch:
                self._told = None
            silent = not self._gauge.up and self._gauge.silence >= self._limits.engine_silence
            # No reader is to take "not looked yet" for "there is none".
            looked = self._observer.able or self._clock.boot() >= look_by
            if self._gauge.up and looked and self._told is not True:
                await self._guard("engine", lambda: self._tell(available=True))
            elif silent and self._told is not False:
                await self._guard("engine", lambda: self._tell(available=False))

    async def _tell(self, *, available: bool) -> None:
        if await self._board.engine(available=available, engine_id=self._engine_id):
            self._told, self._told_in = available, self._observer.restoration.epoch

    async def heartbeat(self) -> None:
        """While observing, publish the heartbeat and keep `engine_seen_at` fresh, for ever."""
        while True:
            await self._clock.sleep(self._limits.heartbeat)
            if self._observer.mine:
                await self._guard("heartbeat", self._board.heartbeat)
                if self._gauge.up and self._told is True:
                    await self._guard("engine", lambda: self._tell(available=True))

    async def sweep(self) -> None:
        """While observing, bury lost entries (soon after a new epoch, then seldom) and forget the long gone."""
        swept = 0.0
        while True:
            await self._clock.sleep(min(5.0, self._limits.resync))
            if not self._observer.mine:
                continue
            if self.lost_due or self._clock.boot() - swept > LOST_EVERY:
                await self._guard("sweep", self._bury)
                swept = self._clock.boot()
            await self._guard("forget", self._observer.forget_long_gone)

    async def _bury(self) -> None:
        self.lost_due = False
        for command_id in await self._board.bury_lost():
            self._log.warning(
                "entry_lost", "A published command's entry vanished before it was read", command=command_id
            )

    async def _guard(self, duty: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do a duty; an outage of Redis is told and outlived."""
        try:
            await work()
        except (RedisLost, RoomRefused) as error:
            self._log.warning(f"{duty}_failed", "Redis gave no answer to a duty", error=str(error))
            await asyncio.sleep(0)
