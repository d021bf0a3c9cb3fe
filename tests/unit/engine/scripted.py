"""An HTTP server that says what a test tells it to: the answers that no engine of ours would give."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from worker.adapters.docker import DockerEngine, Timing

ID = "a" * 64
QUICK = Timing(
    connect=1, look=1, ping=0.3, start=1, idle=0.05, renew=60, backoff_first=0.01, backoff_most=0.1
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scripted:
    """Answers by path: `answers["/events"]`, without the version; `asked` has every request."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.api_version = "1.41"
        self.answers: dict[str, Answer] = {}
        self.asked: list[web.Request] = []
        self.over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        path = "/" + request.path.split("/", 2)[2] if request.path.startswith("/v1") else request.path
        if path in self.answers:
            return await self.answers[path](request)
        if path == "/_ping":
            return web.Response(text="OK")
        if path == "/version":
            return web.json_response({"ApiVersion": self.api_version})
        return web.json_response({"message": f"no answer for {path}"}, status=404)

    def paths(self, part: str) -> list[str]:
        return [request.path_qs for request in self.asked if part in request.path]


@asynccontextmanager
async def scripted(directory: Path) -> AsyncIterator[Scripted]:
    path = directory / "scripted.sock"
    server = Scripted(path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield server
    finally:
        server.over.set()
        await runner.cleanup()


@asynccontextmanager
async def adapter(server: Scripted, timing: Timing = QUICK) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(server.url, timing=timing)
    try:
        yield engine
    finally:
        await engine.close()


def event(number: int, action: str = "start", **attributes: str) -> bytes:
    """Write an event stamped `number` seconds after the epoch."""
    content: dict[str, Any] = {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": ID, "Attributes": {"name": "c", **attributes}},
        "time": number,
        "timeNano": number * 1_000_000_000,
    }
    return json.dumps(content).encode() + b"\n"


class Streams:
    """What each event stream that is opened gets, in turn; the last script serves all further ones.

    A script is a list of chunks; `None` keeps the stream open and silent, otherwise it ends.
    """

    def __init__(self, server: Scripted, *scripts: list[bytes | None]) -> None:
        self.server = server
        self.scripts = list(scripts)
        self.opened: list[web.Request] = []
        server.answers["/events"] = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        script = self.scripts[min(len(self.opened), len(self.scripts) - 1)]
        self.opened.append(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for chunk in script:
            if chunk is None:
                await self.server.over.wait()
            else:
                await response.write(chunk)
        return response
