"""Free loopback ports; processes that do not outlive the test run and stand still when told."""

import os
import random
import shutil
import signal
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
TRIES = 200


def free_port() -> int:
    """Return a loopback port that nothing listens on, outside the kernel's ephemeral range.

    A client that dials a dead server's ephemeral port in a loop may one day connect to itself.
    """
    lowest, highest = _ephemeral_range()
    below, above = range(10_000, lowest), range(highest + 1, 65_536)
    ports = below if len(below) >= len(above) else above
    for _ in range(TRIES):
        port = random.choice(ports)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port found in {TRIES} tries")


def _ephemeral_range() -> tuple[int, int]:
    try:
        lowest, highest = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except FileNotFoundError:
        return 49_152, 65_535
    return int(lowest), int(highest)


def mortal(command: list[str]) -> list[str]:
    """Return the command such that it dies with the thread that starts it, however that ends; same pid."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command


def freeze(pid: int) -> None:
    """Stop a child of ours in its tracks, and return when it stands (the signal comes when it comes)."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
