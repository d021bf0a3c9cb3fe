"""How often a caller may ask: a token bucket for each."""

import time
from collections.abc import Callable

#: Buckets kept; full ones are dropped first.
MOST_CALLERS = 10_000


class Rates:
    """Allow `rate` requests a second and caller, `burst` at once; a rate of 0 allows everything."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        #: Caller -> (requests left, when that was so).
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> float:
        """Count one request; return 0 if it is allowed, else the seconds until one will be."""
        if not self._rate:
            return 0.0
        now = self._clock()
        left, at = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            self._buckets[caller] = (left, now)
            return (1 - left) / self._rate
        self._buckets[caller] = (left - 1, now)
        if len(self._buckets) > MOST_CALLERS:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again; a new one would be no different."""
        self._buckets = {
            caller: (left, at)
            for caller, (left, at) in self._buckets.items()
            if left + (now - at) * self._rate < self._burst
        }
