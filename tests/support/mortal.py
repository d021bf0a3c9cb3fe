"""A Docker engine of a test's own that may be killed and started again where it was.

Fixture `mortal_engine`.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.dockerd import HOW_TO_GET_IT, STOP_SECONDS, Dockerd, _start_own
from tests.support.needs import leave_out


class MortalEngine:
    """An engine that dies and comes back; `running` is the one of now, or the last there was."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running = self._start()
        self.running._import_image()

    def _start(self) -> Dockerd:
        started = _start_own(self.directory, None)
        if started is None:
            leave_out("a Docker engine that starts", (self.directory / "dockerd.log").read_text()[-400:])
        return started

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def dead(self) -> bool:
        process = self.running.process
        return process is not None and process.poll() is not None

    def kill(self) -> None:
        process = self.running.process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=STOP_SECONDS)

    def revive(self) -> None:
        """Start it again; it kills the containers that it finds running, as it was not told to spare them."""
        mark = self.running.mark
        self.running = self._start()
        self.running.mark = mark


@pytest.fixture
async def mortal_engine() -> AsyncIterator[MortalEngine]:
    """Give an engine that a test may kill."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        leave_out("a Docker engine", HOW_TO_GET_IT)
    directory = Path(tempfile.mkdtemp(prefix="pm-dm-"))
    engine = MortalEngine(directory)
    try:
        yield engine
    finally:
        if engine.dead:
            engine.revive()  # what it ran lives on without it, and has to go
        engine.running.close()
        shutil.rmtree(directory, ignore_errors=True)
