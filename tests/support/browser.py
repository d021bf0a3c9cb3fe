"""A real headless Chromium, the system's own, that looks at the page of a gateway.

Fixtures `browser`: open pages with it; what a page complains of fails its test. `stage`: what is looked at.
"""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from tests.support.gateway import Scene
from tests.support.host import LOOPBACK
from tests.support.needs import leave_out
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request

#: A name of somebody else that leads to this machine, as after DNS rebinding.
REBOUND = "rebound.example"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    f"--host-resolver-rules=MAP {REBOUND} {LOOPBACK}",
)
#: How long the page may take over anything, in ms, on a machine that others use too.
PATIENCE = 10_000
#: What Chromium itself writes about requests that fail, as they do when a gateway is away or says no.
EXPECTED = ("Failed to load resource",)


@dataclass(slots=True)
class Sight:
    """One page that is looked at."""

    page: "Page"
    url: str
    complaints: list[str] = field(default_factory=list)
    requests: "list[Request]" = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def go(self, view: str = "") -> None:
        """Go to a view: what stands after `#/`."""
        await self.page.goto(f"{self.url}/#/{view}")

    async def live(self) -> None:
        """Wait until the page is live."""
        await self.page.locator('#link[data-tone="good"]').wait_for()

    def row(self, name: str) -> "Locator":
        """Return a service's row in the table."""
        return self.page.locator(f'tr.row[data-name="{name}"]')

    def banner(self, key: str) -> "Locator":
        """Return a banner by its key."""
        return self.page.locator(f'.banner[data-key="{key}"]')

    def dialog(self) -> "Locator":
        """Return the dialog."""
        return self.page.locator("dialog[open]")

    async def ask(self, action: str, name: str, reason: str = "") -> None:
        """Press a button in a service's row, and say yes."""
        await self.row(name).locator(f'[data-action="{action}"]').click()
        if reason:
            await self.dialog().locator("#reason").fill(reason)
        await self.dialog().locator('button[type="submit"]').click()

    def streams(self) -> "list[Request]":
        """Return the requests for the stream of events, in order."""
        return [one for one in self.requests if "/services/events?" in one.url]


class Sights:
    """Opens pages in one browser."""

    def __init__(self, browser: "Browser") -> None:
        self._browser = browser
        self.opened: list[Sight] = []

    async def open(self, url: str, view: str = "", **options: Any) -> Sight:
        """Open the page in a context of its own; `options` are playwright's, such as `color_scheme`."""
        context = await self._browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        sight = Sight(page, url)
        self.opened.append(sight)
        page.on("console", lambda message: _hear(sight, message))
        page.on("pageerror", lambda error: sight.complaints.append(f"error: {error}"))
        page.on("request", lambda request: _note(sight, request))
        page.on("requestfailed", lambda one: sight.failed.append(f"{one.method} {one.url}: {one.failure}"))
        await sight.go(view)
        return sight


def _note(sight: Sight, request: "Request") -> None:
    sight.requests.append(request)
    if not request.url.startswith((f"{sight.url}/", "data:")):
        sight.complaints.append(f"asks another site: {request.url}")


def _hear(sight: Sight, message: "ConsoleMessage") -> None:
    if message.type in {"error", "warning"} and not message.text.startswith(EXPECTED):
        sight.complaints.append(f"{message.type}: {message.text}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _chromium() -> "AsyncIterator[Browser]":
    program = shutil.which("chromium")
    if program is None:
        leave_out("chromium", "apt-get install chromium, or scripts/install-test-deps as root")
    if find_spec("playwright") is None:
        leave_out("playwright", "pip install pointsman[test]")
    from playwright.async_api import async_playwright, expect  # noqa: PLC0415 -- not everywhere

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(_chromium: "Browser") -> AsyncIterator[Sights]:
    """Give a browser; a page's errors and breaches of its policy fail the test.

    One browser serves the whole session, in the session's loop: the test must be in it too, by the mark
    `asyncio(loop_scope="session")`.
    """
    sights = Sights(_chromium)
    yield sights
    for sight in sights.opened:
        for line in sight.failed:
            sys.stderr.write(f"{line}\n")  # shown beside a failure
        await sight.page.context.close()
    complaints = [complaint for sight in sights.opened for complaint in sight.complaints]
    assert not complaints, complaints


@pytest_asyncio.fixture(loop_scope="session")
async def stage(redis_server: RedisServer, room: str) -> AsyncIterator[Scene]:
    """Give an empty scene, as `scene` does, in the session's loop."""
    async with scene_in(redis_server, room) as made:
        yield made


@asynccontextmanager
async def scene_in(server: RedisServer, room: str) -> AsyncIterator[Scene]:
    """Give an empty scene in a room of any server; it ends with the block."""
    made = Scene(server, room)
    try:
        yield made
    finally:
        await made.close()
