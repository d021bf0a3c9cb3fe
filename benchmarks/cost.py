"""Part 5: what a worker costs: idle, in memory, and under a backlog of a hundred thousand commands."""

import time
from pathlib import Path

from drain import CAPACITY, discover, fill, forbid_observing
from options import Options
from private_redis import PrivateRedis
from processes import Subject, cpu_seconds, our_worker, rss_mib, running, scratch
from report import Part, Series, Target

SERVICES = 20
#: Restarts of the backlog take so long that it lasts, seconds.
BUSY = 0.05
BACKLOG_SECONDS = 6.0
SETTLE_SECONDS = 3.0
MOST_MIB = 100.0


def watch_idle(redis: PrivateRedis, worker: Subject, seconds: float) -> dict[str, float]:
    """Return what an idle worker uses, per second and in percent of one processor."""
    time.sleep(SETTLE_SECONDS)
    cpu, before, began = cpu_seconds(worker.pid), redis.counters(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    used = redis.counters().since(before)
    asked = sum(count for name, (count, _) in used.calls.items() if name in _FROM_CLIENTS)
    return {
        "asked": asked / passed,
        "commands": (used.commands - _OWN) / passed,
        "cpu": (cpu_seconds(worker.pid) - cpu) / passed * 100,
        "redis_cpu": used.cpu_s / passed * 100,
        "rss": rss_mib(worker.pid),
    }


#: Commands that workers send; the others are called by scripts.
_FROM_CLIENTS = frozenset({"evalsha", "eval", "xread", "xrevrange", "ping", "subscribe"})
#: INFO calls of our own within the span.
_OWN = 3


def idle(
    redis: PrivateRedis, options: Options, directory: Path, *, observing: bool, services: int
) -> dict[str, float]:
    """Watch one worker with nothing to do."""
    redis.empty()
    if not observing:
        forbid_observing(redis.client)
    worker = our_worker("idle", directory, redis.url(), "--services", str(services))
    with running(worker):
        worker.says("ready", 20)
        return watch_idle(redis, worker, options.idle_seconds)


def backlog(redis: PrivateRedis, options: Options, directory: Path) -> dict[str, float]:
    """Watch a worker's memory while it works at a backlog that does not end."""
    redis.empty()
    discover(redis, directory, options.services)
    fill(redis.client, options.backlog, options.services)
    worker = our_worker(
        "backlog",
        directory,
        redis.url(),
        *("--services", str(options.services), "--delay", str(BUSY)),
        settings={"capacity": CAPACITY},
    )
    with running(worker):
        worker.says("ready", 20)
        time.sleep(BACKLOG_SECONDS)
        peak = rss_mib(worker.pid, peak=True)
        left = redis.client.xlen("pointsman:{default}:commands")
    return {"peak": peak, "left": left}


def measure(redis: PrivateRedis, options: Options) -> Part:
    """Run the part."""
    part = Part("Cost: idle, memory, backlog")
    series = Series()
    with scratch() as directory:
        for who, observing, services in (
            (f"idle, observing {SERVICES} services", True, SERVICES),
            (f"idle, observing {options.services:,} services", True, options.services),
            (f"idle beside an observer, {SERVICES} services", False, SERVICES),
        ):
            row = idle(redis, options, directory, observing=observing, services=services)
            options.tell("cost", 1, who, row)
            series.add(who, row)
        columns = {
            "asked": "Redis requests/s",
            "commands": "Redis commands/s, in scripts too",
            "cpu": "worker % of a processor",
            "redis_cpu": "Redis % of a processor",
            "rss": "RSS MiB",
        }
        part.series("one worker", series, columns)
        row = backlog(redis, options, directory)
        options.tell("cost", 1, "backlog", row)
    part.table(
        ["backlog", "commands left when looked at", "most RSS MiB"],
        [[f"{options.backlog:,} commands", f"{row['left']:,}", f"{row['peak']:.1f}"]],
    )
    what = f"RSS with a backlog of {options.backlog:,}: MiB"
    part.targets.append(Target(what, row["peak"], MOST_MIB, at_least=False))
    part.notes.append(
        "idle: no commands, an engine in memory that tells of nothing; the pings of a Docker engine come on top"
    )
    part.notes.append("CPU per 1,000 commands stands in the drain's table")
    return part
