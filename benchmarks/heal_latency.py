"""From the engine's own stamp of a container's death to our changed event, and to our start call.

    python benchmarks/heal_latency.py [--deaths 100] [--workers 2]

Processes are killed one after the other on a real engine, healed by real workers with a short delay, and the
events received by a plain subscriber. Engine, Redis and this program share a clock, so stamps can be compared.
Prints tables in Markdown. "Beyond the delay" is what is left of the time from death to call when the planned
delay is taken away: hearing of the death, and being late for what is due.
"""

import argparse
import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine import an_engine
from private_redis import PrivateRedis
from processes import ROOT, Failed, our_worker, running, scratch
from report import Part, Target, quantile, show

sys.path.insert(0, str(ROOT))

from contracts.keys import Keys
from contracts.times import parse_ms
from tests.support.dockerd import Containers, Dockerd

#: The planned delay is so short that many deaths fit into the time, and still longer than what is measured.
DELAY = 0.1
LABELS = {
    "pointsman.backoff-base": str(DELAY),
    "pointsman.backoff-max": str(DELAY),
    "pointsman.max-failures": "1000000",
}
SERVICES = 4
WITHIN = 20.0
#: Told and called within, milliseconds: the promises.
TOLD_P50, CALLED_P50, CALLED_P99 = 10.0, 50.0, 250.0
#: What others do instead: they look every so many seconds.
POLLING = (5.0, 30.0)


@dataclass(slots=True)
class Heard:
    """What a subscriber received, with its time in ns since 1970."""

    at_ns: int
    event: dict[str, Any]


@dataclass(slots=True)
class Ear:
    """A subscriber in a thread of its own."""

    redis: PrivateRedis
    keys: Keys
    heard: list[Heard] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)
    over: bool = False

    def listen(self) -> None:
        """Receive until told that it is over."""
        client = self.redis.at(0)
        with client.pubsub() as channel:
            channel.subscribe(self.keys.events)
            while not self.over:
                message = channel.get_message(timeout=0.2)
                at = time.time_ns()
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self.ready.set()
                elif message["type"] == "message":
                    self.heard.append(Heard(at, json.loads(message["data"])))
        client.close()

    def wait_for(self, wanted: Any, after: int, what: str) -> tuple[int, Heard]:
        """Return the first thing heard that is wanted, and where it stands. Raises Failed."""
        end = time.monotonic() + WITHIN
        while time.monotonic() < end:
            for index in range(after, len(self.heard)):
                if wanted(self.heard[index].event):
                    return index, self.heard[index]
            time.sleep(0.002)
        raise Failed(f"not within {WITHIN:g} s: {what}")


@contextmanager
def listening(redis: PrivateRedis, keys: Keys) -> Iterator[Ear]:
    """Give a subscriber that is subscribed."""
    ear = Ear(redis, keys)
    thread = threading.Thread(target=ear.listen, daemon=True)
    thread.start()
    if not ear.ready.wait(WITHIN):
        raise Failed("the subscription was not confirmed")
    try:
        yield ear
    finally:
        ear.over = True
        thread.join(timeout=5)


@dataclass(slots=True)
class Sample:
    """One death, all in milliseconds: the stamp after the end itself, the event heard, the call, the start."""

    stamped: float
    told: float
    called: float
    started: float


def stopped(service: str) -> Any:
    def wanted(event: dict[str, Any]) -> bool:
        data = event["data"]
        return event.get("subject") == service and data.get("service", {}).get("status") == "stopped"

    return wanted


def healed(service: str) -> Any:
    def wanted(event: dict[str, Any]) -> bool:
        command = event["data"].get("command", {})
        settled = event["type"] == "pointsman.command.settled"
        return settled and command["service"] == service and command["status"] == "succeeded"

    return wanted


