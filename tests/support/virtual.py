"""A worker's roles on simulated time: a week goes by in seconds, every script in a real Redis.

Time jumps to the next timer whenever nothing is left to do. Redis is called in step, one call at a time, so
that nothing is ever on its way while time jumps, and each run goes the same way.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis

from contracts.keys import Keys
from contracts.scripts import Script, load
from tests.support.redis import RedisServer
from worker.adapters.redis.board import RedisBoard
from worker.adapters.redis.hearing import Hearing
from worker.adapters.redis.inbox import RedisInbox
from worker.adapters.redis.ledger import RedisLedger
from worker.adapters.redis.room import Room
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.telemetry.log import NullLog
from worker.consumer import Consumer
from worker.core.delivery import Taken
from worker.core.labels import Probe
from worker.executor import Executor
from worker.gauge import EngineGauge
from worker.healer import Healer
from worker.limits import Limits
from worker.lookout import Lookout
from worker.memory import Memory
from worker.observer import Observer
from worker.prober import Prober
from worker.recorder import Recorder
from worker.warden import Warden

#: Where simulated time begins: so far from every real clock that a mix-up shows.
START_MS = 4_102_444_800_000
#: Nothing beats, pings or polls more often than it must.
SELDOM = Limits(
    lease=10_000_000,
    idle=3600,
    resync=3600,
    engine_ping=3600,
    heartbeat=10_000_000,
    probe_every=600,
    probe_again=60,
)
_CLOCK = {"time": "local NOW = tonumber(redis.call('GET', BASE .. 'test-clock'))"}
_WAKES = frozenset({"heal", "handback", "publish"})


class _Jump(selectors.EpollSelector):
    """Never waits: where a wait would begin, time jumps to its end."""

    jump: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout != 0:
            self.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while everybody waits."""

    def __init__(self) -> None:
        selector = _Jump()
        super().__init__(selector)
        selector.jump = self._jump
        self.passed = 0.0
        self.on_jump: Callable[[], None] = lambda: None

    def time(self) -> float:
        """Return the simulated seconds since the beginning."""
        return self.passed

    @property
    def now_ms(self) -> int:
        """Return the simulated time of day."""
        return START_MS + int(self.passed * 1000)

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            raise RuntimeError("everybody waits for something that never comes")
        self.passed += timeout
        self.on_jump()


