"""The demo from curtain to curtain: build everything, play the acts, sum up, leave nothing behind."""

import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from contracts.errors import PointsmanError
from pointsman.cli.exits import Exit
from pointsman.cli.output import console
from pointsman.demo.acts import ACTS, DETECTOR, METRICS, WEB, batch
from pointsman.demo.containers import Containers, NoEngineError, Simulated, Wanted
from pointsman.demo.embedded import NoServerError, start_redis
from pointsman.demo.real import Real
from pointsman.demo.screen import Lines, Screen, Terminal
from pointsman.demo.stage import Claim, Stage
from pointsman.pair import Pair

#: Seconds that the whole may take; a demo that hangs is a demo that failed.
BOUND = 55.0
#: (seconds to read between acts, seconds that the slow container takes to stop)
USUAL, FAST = (1.2, 6.0), (0.0, 3.5)
#: A unix socket's path must be short.
LONGEST_PLACE = 70


class Programme(Struct, frozen=True, kw_only=True):
    """The end of the demo: what was claimed, and how it went."""

    ok: bool
    engine: str
    seconds: float
    claims: list[Claim]
    failure: str | None = None


class Demo:
    """One performance."""

    def __init__(self, *, docker: bool, fast: bool, as_json: bool) -> None:
        self._docker = docker
        self._pace, self._slow = FAST if fast else USUAL
        self._screen = _screen(as_json=as_json)
        self._wanted: tuple[Wanted, ...] = (WEB, DETECTOR, METRICS, batch(self._slow))
        self._engine = ""
        self._claims: list[Claim] = []
        self._clearing_up = False
        self._caught: list[int] = []

    async def run(self) -> tuple[Programme, int]:
        """Perform; return the programme and the exit code. Whatever happens, nothing is left behind."""
        began = time.monotonic()
        failure: str | None = None
        with self._signals():
            try:
                async with asyncio.timeout(BOUND):
                    await self._perform()
            except (PointsmanError, NoServerError, RuntimeError) as error:
                failure = str(error)
            except TimeoutError:
                failure = "something did not happen in time: see the last step above"
            except asyncio.CancelledError:
                if not self._caught:
                    raise
                failure = "interrupted"
        ok = failure is None and all(claim.ok for claim in self._claims)
        programme = Programme(
            ok=ok,
            engine=self._engine,
            seconds=round(time.monotonic() - began, 1),
            claims=self._claims,
            failure=failure,
        )
        self._screen.end(*summary(programme))
        if self._caught:
            return programme, 128 + self._caught[0]
        return programme, Exit.DONE if ok else Exit.FAILED

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let a first Ctrl-C, SIGTERM or hang-up end the performance, and nothing disturb the clearing up."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            if main is not None and not self._caught and not self._clearing_up:
                main.cancel()
            self._caught.append(number)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, stop, int(number))
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _perform(self) -> None:
        async with AsyncExitStack() as stack:
            directory = Path(tempfile.mkdtemp(prefix="pointsman-", dir=_place()))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            screen = stack.enter_context(self._screen)
            redis, url = await start_redis(directory)
            stack.push_async_callback(redis.end)
            screen.note(f"Redis: a server of the demo's own, at {url}")
            containers = await self._containers(stack, directory)
            self._engine = containers.words
            screen.note(f"Engine: {containers.words}")
            client = await stack.enter_async_context(Pair(url, room=containers.room, issuer="demo"))
            stage = Stage(url, client, containers, screen, directory, self._pace, claims=self._claims)
            stack.push_async_callback(_end_workers, stage)
            try:
                await self._play(stage)
            except (PointsmanError, RuntimeError, TimeoutError):
                for child in stage.workers.values():
                    screen.note(f"{child.name}, whose exit code is {child.code}, said last:\n{child.said()}")
                raise
            finally:
                self._clearing_up = True

    async def _play(self, stage: Stage) -> None:
        stage.screen.say("Start two workers, and a reader of all events")
        await stage.start_workers()
        reader = asyncio.create_task(stage.follow(), name="demo-reader")
        try:
            await stage.until_serving()
            await stage.until_running(self._wanted)
            stage.screen.table()
            for act in ACTS:
                await stage.breathe()
                await act(stage)
                if reader.done():
                    reader.result()
            stage.screen.table()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _containers(self, stack: AsyncExitStack, directory: Path) -> Containers:
        """Return the containers, made and running: real ones if they are asked for and can be had."""
        room = f"demo-{secrets.token_hex(3)}"
        if self._docker:
            try:
                real = Real(room)
                stack.push_async_callback(real.close)
                await real.open(self._wanted)
            except NoEngineError as error:
                self._screen.note(f"No Docker engine for the demo ({error}): a simulated one stands in.")
            else:
                return real
        simulated = Simulated(room, directory)
        stack.push_async_callback(simulated.close)
        await simulated.open(self._wanted)
        return simulated


async def _end_workers(stage: Stage) -> None:
    await asyncio.gather(*(child.end() for child in stage.workers.values()))


def _screen(*, as_json: bool) -> Screen:
    if as_json:
        return Screen()
    out = console(sys.stdout)
    return Terminal(out) if out.is_terminal else Lines(out)


def _place() -> str | None:
    """Return where to put sockets: the usual place, unless its name is too long for one."""
    return "/tmp" if len(tempfile.gettempdir()) > LONGEST_PLACE else None  # noqa: S108 -- mkdtemp makes it ours


def summary(programme: Programme) -> list[Text | Table]:
    """Return what a person reads at the end."""
    lines = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for claim in programme.claims:
        mark = Text("✓", style="green") if claim.ok else Text("✗", style="bold red")
        lines.add_row(mark, Text(claim.claim).append(f"  {claim.found}", style="dim"))
    parts: list[Text | Table] = [
        Text(f"\nWhat was shown, on {programme.engine or 'nothing'}", style="bold"),
        lines,
    ]
    if programme.failure is not None:
        parts.append(Text(f"✗ {programme.failure}", style="bold red"))
    held = sum(claim.ok for claim in programme.claims)
    word = "all held" if programme.ok else "NOT as it should be"
    parts.append(
        Text(
            f"{held} of {len(programme.claims)} claims held, in {programme.seconds} s: {word}.", style="bold"
        )
    )
    return parts
