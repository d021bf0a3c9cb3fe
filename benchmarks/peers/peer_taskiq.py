"""taskiq with taskiq-redis' stream broker and its result backend."""

import asyncio
import logging
from typing import Any

import driver
import probe
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

extra: dict[str, Any] = {"idle_timeout": 10_000, "unacknowledged_lock_timeout": 5.0} if probe.SENSIBLE else {}
broker = RedisStreamBroker(probe.URL, **extra).with_result_backend(RedisAsyncResultBackend(probe.URL))


@broker.task(task_name="noop")
async def noop(t: float) -> None:
    probe.hit(t)


@broker.task(task_name="long_job")
async def long_job(path: str) -> None:
    probe.mark_start(path)
    await asyncio.sleep(3600)


class Taskiq(driver.Peer):
    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def send(self, t: float) -> Any:
        return await noop.kiq(t)

    async def roundtrip(self, t: float) -> None:
        task = await self.send(t)
        await task.wait_result(timeout=20)  # asks every 0.2 s by default

    async def hold(self, path: str) -> None:
        await long_job.kiq(path)

    def work(self) -> None:
        logging.disable(logging.WARNING)
        asyncio.run(run_receiver_task(broker, max_async_tasks=probe.CONCURRENCY, run_startup=True))


if __name__ == "__main__":
    driver.main(Taskiq())
