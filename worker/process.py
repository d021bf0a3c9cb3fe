"""The process that a worker runs in: the container around it, its signals, its memory."""

import asyncio
import gc
import platform
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Stoppable(Protocol):
    """A worker, as far as it matters here."""

    def stop(self) -> None:
        """Ask for a shutdown; a second time: at once."""

    async def run(self, *, ready: Callable[[], None]) -> None:
        """Serve until `stop`."""


def own_container_id() -> str | None:
    """Return the id of the container that this process runs in, or its first 12 characters; None outside."""
    try:
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            parts = line.split("/containers/")
            if len(parts) > 1 and len(parts[1]) >= 64 and all(c in "0123456789abcdef" for c in parts[1][:64]):
                return parts[1][:64]
    except OSError:
        return None
    name = platform.node()
    return name if Path("/.dockerenv").exists() and len(name) == 12 else None


async def run_with_signals(worker: Stoppable, *, ready: Callable[[], None] = lambda: None) -> None:
    """Run a worker that SIGTERM and SIGINT stop."""
    loop = asyncio.get_running_loop()
    # What was loaded lives as long as the process, and next to nothing that a command leaves behind is a cycle.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.run(ready=ready)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
