"""arq, in an environment of its own: arq 0.28 caps redis-py below 6."""

import asyncio
from typing import Any

import driver
import probe
from arq import create_pool
from arq.connections import RedisSettings
from arq.jobs import Job
from arq.worker import Worker

#: Seconds; by default jobs and results are polled for every half second.
POLL = {"poll_delay": 0.01} if probe.TUNED else {}


async def noop(ctx: dict[str, Any], t: float) -> None:  # noqa: ARG001 -- arq's signature
    probe.hit(t)


async def long_job(ctx: dict[str, Any], path: str) -> None:  # noqa: ARG001 -- arq's signature
    probe.mark_start(path)
    await asyncio.sleep(3600)


class Arq(driver.Peer):
    async def open(self) -> None:
        self.pool = await create_pool(RedisSettings.from_dsn(probe.URL))

    async def close(self) -> None:
        await self.pool.aclose()

    async def send(self, t: float) -> Job | None:
        return await self.pool.enqueue_job("noop", t)

    async def roundtrip(self, t: float) -> None:
        job = await self.send(t)
        if job is not None:
            await job.result(timeout=20, **POLL)

    async def hold(self, path: str) -> None:
        await self.pool.enqueue_job("long_job", path)

    def work(self) -> None:
        # The key of a job in progress lives for the timeout, 300 s by default, and ten more.
        extra: dict[str, Any] = {"job_timeout": 10} if probe.SENSIBLE else {}
        settings = RedisSettings.from_dsn(probe.URL)
        Worker(
            functions=[noop, long_job],
            redis_settings=settings,
            max_jobs=probe.CONCURRENCY,
            **extra,
            **POLL,
        ).run()


if __name__ == "__main__":
    driver.main(Arq())
