"""One of our workers as the subject of a benchmark: the real `Worker`, with a probe in its engine.

Without `--docker` the engine is in memory and restarts at once, or after `--delay` seconds. With `--count`
the report is written when that many commands have settled, else at the end (SIGTERM). Run it by the parts.
"""

import argparse
import asyncio
import cProfile
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.adapters.docker import DockerEngine
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.telemetry.log import StructLog
from worker.app import Worker
from worker.process import run_with_signals
from worker.settings import WorkerSettings


def cpu_seconds() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


class Probe:
    """Counts engine calls, and tells when the last command has settled."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.count: int = args.count
        self.keeps: bool = args.keep_calls
        self.out = Path(args.out)
        self.seen = 0
        self.calls: list[tuple[str, float, float]] = []
        self.warnings: Counter[str] = Counter()
        self.profile = cProfile.Profile() if args.profile else None
        self.profile_out: str = args.profile
        self.running: Callable[[], int] = lambda: 0
        self.name_of: Callable[[str], str] = str
        self.reported = False
        self._began = self._cpu = 0.0
        self._watch: asyncio.Task[None] | None = None

    def begin(self) -> float:
        if not self.seen:
            self._began, self._cpu = time.perf_counter(), cpu_seconds()
            if self.profile is not None:
                self.profile.enable()
        self.seen += 1
        if self.seen == self.count:
            self._watch = asyncio.create_task(self._settled())
        return time.time() if self.keeps else 0.0

    def end(self, container_id: str, began: float) -> None:
        if self.keeps:
            self.calls.append((self.name_of(container_id), began, time.time()))

    async def _settled(self) -> None:
        """The last call was made: what is still running are the last commands, each on its way to its receipt."""
        while self.running():  # noqa: ASYNC110 -- the worker has no event for it, and is not to get one for this
            await asyncio.sleep(0.001)
        self.report()

    def report(self) -> None:
        if self.reported:
            return
        self.reported = True
        if self.profile is not None:
            self.profile.disable()
            self.profile.dump_stats(self.profile_out)
        found = {
            "n": self.seen,
            "wall_s": time.perf_counter() - self._began,
            "cpu_s": cpu_seconds() - self._cpu,
            "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "warnings": dict(self.warnings),
            "calls": self.calls,
        }
        fresh = self.out.with_suffix(".fresh")
        fresh.write_text(json.dumps(found))
        fresh.replace(self.out)


class MemoryEngine(SimulatedEngine):
    """The engine in memory, probed."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(journaled=False)
        self._probe = probe
        probe.name_of = lambda container_id: self.machine.get(container_id).name

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        began = self._probe.begin()
        await super().restart(container_id, grace, bound)
        self._probe.end(container_id, began)


class RealEngine(DockerEngine):
    """A Docker engine, probed."""

    def __init__(self, url: str, probe: Probe) -> None:
        super().__init__(url)
        self._probe = probe

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        began = self._probe.begin()
        await super().restart(container_id, grace, bound)
        self._probe.end(container_id, began)


class CountingLog(StructLog):
    """Counts warnings by what they tell of."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(form="json", level="warning")
        self._counts = probe.warnings

    def warning(self, action: str, message: str, **fields: Any) -> None:
        self._counts[action] += 1
        super().warning(action, message, **fields)


def settings_of(args: argparse.Namespace) -> WorkerSettings:
    """Return the settings: those of `--set`, else the defaults."""
    chosen: dict[str, Any] = dict(one.split("=", 1) for one in args.set)
    named = {"redis_url": args.redis, "room": args.room, "POINTSMAN_WORKER_NAME": args.name}
    return WorkerSettings(**named, **chosen)


async def serve(args: argparse.Namespace) -> None:
    probe = Probe(args)
    engine: MemoryEngine | RealEngine
    if args.docker:
        engine = RealEngine(args.docker, probe)
    else:
        engine = MemoryEngine(probe)
        for number in range(args.services):
            engine.add(f"svc{number}", stop_delay=args.delay, labels={"pointsman.room": args.room})
    worker = Worker(settings_of(args), engine, CountingLog(probe))
    probe.running = lambda: worker.consumer.running
    try:
        await run_with_signals(worker, ready=lambda: print("ready", flush=True))
    finally:
        probe.report()
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--name", default="bench")
    parser.add_argument("--room", default="default")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that a container takes to stop")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--docker", default="")
    parser.add_argument("--keep-calls", action="store_true", help="report each engine call with its times")
    parser.add_argument("--profile", default="", help="write the profile of the drain there")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("POINTSMAN_")]:
        del os.environ[name]
    asyncio.run(serve(args))


if __name__ == "__main__":
    main()
