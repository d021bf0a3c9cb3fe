"""Part 3: from SIGKILL of a worker that holds a command to the receipt that shows the other worker.

By lease, the default first; for each lease also how many leases a worker loses in a drain at full load with
nobody killed, which says how short a lease may be. Beside it the peers: the time until another worker starts
the same job again.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from drain import CAPACITY, fill
from options import Options
from peers_here import Peer, find
from private_redis import PrivateRedis
from processes import Failed, our_worker, running, scratch
from report import Part, Series, Target

from contracts.keys import Keys

#: The container takes so long to stop that the holder is killed in the middle of the call, seconds.
HELD = 8.0
DEFAULT_LEASE = 10.0
#: A taken-over command must show the new worker within the lease and this, seconds.
SLACK = 2.0


def room_of(lease: float, number: int) -> str:
    return f"lease-{lease:g}-{number}".replace(".", "-")


def one_takeover(redis: PrivateRedis, directory: Path, lease: float, number: int) -> float:
    """Kill a holder; return the seconds until the receipt names the other. Raises Failed."""
    room = room_of(lease, number)
    keys, client = Keys(room), redis.at(0)
    settings = {"lease": lease}
    flags = ["--room", room, "--services", "2", "--delay", str(HELD)]
    first = our_worker(f"{room}-a", directory, redis.url(), *flags, settings=settings)
    second = our_worker(f"{room}-b", directory, redis.url(), *flags, settings=settings)
    with running(first):
        first.says("ready", 30)
        client.xadd(keys.commands, {"action": "restart", "service": "svc0", "id": "held"})
        _until(lambda: client.hget(keys.command("held"), "called_at") is not None, 10, "the command begins")
        with running(second):
            second.says("ready", 30)
            # Somewhere between two renewals, not right after one.
            time.sleep(0.5 + (number * 0.37) % max(0.1, lease / 3))
            killed = time.monotonic()
            first.kill()
            _until(
                lambda: client.hget(keys.command("held"), "worker") == second.name,
                lease + 10,
                "the other worker takes it over",
                pause=0.005,
            )
            return time.monotonic() - killed


def _until(condition: Callable[[], bool], within: float, what: str, pause: float = 0.02) -> None:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {within:g} s: {what}")
        time.sleep(pause)


def lost_under_load(redis: PrivateRedis, options: Options, directory: Path, lease: float) -> dict[str, float]:
    """Drain at full load with this lease and nobody killed; return how many leases were lost, and the rate."""
    redis.empty()
    fill(redis.client, options.n, options.services)
    flags = ["--services", str(options.services), "--count", str(options.n)]
    worker = our_worker(
        "loaded", directory, redis.url(), *flags, settings={"capacity": CAPACITY, "lease": lease}
    )
    with running(worker):
        report = worker.report(60)
    return {"lost": report["warnings"].get("lease_lost", 0), "n": report["n"]}


def of_peers(
    redis: PrivateRedis, peers: list[Peer], cap: float, directory: Path
) -> dict[str, tuple[str, str]]:
    """Kill the holder of each peer, all at once because they only wait; defaults and a 10 s lease."""
    found: dict[tuple[str, bool], str] = {}
    threads = []
    for number, (peer, sensible) in enumerate(
        (peer, sensible) for peer in peers for sensible in (False, True)
    ):
        folder = directory / f"{peer.name}-{sensible}"
        folder.mkdir()

        def work(
            peer: Peer = peer, sensible: bool = sensible, folder: Path = folder, number: int = number
        ) -> None:
            try:
                found[peer.label, sensible] = _one_peer(
                    redis.url(number + 1), peer, folder, cap, sensible=sensible
                )
            except (Failed, OSError) as error:
                print(f"  {peer.label}: {error}", file=sys.stderr, flush=True)
                found[peer.label, sensible] = "failed"

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    return {peer.label: (found[peer.label, False], found[peer.label, True]) for peer in peers}


def _starts(marks: Path) -> list[int]:
    """Return the processes that started the job, in order."""
    if not marks.exists():
        return []
    return [int(line.split()[1]) for line in marks.read_text().splitlines() if line.count(" ") == 1]


def _one_peer(url: str, peer: Peer, directory: Path, cap: float, *, sensible: bool) -> str:
    marks = directory / "starts"
    peer.produce(url, "fill", 1, sensible=sensible)
    first = peer.worker(url, directory, sensible=sensible)
    second = peer.worker(url, directory, sensible=sensible)
    second.name += "-2"
    with running(first):
        time.sleep(4)
        peer.produce(url, "hold", marks, sensible=sensible)
        _until(lambda: bool(_starts(marks)), 15, "the job starts")
        with running(second):
            time.sleep(3)
            killed = time.monotonic()
            first.kill()
            while time.monotonic() < killed + cap:
                if any(pid != first.pid for pid in _starts(marks)):
                    return f"{time.monotonic() - killed:.1f}"
                time.sleep(0.1)
            return f"not within {cap:g}"


def measure(redis: PrivateRedis, options: Options) -> Part:
    """Run the part."""
    part = Part("Takeover: from SIGKILL of the holder to the receipt that names another worker")
    series = Series()
    with scratch() as directory:
        for number in options.each_round("takeover"):
            for lease, seconds in _round(redis, directory, options.leases, number):
                row = {"seconds": seconds, "beyond": seconds - lease}
                options.tell("takeover", number, f"{lease:g} s", row)
                series.add(f"{lease:g} s", row)
        for lease in options.leases:
            row = lost_under_load(redis, options, directory, lease)
            options.tell("takeover", 1, f"{lease:g} s", row)
            series.add(f"{lease:g} s", row)
        columns = {
            "seconds": "taken over after s",
            "beyond": "beyond the lease s",
            "lost": "leases lost under load",
        }
        part.series("lease", series, columns)
        peers, part.left_out = find(options.peers if options.peers_cap else ())
        if peers:
            redis.empty()
            told = of_peers(redis, peers, options.peers_cap, directory)
            rows = [[who, default, sensible] for who, (default, sensible) in told.items()]
            part.table(["peer: the job runs again after s", "its defaults", "10 s lease or timeout"], rows)
    worst = max(series.values(f"{DEFAULT_LEASE:g} s", "seconds"), default=None)
    bound = DEFAULT_LEASE + SLACK
    part.targets.append(Target("at defaults, the longest: s", worst, bound, at_least=False))
    part.notes.append(
        f"leases lost under load: warnings in a drain of {options.n:,} commands at full speed with nobody killed; "
        "a lease that is lost without a death costs a takeover, never a second effect"
    )
    part.notes.append(
        "a lease is renewed every third of it, so a takeover comes two thirds of it to all of it later"
    )
    return part


def _round(
    redis: PrivateRedis, directory: Path, leases: tuple[float, ...], number: int
) -> list[tuple[float, float]]:
    """Kill one holder for each lease, all at once because they only wait."""
    redis.empty()
    found: list[tuple[float, float]] = []

    def work(lease: float) -> None:
        try:
            found.append((lease, one_takeover(redis, directory, lease, number)))
        except Failed as error:
            print(f"  lease {lease:g} s: {error}", file=sys.stderr, flush=True)

    threads = [threading.Thread(target=work, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, reverse=True)
