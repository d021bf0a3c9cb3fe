"""Children of the demo: out of the reach of the terminal's Ctrl-C, which the demo answers; always reaped."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

#: Seconds for a child to leave when asked.
LEAVE = 8.0
SHOWN = 2_000


class Child:
    """One subprocess, what it says in a file of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> Self:
        """Start a command in a session of its own; on Linux it dies with us, however we end."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        mortal = [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)
        log = directory / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *mortal,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=directory,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Say whether it is there."""
        return self._process.returncode is None

    @property
    def code(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def said(self) -> str:
        """Return the end of what it has written."""
        return self._log.read_text(errors="replace")[-SHOWN:] if self._log.exists() else ""

    async def kill(self) -> None:
        """Let it die at once, as by a power cut."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()

    async def end(self) -> int:
        """Ask it to leave, insist after a while; return its exit code, negative for a signal."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(LEAVE):
                    return await self._process.wait()
            except TimeoutError:
                await self.kill()
        return await self._process.wait()