class VirtualClock:
    """`worker.ports.Clock` on the loop's time; engine, Redis and worker agree."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def boot(self) -> float:
        return self._loop.time()

    def redis_ms(self) -> int:
        return self._loop.now_ms

    def saw(self, redis_ms: int) -> None:
        assert redis_ms <= self._loop.now_ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class StepLink:
    """`worker.adapters.redis.link.Link`, each call made and answered at once."""

    def __init__(self, server: RedisServer) -> None:
        self._client = redis.Redis(port=server.port, decode_responses=True, protocol=2, socket_timeout=30)
        self._connection: Any = self._client.connection_pool.get_connection()
        self.greet: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[str], None] = lambda _: None
        self.calls = 0

    def send(self, *args: Any) -> Any:
        self.calls += 1
        self._connection.send_command(*args)
        return self._connection.read_response()

    async def command(self, *args: Any, greeting: bool = False) -> Any:
        return self.send(*args)

    async def call(self, script: Script, key: str, *args: Any, greeting: bool = False) -> Any:
        timed = load("worker.adapters.redis", script.name, _CLOCK)
        try:
            answer = self.send("EVALSHA", timed.sha, 1, key, *args)
        except redis.exceptions.NoScriptError:
            answer = self.send("EVAL", timed.text, 1, key, *args)
        self.after(script.name)
        return answer

    def joined(self, script: Script, key: str, *shared: Any) -> "_Alone":
        return _Alone(self, script, key, shared)

    def close(self) -> None:
        self._connection.disconnect()
        self._client.close()


class _Alone:
    """A script that takes a batch, called with one at a time."""

    def __init__(self, link: StepLink, *named: Any) -> None:
        self._link = link
        self._script, self._key, self._shared = named

    async def call(self, *args: Any) -> Any:
        [answer] = await self._link.call(self._script, self._key, *self._shared, len(args), *args)
        return answer


class _Inbox(RedisInbox):
    """Woken in this process."""

    woken: asyncio.Event

    async def await_take(
        self, position: str, seconds: float, free: int, *, state_only: bool, count: int
    ) -> Taken | None:
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            pass
        self.woken.clear()
        return await self.take(free, state_only=state_only, count=count)

    def after_lull(self, then: Callable[[], object]) -> None:
        """Go on at once: nothing is under way here."""
        then()


class _Hearing(Hearing):
    """Reads the stream when something settles in this process."""

    link: StepLink
    heard: asyncio.Event

    async def services(self, seconds: float) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                await self.heard.wait()
        except TimeoutError:
            pass
        self.heard.clear()
        entries = self.link.send("XRANGE", self._stream, f"({self._position}", "+")
        for entry, _ in entries:
            self._position = entry
        return list({name: None for _, fields in entries for name in fields[::2]})


class NobodyAsks:
    """An asker for rooms without probes."""

    async def ask(self, probe: Probe, addresses: Sequence[str]) -> str | None:
        raise AssertionError(probe)


class VirtualRoom:
    """Observer, healer, consumer and executor of one worker, on one loop's time, over a simulated engine."""

    def __init__(
        self,
        loop: VirtualLoop,
        server: RedisServer,
        *,
        limits: Limits = SELDOM,
        heals_at_once: int = 4,
        on_exhausted: str = "retry",
        seed: int = 1,
        engine: SimulatedEngine | None = None,
    ) -> None:
        self.loop = loop
        self.keys = Keys()
        self.link = StepLink(server)
        self.clock = VirtualClock(loop)
        loop.on_jump = self._set_clock
        self._set_clock()
        log = NullLog()
        self._borrowed = engine is not None
        self.engine = engine or SimulatedEngine(clock=lambda: loop.now_ms * 1_000_000)
        link: Any = self.link
        room = Room(link, self.keys, name="w1", limits=limits, clock=self.clock, log=log)
        self.room = room
        ledger = RedisLedger(room)
        inbox = _Inbox(room, server.url)
        inbox.woken = asyncio.Event()
        board = RedisBoard(room, server.url)
        hearing = _Hearing(server.url, self.keys.relook, limits.idle)
        hearing.link, hearing.heard = self.link, asyncio.Event()
        board._hearing = hearing

        def after(script: str) -> None:
            if script in _WAKES:
                inbox.woken.set()
            if script == "settle":
                hearing.heard.set()

        self.link.after = after
        gauge = EngineGauge(self.engine, clock=self.clock, limits=limits, log=log)
        lookout = Lookout(self.engine, self.keys.room, None)
        executor = Executor(
            ledger=ledger,
            engine=self.engine,
            lookout=lookout,
            clock=self.clock,
            limits=limits,
            log=log,
            engine_lost=gauge.lost,
        )
        self.consumer = Consumer(
            inbox=inbox,
            ledger=ledger,
            executor=executor,
            clock=self.clock,
            limits=limits,
            log=log,
            engine_up=lambda: gauge.up,
        )
        gauge.on_up.append(self.consumer.nudge)
        memory = Memory()
        prober = Prober(asker=NobodyAsks(), clock=self.clock, limits=limits)
        recorder = Recorder(
            board=board,
            memory=memory,
            clock=self.clock,
            log=log,
            on_exhausted=on_exhausted,
            verdict=prober.verdict,
            rng=random.Random(seed),
        )
        self.observer = Observer(
            board=board,
            engine=self.engine,
            lookout=lookout,
            gauge=gauge,
            recorder=recorder,
            prober=prober,
            memory=memory,
            clock=self.clock,
            limits=limits,
            log=log,
            room=self.keys.room,
        )
        self.healer = Healer(
            board=board,
            observer=self.observer,
            clock=self.clock,
            limits=limits,
            log=log,
            at_once=heals_at_once,
        )
        self.warden = Warden(
            presence=room,
            board=board,
            observer=self.observer,
            gauge=gauge,
            clock=self.clock,
            limits=limits,
            log=log,
            info=dict,
            engine_id="e",
        )
        self._gauge = gauge
        self._prober = prober
        self._board = board
        self._inbox = inbox
        room.on_epoch = lambda epoch, _: self.observer.epoch_began(epoch, lost=room.known_before)

    def _set_clock(self) -> None:
        now = self.loop.now_ms
        self.link.send("SET", self.keys.base + "test-clock", now)
        if self.link.send("EXISTS", self.keys.commands):
            last = self.link.send("XINFO", "STREAM", self.keys.commands)
            known = dict(zip(last[::2], last[1::2], strict=True))["last-generated-id"]
            if int(known.split("-")[0]) < now:
                self.link.send("XSETID", self.keys.commands, f"{now}-0")

    async def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Let the roles run while the story is told."""
        await self.room.ensure_epoch()
        duties = [
            self.warden.observe_lease(),
            self.observer.run(),
            self.observer.listen(),
            self.observer.follow(),
            self.healer.run(),
            self.consumer.run(),
            self._gauge.run(),
            self._prober.run(),
        ]
        roles = [asyncio.create_task(duty) for duty in duties]
        telling = asyncio.ensure_future(story())
        try:
            done, _ = await asyncio.wait({*roles, telling}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            assert telling in done, "a role has ended"
        finally:
            for task in (*roles, telling):
                task.cancel()
            await asyncio.gather(*roles, telling, return_exceptions=True)
            await self._board.close()
            await self._inbox.close()
            if not self._borrowed:
                await self.engine.close()


def on_virtual_time(tell: Callable[[VirtualLoop], Awaitable[None]]) -> None:
    """Run a story on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)

        async def told() -> None:
            await tell(loop)

        runner.run(told())
