"""Where the time of a drain goes: in the worker by function, in Redis by script and command.

`python benchmarks/hotspots.py [--n 3000] [--top 30] [--observing]`; a profiled run is slow, so what counts is
the share. Function calls per command do not depend on how busy the machine is. `--instructions` counts the
instructions of both processes under valgrind, by the difference of two drains, which is exact and slow.
"""

import argparse
import pstats
import re
import shutil
import signal
import sys

from drain import CAPACITY, Drain, fill, forbid_observing
from options import Options
from private_redis import PrivateRedis
from processes import our_worker, running, scratch

_COUNTING = ("--tool=cachegrind", "--cache-sim=no", "--branch-sim=no", "--cachegrind-out-file=/dev/null")
SLOW_SECONDS = 300.0


def profile(options: Options, top: int, *, observing: bool) -> None:
    """Print the profile of one drain, and what it cost in Redis."""
    with PrivateRedis() as redis, scratch() as directory:
        out = directory / "drain.prof"
        row, used = Drain(redis, options).ours(directory, observing=observing, profile=str(out))
        print({key: round(value, 4) for key, value in row.items()})
        stats = pstats.Stats(str(out))
        calls: int = stats.total_calls  # type: ignore[attr-defined]
        print(f"function calls per command: {calls / options.n:.1f}")
        stats.strip_dirs().sort_stats("tottime").print_stats(top)
        stats.sort_stats("cumulative").print_stats(top)
        print("Redis, per settled command:")
        for name, (count, usec) in sorted(used.calls.items(), key=lambda one: -one[1][1])[:top]:
            print(f"  {name:24s} {count / options.n:8.3f} calls {usec / options.n:8.2f} us")


def instructions(options: Options) -> None:
    """Print instructions per settled command, of the worker and of Redis: two drains, the difference."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not on PATH (apt-get install valgrind)")
    few, many = options.n // 3, options.n
    counted = [_counted(options, count) for count in (few, many)]
    for who, first, second in zip(("worker", "Redis"), *counted, strict=True):
        print(f"{who}: {(second - first) / (many - few):,.0f} instructions per command")


def _counted(options: Options, count: int) -> tuple[int, int]:
    """Drain `count` commands under valgrind; return the instructions of worker and server, start and end with them."""
    with PrivateRedis(("valgrind", *_COUNTING)) as redis, scratch() as directory:
        redis.client.config_set("latency-tracking", "no")
        forbid_observing(redis.client)
        fill(redis.client, count, options.services)
        flags = ["--services", str(options.services), "--count", str(count)]
        patient = {
            "capacity": CAPACITY,
            "lease": 600,
            "margin": 700,
            "redis_timeout": 120,
            "beat": 300,
            "alive": 900,
        }
        worker = our_worker("counted", directory, redis.url(), *flags, settings=patient)
        worker.env = dict(worker.env) | {"PYTHONHASHSEED": "0"}
        worker.command = ["valgrind", *_COUNTING, *worker.command]
        with running(worker):
            worker.report(SLOW_SECONDS)
            worker.process.send_signal(signal.SIGTERM)
            worker.process.wait(SLOW_SECONDS)
            said = worker.said
        return _refs(said), _refs(redis.shut_down())


def _refs(said: str) -> int:
    found = re.search(r"I\s+refs:\s+([\d,]+)", said)
    if found is None:
        sys.exit(f"valgrind did not count:\n{said[-1500:]}")
    return int(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--observing", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    args = parser.parse_args()
    if args.instructions:
        instructions(Options(n=args.n, services=args.services))
        return
    profile(Options(n=args.n, services=args.services), args.top, observing=args.observing)


if __name__ == "__main__":
    main()
