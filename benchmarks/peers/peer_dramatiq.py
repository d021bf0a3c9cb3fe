"""dramatiq: threads instead of asyncio, one process, no results, which is its default."""

import signal
import time
from typing import Any

import dramatiq
import driver
import probe
from dramatiq.brokers.redis import RedisBroker

# Maintenance on about one command of 100 instead of one of 1,000.
extra: dict[str, Any] = {"heartbeat_timeout": 10_000, "maintenance_chance": 10_000} if probe.SENSIBLE else {}
broker = RedisBroker(url=probe.URL, **extra)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(t: float) -> None:
    probe.hit(t)


@dramatiq.actor(time_limit=3_600_000)
def long_job(path: str) -> None:
    probe.mark_start(path)
    time.sleep(3600)


class Dramatiq(driver.Peer):
    answers = False

    async def close(self) -> None:
        broker.close()

    async def send(self, t: float) -> object:
        return noop.send(t)

    async def hold(self, path: str) -> None:
        long_job.send(path)

    def work(self) -> None:
        worker = dramatiq.Worker(broker, worker_threads=probe.CONCURRENCY)
        worker.start()
        signal.pause()


if __name__ == "__main__":
    driver.main(Dramatiq())
