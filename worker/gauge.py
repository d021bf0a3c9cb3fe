"""Whether this worker reaches its engine."""

import asyncio
from collections.abc import Callable

from worker.limits import Limits
from worker.ports import Clock, Engine, EngineBusy, EngineFailed, EngineUnavailable, Log

#: While the engine is down it is asked this often, seconds.
_DOWN_EVERY = 0.5


class EngineGauge:
    """Down from the first call without an answer, up with the first answer to a ping.

    `silent_since` is in seconds of CLOCK_BOOTTIME, None while the engine answers. `on_up` is called when it
    answers again; `on_down` and `on_return` only where a ping has gone unanswered too, so that what happens
    is not seen.
    """

    def __init__(self, engine: Engine, *, clock: Clock, limits: Limits, log: Log) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._log = log
        self._ask = asyncio.Event()
        self._confirmed = False
        self.silent_since: float | None = None
        self.on_up: list[Callable[[], None]] = []
        self.on_return: list[Callable[[], None]] = []
        self.on_down: list[Callable[[], None]] = []

    @property
    def up(self) -> bool:
        """Say whether the last that was heard of the engine was an answer."""
        return self.silent_since is None

    @property
    def silence(self) -> float:
        """Return for how many seconds the engine has given no answer though asked."""
        return 0.0 if self.silent_since is None else self._clock.boot() - self.silent_since

    def lost(self) -> None:
        """Report a call that got no answer: the engine counts as down until it is asked and answers."""
        if self.silent_since is None:
            self.silent_since = self._clock.boot()
        self._ask.set()

    async def check(self) -> bool:
        """Ask now: was it the engine that gave no answer, or one call of many? Return whether it is up."""
        await self._ping()
        return self.up

    async def run(self) -> None:
        """Ping: every few seconds while all is well, more often while the engine is down."""
        while True:
            pause = self._limits.engine_ping
            if not self.up and self._confirmed:
                pause = min(_DOWN_EVERY, pause)
            try:
                async with asyncio.timeout(pause):
                    await self._ask.wait()
            except TimeoutError:
                pass
            self._ask.clear()
            await self._ping()

    async def _ping(self) -> None:
        asked = self._clock.boot()
        try:
            await self._engine.ping()
        except (EngineUnavailable, EngineBusy):
            self._silent(asked)
        except EngineFailed:
            self._found()
        else:
            self._found()

    def _silent(self, asked: float) -> None:
        if self.silent_since is None:
            self.silent_since = asked
        if not self._confirmed:
            self._confirmed = True
            self._log.warning("engine_down", "The engine gives no answer")
            for call in self.on_down:
                call()

    def _found(self) -> None:
        if self.silent_since is None:
            return
        returned, self._confirmed, self.silent_since = self._confirmed, False, None
        if returned:
            self._log.info("engine_up", "The engine answers again")
        for call in (*self.on_up, *(self.on_return if returned else ())):
            call()
