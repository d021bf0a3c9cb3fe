"""Part 2: from publishing to the engine call, and to the receipt in the producer's hands, at 50 commands a second."""

import sys
from pathlib import Path

from drain import discover, forbid_observing
from options import Options
from peers_here import Peer, find
from private_redis import PrivateRedis
from processes import HERE, ROOT, Failed, our_worker, run, running, scratch
from report import Part, Series, Target, quantile

OURS, OBSERVING = "pointsman", "pointsman, observing too"
COLUMNS = {
    "start_p50": "start p50 ms",
    "start_p99": "start p99 ms",
    "result_p50": "result p50 ms",
    "result_p99": "result p99 ms",
}
#: Peers that are measured again after the first round: the best by start, and the best by result.
AGAIN = 2
SETTLE_SECONDS = 1.0


def row_of(starts: list[float], results: list[float]) -> dict[str, float | None]:
    """Return the quantiles in milliseconds."""
    starts, results = [one * 1000 for one in starts], [one * 1000 for one in results]
    return {
        "start_p50": quantile(starts, 0.5),
        "start_p99": quantile(starts, 0.99),
        "result_p50": quantile(results, 0.5),
        "result_p99": quantile(results, 0.99),
    }


def ours(
    redis: PrivateRedis, options: Options, directory: Path, *, observing: bool
) -> dict[str, float | None]:
    """Measure a worker of ours and our producer, each in a process of its own."""
    redis.empty()
    count = int(options.rate * options.seconds)
    services = max(options.services, count)  # one command each, so that an engine call tells which
    discover(redis, directory, services)
    if not observing:
        forbid_observing(redis.client)
    worker = our_worker("ours", directory, redis.url(), "--services", str(services), "--keep-calls")
    with running(worker):
        worker.says("ready", 20)
        producer = [
            sys.executable,
            str(HERE / "producer.py"),
            redis.url(),
            str(options.rate),
            str(options.seconds),
        ]
        told = run(producer, {"PYTHONPATH": str(ROOT)}, options.seconds + 60)
        worker.stop()
        calls = {service: began for service, began, _ in worker.report(10)["calls"]}
    if told["errors"]:
        print(f"  {OURS}: {told['errors']}", file=sys.stderr, flush=True)
    sent: dict[str, list[float]] = told["sent"]
    starts = [calls[service] - published for service, (published, _) in sent.items() if service in calls]
    return row_of(starts, [seen - published for published, seen in sent.values()])


def theirs(redis: PrivateRedis, options: Options, directory: Path, peer: Peer) -> dict[str, float | None]:
    """Measure a peer in the same way: its own wait call, its own defaults."""
    redis.empty()
    count = int(options.rate * options.seconds)
    peer.produce(redis.url(), "fill", 1)  # makes the group where the peer does not, and warms it up
    worker = peer.worker(redis.url(), directory, count + 1)
    with running(worker):
        told = peer.produce(
            redis.url(), "latency", options.rate, options.seconds, within=options.seconds + 60
        )
        starts: list[float] = worker.report(15)["start_s"][1:]
    if told["errors"]:
        print(f"  {peer.label}: {told['errors']} errors, {told['first_error']}", file=sys.stderr, flush=True)
    return row_of(starts, told["result_s"])


def leaders(series: Series, peers: list[Peer]) -> list[Peer]:
    """Return the peers that may be the best: the others' first round was not near it."""
    chosen: set[str] = set()
    for column in ("start_p50", "start_p99", "result_p50", "result_p99"):
        known = [(series.median(peer.label, column), peer.label) for peer in peers]
        ranked = sorted((value, label) for value, label in known if value is not None)
        chosen |= {label for _, label in ranked[: AGAIN if column.endswith("p50") else 1]}
    return [peer for peer in peers if peer.label in chosen]


def measure(redis: PrivateRedis, options: Options) -> Part:
    """Run the part."""
    part = Part(f"Latency: {options.rate:g} commands/s for {options.seconds:g} s")
    peers, part.left_out = find(options.peers)
    series = Series()
    with scratch() as directory:
        for number in options.each_round("latency"):
            for who, observing in ((OURS, False), (OBSERVING, True)):
                row = ours(redis, options, directory, observing=observing)
                options.tell("latency", number, who, row)
                series.add(who, row)
            for peer in peers if number == 1 else leaders(series, peers):
                try:
                    row = theirs(redis, options, directory, peer)
                except Failed as error:
                    print(f"  {peer.label}: {error}", file=sys.stderr, flush=True)
                    continue
                options.tell("latency", number, peer.label, row)
                series.add(peer.label, row)
    part.series("", series, COLUMNS)
    labels = [peer.label for peer in peers]
    for column, what, bound in (
        ("start_p50", "start p50: ours / best peer", 1.25),
        ("start_p99", "start p99: ours / best peer", 1.25),
        ("result_p50", "result p50: ours / best peer", 1.0),
        ("result_p99", "result p99: ours / best peer", 1.0),
    ):
        mine, best = series.median(OURS, column), series.best(column, labels, min)
        if mine is not None and best is not None:
            part.targets.append(Target(f"{what} ({best[0]})", mine / best[1], bound, at_least=False))
    part.notes.append(
        "start: from before the producer's call to the engine call (a peer: its handler) in the worker; "
        "result: until the producer has the settled receipt (a peer: its result, by its own wait call at its default "
        "poll interval)"
    )
    part.notes.append("peers that were not near the best in the first round are measured once")
    return part
