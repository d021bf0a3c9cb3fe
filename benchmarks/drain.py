"""Part 1: commands settled per second by one worker process, its floor, and the peers' no-op jobs."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from options import Options
from peers_here import Peer, find
from private_redis import Counters, PrivateRedis
from processes import HERE, Failed, Subject, our_worker, running, scratch
from report import Part, Series, Target

from contracts.keys import Keys

OURS, OBSERVING, FLOOR, BARE = "pointsman", "pointsman, observing too", "floor", "floor, without redis-py"
COLUMNS = {
    "per_s": "commands/s",
    "cpu": "CPU s / 1,000",
    "redis_cpu": "Redis CPU s / 1,000",
    "commands": "Redis commands each",
    "rss": "RSS MiB",
}
WITHIN = 120.0
CAPACITY = 64
#: Bytes of the started, changed and settled event and of a memo, where no drain of ours went before.
SIZES = (1100, 1400, 1250, 420)


def forbid_observing(client: Any) -> None:
    """Let another be the observer, for an hour: its lease is what the workers respect."""
    until = int(time.time() * 1000) + 3_600_000
    client.hset(Keys().observer, mapping={"instance": "bench", "token": "bench", "deadline": str(until)})


def fill(client: Any, count: int, services: int) -> None:
    """Write the backlog as `redis-cli XADD` would: receipts are the worker's to make."""
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        fields = {"action": "restart", "service": f"svc{number % services}", "id": f"bench-{number}"}
        pipe.xadd(Keys().commands, fields)
        if number % 500 == 499:
            pipe.execute()
    pipe.execute()


def discover(redis: PrivateRedis, directory: Path, services: int) -> None:
    """Let a worker see every service once, as in any room that has run for a minute."""
    worker = our_worker("discoverer", directory, redis.url(), "--services", str(services))
    with running(worker):
        end = time.monotonic() + WITHIN
        while redis.client.scard(Keys().services) < services:
            if time.monotonic() > end:
                raise Failed("the services were not seen in time")
            time.sleep(0.1)
    redis.client.delete(Keys().observer)


def row_of(report: dict[str, Any], used: Counters) -> dict[str, float]:
    """Return a row from a subject's report and the server's counters."""
    count = report["n"]
    return {
        "per_s": count / report["wall_s"],
        "cpu": report["cpu_s"] / count * 1000,
        "rss": report["rss_mib"],
        "redis_cpu": used.cpu_s / count * 1000,
        "commands": used.commands / count,
    }


