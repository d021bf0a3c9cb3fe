"""The command line of every peer: `python peer_X.py worker | fill N | latency RATE SECONDS | hold PATH | trickle`."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

CHUNK = 500
LANES = 64


class Peer:
    """One job queue, with its own API and its own defaults."""

    #: Whether its producer can wait for a result.
    answers = True

    async def open(self) -> None:
        """Connect the producer."""

    async def close(self) -> None:
        """Let the producer's connections go."""

    async def send(self, t: float) -> object:
        """Publish one job that does nothing."""
        raise NotImplementedError

    async def send_many(self, ts: Sequence[float]) -> None:
        """Publish several, by the API's own batch call where it has one."""
        left = iter(ts)

        async def lane() -> None:
            for t in left:
                await self.send(t)

        await asyncio.gather(*(lane() for _ in range(LANES)))

    async def roundtrip(self, t: float) -> None:
        """Publish one and wait for its result by the peer's own call."""
        raise NotImplementedError

    async def hold(self, path: str) -> None:
        """Publish one job that runs for an hour and marks each of its starts in a file."""
        raise NotImplementedError

    def work(self) -> None:
        """Run one worker process until a signal."""
        raise NotImplementedError


async def _fill(peer: Peer, count: int) -> dict[str, object]:
    for first in range(0, count, CHUNK):
        await peer.send_many([time.time()] * min(CHUNK, count - first))
    return {"n": count}


async def _latency(peer: Peer, rate: float, seconds: float) -> dict[str, object]:
    results: list[float] = []

    async def one() -> None:
        published = time.time()
        if peer.answers:
            await peer.roundtrip(published)
            results.append(time.time() - published)
        else:
            await peer.send(published)

    began, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    errors = [repr(end) for end in ends if isinstance(end, BaseException)]
    return {"result_s": results, "errors": len(errors), "first_error": errors[:1]}


async def _trickle(peer: Peer) -> dict[str, object]:
    """Publish one a second: some peers reclaim only while there is traffic."""
    while True:
        await peer.send(time.time())
        await asyncio.sleep(1)


async def _produce(peer: Peer, mode: str, *args: str) -> dict[str, object]:
    await peer.open()
    try:
        match mode:
            case "fill":
                return await _fill(peer, int(args[0]))
            case "latency":
                return await _latency(peer, float(args[0]), float(args[1]))
            case "hold":
                await peer.hold(args[0])
                return {}
            case "trickle":
                return await _trickle(peer)
            case _:
                raise SystemExit(f"no such mode: {mode}")
    finally:
        await peer.close()


def main(peer: Peer) -> None:
    """Do what the command line says."""
    if sys.argv[1] == "worker":
        peer.work()
    else:
        print(json.dumps(asyncio.run(_produce(peer, *sys.argv[1:]))))
