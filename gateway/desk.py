"""One room served over HTTP: who is alive, what the services are, and the way to ask for something."""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

import msgspec
from msgspec import Struct

from contracts.errors import EngineUnavailable, NoWorker, PointsmanError, RedisUnavailable
from contracts.events import EngineStatus, Meta, WorkerInfo
from contracts.times import format_ms
from gateway.bodies import Beat
from gateway.clock import now_ms
from gateway.hub import Hub, framed
from gateway.log import Log
from gateway.settings import GatewaySettings
from publisher import Publisher
from subscriber import Subscriber
from subscriber.reads import Reads
from wire.connection import connector, pack

_encode = msgspec.json.Encoder().encode


class Pulse(Struct, frozen=True):
    """What was known of the room a moment ago."""

    meta: Meta
    workers: tuple[WorkerInfo, ...]

    @property
    def engine_up(self) -> bool:
        """Say whether the engine answers, as far as the room knows."""
        return self.meta.engine_status != EngineStatus.UNAVAILABLE


class Desk:
    """The gateway's view of one room."""

    def __init__(self, settings: GatewaySettings, room: str, log: Log) -> None:
        self.room = room
        self.users = 0
        self.used_at = asyncio.get_running_loop().time()
        self._settings = settings
        self._log = log
        timeout, prefix = settings.redis_timeout, settings.prefix
        self.publisher = Publisher(
            settings.redis_url,
            room=room,
            prefix=prefix,
            stream_limit=settings.max_backlog,
            alive=settings.alive,
            timeout=timeout,
        )
        self.subscriber = Subscriber(
            settings.redis_url, room=room, prefix=prefix, alive=settings.alive, timeout=timeout
        )
        self.hub = Hub(self.subscriber, log)
        self._pulse: Pulse | None = None
        self._pulse_at = 0.0
        self._pulsing: asyncio.Task[Pulse] | None = None
        self._beats: asyncio.Task[None] | None = None
        #: The newest revision that a caller of ours has seen, as (epoch, revision).
        self._promised: tuple[str | None, int] = (None, 0)

    async def aclose(self) -> None:
        """Close everything; streams end."""
        tasks = [task for task in (self._beats, self._pulsing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.hub.aclose()
        await self.publisher.aclose()
        await self.subscriber.aclose()

    async def pulse(self) -> Pulse:
        """Return what is known of workers and engine, at most a moment old. Raises RedisUnavailable."""
        now = asyncio.get_running_loop().time()
        if self._pulse is not None and now - self._pulse_at < self._settings.pulse:
            return self._pulse
        if self._pulsing is None or self._pulsing.done():
            self._pulsing = asyncio.create_task(self._feel(), name=f"pointsman gateway pulse {self.room}")
            self._pulsing.add_done_callback(_seen)
        return await asyncio.shield(self._pulsing)

    async def _feel(self) -> Pulse:
        try:
            async with asyncio.timeout(2 * self._settings.redis_timeout):
                meta, workers = await asyncio.gather(self.subscriber.meta(), self.subscriber.workers())
        except TimeoutError as error:
            raise RedisUnavailable(words="no answer in time") from error
        self._pulse = Pulse(meta, tuple(workers))
        self._pulse_at = asyncio.get_running_loop().time()
        return self._pulse

    async def rooms(self) -> Sequence[str]:
        """Return the names of all rooms ever served, in order. Raises RedisUnavailable."""
        reads = Reads(connector(self._settings.redis_url), self._settings.redis_timeout)
        try:
            (names,) = await reads.read(pack("SMEMBERS", self.subscriber.keys.rooms))
        finally:
            await reads.aclose()
        return sorted(name.decode() for name in names)

    async def serving(self, *, engine: bool = True) -> Pulse:
        """Return the pulse of a room that is served.

        Raises NoWorker, EngineUnavailable (not without `engine`) and RedisUnavailable: the three
        reasons for a 503.
        """
        pulse = await self.pulse()
        if not pulse.workers:
            self._no_worker()
        if engine and not pulse.engine_up:
            raise EngineUnavailable(f"The engine of room '{self.room}' is not available")
        return pulse

    def _no_worker(self) -> NoReturn:
        raise NoWorker(f"No worker serves room '{self.room}'")

    def promise(self, revision: int | None) -> None:
        """Let lists wait for a revision that a caller knows of: who asks after an answer sees its effect."""
        epoch = self.hub.epoch
        if revision is not None and epoch is not None and revision > self._promised[1]:
            self._promised = (epoch, revision)

    async def fresh(self, pulse: Pulse) -> bool:
        """Bring the warm model up to what Redis has; say whether it is. Raises RedisUnavailable."""
        self.hub.start()
        await self.hub.ready(2 * self._settings.redis_timeout)
        epoch, revision = pulse.meta.epoch, pulse.meta.revision
        if self._promised[0] == epoch:
            revision = max(revision, self._promised[1])
        if self.hub.reached(epoch, revision):
            return True
        return await self.hub.reach(epoch, revision, self._settings.catch_up)

    def start_beats(self) -> None:
        """Send heartbeats to the streams from now on."""
        if self._beats is None:
            self._beats = asyncio.create_task(self._beat(), name=f"pointsman gateway beats {self.room}")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            if self.hub.readers:
                self.hub.beat(framed("heartbeat", _encode(await self.beat_now())))

    async def beat_now(self) -> Beat:
        """Return what a heartbeat tells."""
        pulse = None
        try:
            pulse = await self.pulse()
        except PointsmanError as error:
            self._log.warning("pulse_failed", "Redis did not answer", room=self.room, error=error.message)
        return Beat(
            time=format_ms(now_ms()),
            epoch=self.hub.epoch,
            revision=self.hub.revision,
            stale=pulse is None or not self.hub.reached(pulse.meta.epoch, pulse.meta.revision),
            redis="unavailable" if pulse is None else "available",
            engine=None if pulse is None else pulse.meta.engine_status,
            workers=None if pulse is None else len(pulse.workers),
        )


def _seen(task: "asyncio.Task[Pulse]") -> None:
    """Take note of an error also where nobody waits for it any more: the next look meets it again."""
    if not task.cancelled():
        task.exception()


class Desks:
    """The rooms that are served, opened when they are asked for, closed when nobody comes any more."""

    def __init__(self, settings: GatewaySettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._desks: dict[str, Desk] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.closed = False

    def start(self) -> None:
        """Begin to close what nobody uses."""
        self._sweeper = asyncio.create_task(self._sweep(), name="pointsman gateway sweep")

    def open(self, room: str) -> Desk | None:
        """Return the room's desk; None where too many are in use."""
        desk = self._desks.get(room)
        if desk is None:
            if len(self._desks) >= self._settings.max_rooms and not self._make_way():
                return None
            desk = self._desks[room] = Desk(self._settings, room, self._log)
        desk.used_at = asyncio.get_running_loop().time()
        return desk

    async def aclose(self) -> None:
        """Close all; streams end."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        await asyncio.gather(*(desk.aclose() for desk in self._desks.values()), *self._closing)
        self._desks.clear()

    def end_streams(self) -> None:
        """Let every stream end after what waits for it."""
        for desk in self._desks.values():
            for reader in desk.hub.readers:
                reader.end()

    def _make_way(self) -> bool:
        unused = [desk for desk in self._desks.values() if not desk.users]
        if not unused:
            return False
        self._close(min(unused, key=lambda desk: desk.used_at))
        return True

    def _close(self, desk: Desk) -> None:
        del self._desks[desk.room]
        task = asyncio.create_task(desk.aclose(), name=f"pointsman gateway close {desk.room}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.idle / 20)
            oldest = asyncio.get_running_loop().time() - self._settings.idle
            for desk in list(self._desks.values()):
                if not desk.users and desk.used_at < oldest and desk.room != self._settings.room:
                    self._close(desk)