class Drain:
    """Runs one contender at a time, each on an emptied server."""

    def __init__(self, redis: PrivateRedis, options: Options) -> None:
        self._redis = redis
        self._options = options
        self._sizes: tuple[int, ...] = SIZES

    def ours(
        self, directory: Path, *, observing: bool, profile: str = ""
    ) -> tuple[dict[str, float], Counters]:
        """Drain with a worker of ours; return the row, and what each script and command cost."""
        redis, options = self._redis, self._options
        redis.empty()
        discover(redis, directory, options.services)
        if not observing:
            forbid_observing(redis.client)
        fill(redis.client, options.n, options.services)
        flags = ["--services", str(options.services), "--count", str(options.n)]
        if profile:
            flags += ["--profile", profile]
        worker = our_worker("ours", directory, redis.url(), *flags, settings={"capacity": CAPACITY})
        before = redis.counters()
        with running(worker):
            report = worker.report(WITHIN)
            used = redis.counters().since(before)
        self._check()
        return row_of(report, used), used

    def _check(self) -> None:
        """See that all is settled, and how large the events are."""
        keys, client = Keys(), self._redis.client
        left = client.xlen(keys.commands)
        if left:
            raise Failed(f"{left} commands are left")
        kinds: dict[str, list[int]] = {"command.started": [], "service.changed": [], "command.settled": []}
        for _, fields in client.xrevrange(keys.changes, count=600):
            for kind, sizes in kinds.items():
                if f'"pointsman.{kind}"' in fields["event"]:
                    sizes.append(len(fields["event"]))
        memo = len(client.hget(keys.state("svc0"), "memo") or "")
        if all(kinds.values()):
            self._sizes = (*(sum(sizes) // len(sizes) for sizes in kinds.values()), memo)

    def floor(self, directory: Path, *, bare: bool = False) -> dict[str, float]:
        """Drain with the floor."""
        redis, options = self._redis, self._options
        redis.empty()
        redis.client.xgroup_create("floor:commands", "floor", id="0", mkstream=True)
        pipe = redis.client.pipeline(transaction=False)
        for number in range(options.n):
            service = f"svc{number % options.services}"
            fields = {"action": "restart", "service": service, "id": f"bench-{number}"}
            pipe.xadd("floor:commands", fields)
        pipe.execute()
        one = Subject("floor", (), directory)
        flags = {"port": redis.port, "count": options.n, "sizes": ",".join(map(str, self._sizes))}
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        one.command = [
            *(sys.executable, str(HERE / "floor.py"), "--host", "127.0.0.1", "--out", str(one.out)),
            *words,
            *(["--bare"] if bare else []),
        ]
        before = redis.counters()
        with running(one):
            report = one.report(WITHIN)
            used = redis.counters().since(before)
        return row_of(report, used)

    def peer(self, peer: Peer, directory: Path) -> dict[str, float]:
        """Drain with a peer."""
        redis = self._redis
        redis.empty()
        peer.produce(redis.url(), "fill", self._options.n)
        worker = peer.worker(redis.url(), directory, self._options.n)
        before = redis.counters()
        with running(worker):
            report = worker.report(WITHIN)
            used = redis.counters().since(before)
        return row_of(report, used)

    def round(self, directory: Path, peers: list[Peer]) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield each contender's row."""
        yield OURS, self.ours(directory, observing=False)[0]
        yield FLOOR, self.floor(directory)
        yield BARE, self.floor(directory, bare=True)
        yield OBSERVING, self.ours(directory, observing=True)[0]
        for peer in peers:
            try:
                yield peer.label, self.peer(peer, directory)
            except Failed as error:
                print(f"  {peer.label}: {error}", file=sys.stderr, flush=True)


def measure(redis: PrivateRedis, options: Options) -> Part:
    """Run the part."""
    part = Part(
        f"Drain: one worker process, 64 in flight, {options.services:,} services, {options.n:,} commands"
    )
    peers, part.left_out = find(options.peers)
    series, drain = Series(), Drain(redis, options)
    with scratch() as directory:
        for number in options.each_round("drain"):
            for who, row in drain.round(directory, peers):
                options.tell("drain", number, who, row)
                series.add(who, row)
    part.series("", series, COLUMNS)
    judge(part, series, [peer.label for peer in peers])
    return part


def judge(part: Part, series: Series, peers: list[str]) -> None:
    """Add the ratios."""
    ours, floor = series.median(OURS, "per_s"), series.median(FLOOR, "per_s")
    fastest = series.best("per_s", peers, max)
    if fastest is not None and ours is not None:
        part.targets.append(Target(f"ours / fastest peer ({fastest[0]})", ours / fastest[1], 1.5))
    if ours is not None and floor is not None:
        part.targets.append(Target("ours / floor", ours / floor, 0.6))
    part.notes.append(
        "ours has everything on: lane, lease, begin with evidence, receipt, snapshot, three events, expiry, presence; "
        "a peer's job does nothing and keeps what that peer keeps by default"
    )
    part.notes.append(
        "a floor makes a take's share, a begin and a settle for each command, with the same records and events and no "
        "more; its calls go out as pipelines of redis-py, as any worker's would, or straight through hiredis"
    )
    part.notes.append(
        "the clock starts with the first engine call (a peer: the first handler) inside the worker; "
        "ours stops when the last receipt has settled, a peer's when its last handler starts"
    )
