"""saq, in an environment of its own: saq 0.26 caps redis-py below 8."""

import asyncio
from typing import Any

import driver
import probe
from saq import Job, Queue, Worker


async def noop(ctx: dict[str, Any], *, t: float) -> None:  # noqa: ARG001 -- saq's signature
    probe.hit(t)


async def long_job(ctx: dict[str, Any], *, path: str) -> None:  # noqa: ARG001 -- saq's signature
    probe.mark_start(path)
    await asyncio.sleep(3600)


class Saq(driver.Peer):
    async def open(self) -> None:
        self.queue = Queue.from_url(probe.URL)
        await self.queue.connect()

    async def close(self) -> None:
        await self.queue.disconnect()

    async def send(self, t: float) -> Job:
        return await self.queue.enqueue("noop", t=t)

    async def roundtrip(self, t: float) -> None:
        job = await self.send(t)
        await job.refresh(until_complete=20)

    async def hold(self, path: str) -> None:
        # By default a job has 10 s and one attempt.
        more = {"retries": 3, "timeout": 10} if probe.SENSIBLE else {}
        await self.queue.enqueue(Job("long_job", kwargs={"path": path}, **more))

    def work(self) -> None:
        asyncio.run(_serve())


async def _serve() -> None:
    extra = {"timers": {"sweep": 5}} if probe.SENSIBLE else {}
    queue = Queue.from_url(probe.URL)
    worker = Worker(queue, functions=[noop, long_job], concurrency=probe.CONCURRENCY, **extra)
    await queue.connect()
    await worker.start()


if __name__ == "__main__":
    driver.main(Saq())
