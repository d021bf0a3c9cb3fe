"""What every peer's worker shares: a counter inside the handler that reports once the N-th job has begun.

The first job starts the clock and the processor counter, the PROBE_N-th stops both and writes one JSON file
(PROBE_OUT). Process start and imports are not in the figures, nor what follows the last handler's start
(at most one acknowledgement for each of the 64 in flight).
"""

import json
import os
import resource
import threading
import time
from pathlib import Path

URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:7400/0")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "64"))
#: A 10 s lease or timeout instead of the peer's default, for the takeover.
SENSIBLE = os.environ.get("BENCH_SETTINGS") == "sensible"
#: A poll interval shorter than the peer's default, where that is what the default row measures.
TUNED = bool(os.environ.get("BENCH_TUNED"))


def cpu_seconds() -> float:
    """Return what this process has used, all threads, user and system."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


class Probe:
    """Counts jobs; dramatiq's come from 64 threads."""

    def __init__(self, count: int, out: str) -> None:
        self._wanted = count
        self._out = Path(out)
        self._lock = threading.Lock()
        self._late: list[float] = []
        self._began = self._cpu = 0.0

    def hit(self, published: float) -> None:
        """Take note of a job that begins now; `published` is by the same wall clock."""
        now = time.time()
        with self._lock:
            if not self._late:
                self._began, self._cpu = time.perf_counter(), cpu_seconds()
            self._late.append(now - published)
            if len(self._late) == self._wanted:
                self._report(time.perf_counter() - self._began, cpu_seconds() - self._cpu)

    def _report(self, wall: float, cpu: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report = {"n": self._wanted, "wall_s": wall, "cpu_s": cpu, "rss_mib": peak, "start_s": self._late}
        fresh = self._out.with_suffix(".fresh")
        fresh.write_text(json.dumps(report))
        fresh.replace(self._out)


_PROBE = Probe(int(os.environ.get("PROBE_N", "0")), os.environ.get("PROBE_OUT", "/dev/null"))
hit = _PROBE.hit


def mark_start(path: str) -> None:
    """Write one line per start of the job that is held."""
    with Path(path).open("a") as marks:
        marks.write(f"{time.time()} {os.getpid()}\n")
