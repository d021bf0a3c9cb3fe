"""pydocket: Redis streams, Lua per schedule, claim and finish, leases renewed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import driver
import probe
from docket import Docket, Execution, Worker


async def noop(t: float) -> None:
    probe.hit(t)


async def long_job(path: str) -> None:
    probe.mark_start(path)
    await asyncio.sleep(3600)


class Pydocket(driver.Peer):
    async def open(self) -> None:
        self.docket = Docket(name="bench", url=probe.URL)
        await self.docket.__aenter__()
        self.docket.register(noop)
        self.docket.register(long_job)

    async def close(self) -> None:
        await self.docket.__aexit__(None, None, None)

    async def send(self, t: float) -> Execution:
        return await self.docket.add(noop)(t)

    async def send_many(self, ts: Sequence[float]) -> None:
        await self.docket.add_many([self.docket.call(noop)(t) for t in ts])

    async def roundtrip(self, t: float) -> None:
        execution = await self.send(t)
        await execution.get_result(timeout=timedelta(seconds=20))

    async def hold(self, path: str) -> None:
        await self.docket.add(long_job)(path)

    def work(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        await self.open()
        extra: dict[str, Any] = {}
        if probe.SENSIBLE:
            extra["redelivery_timeout"] = timedelta(seconds=10)
        if probe.TUNED:  # by default 250 ms, slept whenever all slots are taken
            extra["minimum_check_interval"] = timedelta(milliseconds=5)
        async with Worker(self.docket, concurrency=probe.CONCURRENCY, **extra) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    driver.main(Pydocket())
