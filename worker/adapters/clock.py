"""The machine's clocks."""

import asyncio
import time

#: Where the system has it (Linux), the clock that goes on through a suspend; else the monotonic one.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """CLOCK_BOOTTIME, and Redis TIME as estimated from the last answer that told it."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - self.boot() * 1000

    def boot(self) -> float:
        """Return seconds since the machine started, suspend included."""
        return time.clock_gettime(_BOOT)

    def redis_ms(self) -> int:
        """Return Redis TIME in ms, late by at most the way of an answer."""
        return int(time.clock_gettime(_BOOT) * 1000 + self._offset_ms)

    def saw(self, redis_ms: int) -> None:
        """Take Redis TIME from an answer just received."""
        self._offset_ms = redis_ms - time.clock_gettime(_BOOT) * 1000

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)
