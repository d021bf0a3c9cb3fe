"""streaq: Redis streams through coredis, one Lua function per step."""

import asyncio
from collections.abc import Sequence
from typing import Any

import driver
import probe
from streaq import Worker

extra: dict[str, Any] = {"idle_timeout": 10} if probe.SENSIBLE else {}
worker: Any = Worker(redis_url=probe.URL, concurrency=probe.CONCURRENCY, **extra)


@worker.task()
async def noop(t: float) -> None:
    probe.hit(t)


@worker.task(timeout=3600)
async def long_job(path: str) -> None:
    probe.mark_start(path)
    await asyncio.sleep(3600)


class Streaq(driver.Peer):
    async def open(self) -> None:
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def send(self, t: float) -> Any:
        return await noop.enqueue(t)

    async def send_many(self, ts: Sequence[float]) -> None:
        await worker.enqueue_many([noop.enqueue(t) for t in ts])

    async def roundtrip(self, t: float) -> None:
        task = await self.send(t)
        await task.result(timeout=20)

    async def hold(self, path: str) -> None:
        await long_job.enqueue(path)

    def work(self) -> None:
        worker.run_sync()


if __name__ == "__main__":
    driver.main(Streaq())
