"""Run one worker from the environment: `python -m tests.support.run_worker`."""

import asyncio

from worker.adapters.docker.engine import DockerEngine
from worker.adapters.telemetry.log import StructLog
from worker.app import Worker, run_with_signals
from worker.settings import WorkerSettings


async def main() -> None:
    """Serve until a signal comes."""
    settings = WorkerSettings()
    engine = DockerEngine(settings.docker_host)
    try:
        await run_with_signals(Worker(settings, engine, StructLog(form="json", level="info")))
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
