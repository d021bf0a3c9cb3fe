"""Part 4: real containers restarted through Pointsman with two workers, beside raw engine calls.

Twenty at once, interleaved rounds; what one command adds to its engine call; and a sweep of how many restarts
at once a single engine rewards, which is where the default capacity comes from. Needs a Docker engine: the
one of DOCKER_HOST, the usual one, or as root one of our own.
"""

import asyncio
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiodocker
import pytest
from options import Options
from private_redis import PrivateRedis
from processes import ROOT, Failed, our_worker, running, scratch
from report import Part, Series, Target, show

sys.path.insert(0, str(ROOT))

from contracts.keys import Keys
from publisher import Publisher
from tests.support.dockerd import USUAL, Docker, Dockerd, _own_engine
from worker.limits import Limits

CAPACITY = Limits().capacity
WORKERS = 2
SWEEP = (1, 2, 4, 8)
OURS, RAW = "pointsman, two workers", "raw engine calls"
GRACE = 10
WITHIN = 120.0


@contextmanager
def an_engine() -> Iterator[Dockerd]:
    """Give an engine. Raises Failed where there is none."""
    for url in (os.environ.get("DOCKER_HOST"), USUAL):
        if url and Docker(url).answers():
            found = Dockerd(url)
            found.prepare()
            try:
                yield found
            finally:
                found.close()
            return
    with ExitStack() as stack:
        try:
            own = stack.enter_context(_own_engine())
        except (pytest.skip.Exception, pytest.fail.Exception, OSError) as error:
            raise Failed(f"no Docker engine: {error}") from error
        yield own


async def raw(url: str, ids: Sequence[str], at_once: int) -> float:
    """Restart all by plain calls; return the seconds for all."""
    slots = asyncio.Semaphore(at_once)
    async with aiodocker.Docker(url=url) as docker:

        async def one(container_id: str) -> None:
            async with slots:
                await docker.containers.container(container_id).restart(t=GRACE)

        began = time.perf_counter()
        await asyncio.gather(*(one(container_id) for container_id in ids))
        return time.perf_counter() - began


class Ours:
    """A room with workers on the engine, and a producer."""

    def __init__(self, redis: PrivateRedis, directory: Path, engine: Dockerd, room: str) -> None:
        self._redis = redis
        self._directory = directory
        self._engine = engine
        self._room = room
        self._runs = 0

    @contextmanager
    def workers(self, count: int, capacity: int) -> Iterator[list[Path]]:
        """Run workers until each is ready and every service is known; yields where their reports will be."""
        self._runs += 1
        redis, keys = self._redis, Keys(self._room)
        redis.empty()
        flags = ["--docker", self._engine.url, "--room", self._room, "--keep-calls"]
        started = [
            our_worker(
                f"w{self._runs}-{number}",
                self._directory,
                redis.url(),
                *flags,
                settings={"capacity": capacity, "grace": GRACE},
            )
            for number in range(count)
        ]
        with running(*started):
            for one in started:
                one.says("ready", 30)
            end = time.monotonic() + 30
            while redis.client.scard(keys.services) < self.expected:
                if time.monotonic() > end:
                    raise Failed("the workers did not see the containers")
                time.sleep(0.05)
            time.sleep(0.5)
            yield [one.out for one in started]

    expected = 0

    async def restart(
        self, names: Sequence[str], *, at_once: bool = True
    ) -> tuple[float, list[tuple[float, float]]]:
        """Restart all through the room; return the seconds for all, and when each was published and known as done."""
        spans: list[tuple[float, float]] = []
        async with Publisher(self._redis.url(), room=self._room) as publisher:

            async def one(name: str) -> None:
                published = time.time()
                receipt = await publisher.run("restart", name, wait=WITHIN)
                spans.append((published, time.time()))
                if receipt.status != "succeeded":
                    raise Failed(f"{name}: {receipt.status} {receipt.message}")

            await publisher.send("enable", names[0])  # the connection is there then
            began = time.perf_counter()
            if at_once:
                await asyncio.gather(*(one(name) for name in names))
            else:
                for name in names:
                    await one(name)
            return time.perf_counter() - began, spans


