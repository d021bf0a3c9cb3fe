"""Whether this worker reaches its engine."""

import asyncio
from collections.abc import Callable

from worker.limits import Limits
from worker.ports import Clock, Engine, EngineBusy, EngineFailed, EngineUnavailable, Log


class EngineGauge:
    """Down from the first call without an answer, up with the first answer to a ping.

    `silent_since` is in seconds of CLOCK_BOOTTIME, None while the engine answers.
    """

    def __init__(self, engine: Engine, *, clock: Clock, limits: Limits, log: Log) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._log = log
        self._lost = asyncio.Event()
        self.silent_since: float | None = None
        self.on_up: list[Callable[[], None]] = []

    @property
    def up(self) -> bool:
        """Say whether the last that was heard of the engine was an answer."""
        return self.silent_since is None

    @property
    def silence(self) -> float:
        """Return for how many seconds the engine has given no answer though asked."""
        return 0.0 if self.silent_since is None else self._clock.boot() - self.silent_since

    def lost(self) -> None:
        """Report a call that got no answer."""
        if self.silent_since is None:
            self.silent_since = self._clock.boot()
            self._log.warning("engine_down", "The engine gives no answer")
        self._lost.set()

    async def run(self) -> None:
        """Ping: every few seconds while all is well, more often while the engine is down."""
        while True:
            try:
                async with asyncio.timeout(self._limits.engine_ping if self.up else self._pause):
                    await self._lost.wait()
            except TimeoutError:
                pass
            self._lost.clear()
            try:
                await self._engine.ping()
            except (EngineUnavailable, EngineBusy):
                self.lost()
                self._lost.clear()
            except EngineFailed:
                self._found()
            else:
                self._found()
            if not self.up:
                await self._clock.sleep(self._pause)

    @property
    def _pause(self) -> float:
        return min(0.5, self._limits.engine_ping)

    def _found(self) -> None:
        if self.silent_since is None:
            return
        self.silent_since = None
        self._log.info("engine_up", "The engine answers again")
        for call in self.on_up:
            call()