def one_death(docker: Dockerd, ear: Ear, service: str, container_id: str) -> Sample:
    """Kill it, and wait until it is healed."""
    known, since = len(docker.effects(container_id)), len(ear.heard)
    docker.kill(container_id)
    index, told = ear.wait_for(stopped(service), since, f"{service} is told to be stopped")
    _, settled = ear.wait_for(healed(service), index, f"{service} is healed")
    died, started = docker.effects(container_id)[known : known + 2]
    snapshot, command = told.event["data"]["service"], settled.event["data"]["command"]
    death_ms = died.time_ns / 1e6
    delay_ms = parse_ms(snapshot["restart_scheduled_at"]) - parse_ms(snapshot["observed_at"])
    return Sample(
        stamped=death_ms - _precise_ms(docker.inspect(container_id)["State"]["FinishedAt"]),
        told=told.at_ns / 1e6 - death_ms,
        called=parse_ms(command["called_at"]) - death_ms - delay_ms,
        started=started.time_ns / 1e6 - death_ms - delay_ms,
    )


def _precise_ms(stamp: str) -> float:
    fraction = stamp.rstrip("Z").partition(".")[2]
    return parse_ms(stamp) // 1000 * 1000 + float(f"0.{fraction or 0}") * 1000


def measure(redis: PrivateRedis, docker: Dockerd, deaths: int, workers: int) -> list[Sample]:
    """Let processes die in turn; return what was measured of each."""
    room = f"heal-{secrets.token_hex(4)}"
    keys = Keys(room)
    containers = Containers(docker, f"pm-heal-{secrets.token_hex(4)}")
    samples: list[Sample] = []
    try:
        with scratch() as directory, listening(redis, keys) as ear:
            made = {}
            for number in range(SERVICES):
                name = f"{room}-s{number}"
                made[name] = containers.run(name, labels=LABELS | {"pointsman.room": room}, network="none")
            flags = ["--docker", docker.url, "--room", room]
            started = [
                our_worker(f"heal-w{number}", directory, redis.url(), *flags) for number in range(workers)
            ]
            with running(*started):
                for one in started:
                    one.says("ready", 30)
                for name in made:
                    ear.wait_for(lambda event, name=name: event.get("subject") == name, 0, f"{name} is known")
                for number in range(deaths):
                    name = list(made)[number % SERVICES]
                    samples.append(one_death(docker, ear, name, made[name]))
    finally:
        containers.close()
    return samples


def row(who: str, values: Sequence[float]) -> list[str]:
    cells = [quantile(values, share) for share in (0.5, 0.9, 0.99)]
    shown = [show(value) if value is not None else "-" for value in cells]
    return [who, *shown, show(max(values))]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deaths", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with PrivateRedis() as redis, an_engine() as docker:
        samples = measure(redis, docker, args.deaths, args.workers)
    part = Part(f"Heal: {len(samples)} deaths, {args.workers} workers, milliseconds")
    told, called = [one.told for one in samples], [one.called for one in samples]
    part.table(
        ["from the engine's stamp of a death", "p50", "p90", "p99", "most"],
        [
            row("to our changed event at a subscriber", told),
            row("to our start call, beyond the planned delay", called),
            row(
                "to the engine's stamp of the start, beyond the planned delay",
                [one.started for one in samples],
            ),
            *([f"(by looking every {period:g} s: to seeing it)", *_polled(period)] for period in POLLING),
            row("(the stamp itself, after the end of the process)", [one.stamped for one in samples]),
        ],
    )
    part.targets += [
        Target("told, p50", quantile(told, 0.5), TOLD_P50, at_least=False, unit=" ms"),
        Target("called beyond the delay, p50", quantile(called, 0.5), CALLED_P50, at_least=False, unit=" ms"),
        Target(
            "called beyond the delay, p99", quantile(called, 0.99), CALLED_P99, at_least=False, unit=" ms"
        ),
    ]
    print(part.text())
    return 0


def _polled(period: float) -> list[str]:
    """Return the quantiles of deaths that are spread evenly over a period of looking."""
    return [show(period * 1000 * share) for share in (0.5, 0.9, 0.99, 1.0)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(error, file=sys.stderr)
        sys.exit(1)