def added(spans: list[tuple[float, float]], calls: list[tuple[float, float]]) -> list[float]:
    """Return what each command took beyond its engine call, seconds; one at a time, so order pairs them."""
    pairs = zip(sorted(spans), sorted(calls), strict=True)
    return [(seen - published) - (ended - began) for (published, seen), (began, ended) in pairs]


def measure(redis: PrivateRedis, options: Options) -> Part:
    """Run the part."""
    count = options.containers
    part = Part(f"Engine: {count} containers restarted, a real Docker engine")
    room = f"bench-{secrets.token_hex(4)}"
    names = [f"{room}-{number}" for number in range(count)]
    with an_engine() as engine, scratch() as directory:
        labels = {"pointsman.room": room}
        ids = [engine.run(name, labels=labels, stop_timeout=GRACE) for name in names]
        ours = Ours(redis, directory, engine, room)
        ours.expected = count
        _rounds(part, ours, engine, options, names, ids)
        _one_by_one(part, ours, names)
        _sweep(part, ours, engine, options, names, ids)
        part.notes.append(
            f"engine {engine.call('GET', '/version')['Version']}; containers leave at once when asked"
        )
    return part


def _rounds(
    part: Part, ours: Ours, engine: Dockerd, options: Options, names: Sequence[str], ids: Sequence[str]
) -> None:
    series = Series()
    at_once = WORKERS * CAPACITY
    with ours.workers(WORKERS, CAPACITY):
        for number in options.each_round("engine", options.engine_rounds):
            for who in (RAW, OURS) if number % 2 else (OURS, RAW):
                if who is RAW:
                    seconds = asyncio.run(raw(engine.url, ids, at_once))
                else:
                    seconds, _ = asyncio.run(ours.restart(names))
                options.tell("engine", number, who, {"seconds": seconds})
                series.add(who, {"seconds": seconds})
                time.sleep(0.5)
    part.series(f"{len(names)} at once, {at_once} in flight", series, {"seconds": "s for all"})
    mine, bare = series.median(OURS, "seconds"), series.median(RAW, "seconds")
    if mine is not None and bare is not None:
        part.targets.append(Target("seconds for all: ours / raw", mine / bare, 1.10, at_least=False))
        extra = (mine - bare) / len(names) * 1000
        part.targets.append(Target("added per command of these: ms", extra, 3.0, at_least=False))


def _one_by_one(part: Part, ours: Ours, names: Sequence[str]) -> None:
    """Restart one after the other: what a command takes beyond its engine call."""
    with ours.workers(1, CAPACITY) as outs:
        _, spans = asyncio.run(ours.restart(names, at_once=False))
    calls = [(began, ended) for out in outs for _, began, ended in json.loads(out.read_text())["calls"]]
    extra = [one * 1000 for one in added(spans, calls)]
    middle, late = statistics.median(extra), max(extra)
    engine = statistics.median((ended - began) * 1000 for began, ended in calls)
    part.table(
        ["one at a time, ms", "p50", "worst"],
        [
            ["beyond the engine call, publish to receipt", show(middle), show(late)],
            ["engine call", show(engine), "-"],
        ],
    )


def _sweep(
    part: Part, ours: Ours, engine: Dockerd, options: Options, names: Sequence[str], ids: Sequence[str]
) -> None:
    """One worker with each capacity."""
    rows: list[list[str]] = []
    for capacity in SWEEP:
        if options.over():
            part.left_out.append(f"capacity {capacity}: no time")
            continue
        bare = asyncio.run(raw(engine.url, ids, capacity))
        with ours.workers(1, capacity):
            mine, spans = asyncio.run(ours.restart(names))
        slowest = max(seen - published for published, seen in spans)
        options.tell("engine", 1, f"capacity {capacity}", {"raw": bare, "ours": mine, "slowest": slowest})
        rows.append([str(capacity), show(bare), show(mine), show(mine / bare)])
    part.table([f"{len(names)} restarts, at once", "raw s", "one worker s", "ratio"], rows)
