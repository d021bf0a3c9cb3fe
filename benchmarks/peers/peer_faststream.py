"""FastStream over a Redis stream with a consumer group, 64 handlers at once."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import driver
import probe
import redis.asyncio
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

STREAM = GROUP = "bench"
CONSUMER = f"c{os.getpid()}"
broker = RedisBroker(probe.URL, logger=None)


async def _handle(body: dict[str, Any]) -> None:
    if "path" in body:
        probe.mark_start(body["path"])
        await asyncio.sleep(3600)
    else:
        probe.hit(body["t"])


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer=CONSUMER, max_records=64), max_workers=probe.CONCURRENCY
)
async def handle(body: dict[str, Any]) -> None:
    await _handle(body)


if probe.SENSIBLE:  # as documented: a second subscriber that only claims, by XAUTOCLAIM

    @broker.subscriber(
        stream=StreamSub(STREAM, group=GROUP, consumer=f"{CONSUMER}-claim", min_idle_time=10_000),
        max_workers=probe.CONCURRENCY,
    )
    async def reclaim(body: dict[str, Any]) -> None:
        await _handle(body)


class Faststream(driver.Peer):
    async def open(self) -> None:
        client = redis.asyncio.from_url(probe.URL)
        # FastStream makes the group at "$": jobs published before the first worker would be lost.
        with contextlib.suppress(redis.asyncio.ResponseError):
            await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        await client.aclose()
        await broker.connect()

    async def close(self) -> None:
        await broker.stop()

    async def send(self, t: float) -> object:
        return await broker.publish({"t": t}, stream=STREAM)

    async def send_many(self, ts: Sequence[float]) -> None:
        connection: Any = broker._connection  # noqa: SLF001 -- its pipeline has no other door
        async with connection.pipeline(transaction=False) as pipe:
            for t in ts:
                await broker.publish({"t": t}, stream=STREAM, pipeline=pipe)
            await pipe.execute()

    async def roundtrip(self, t: float) -> None:
        await broker.request({"t": t}, stream=STREAM, timeout=20)

    async def hold(self, path: str) -> None:
        await broker.publish({"path": path}, stream=STREAM)

    def work(self) -> None:
        asyncio.run(FastStream(broker, logger=None).run(log_level=logging.ERROR))


if __name__ == "__main__":
    driver.main(Faststream())
