"""Where the demo shows itself: a live table under a running log, plain lines, or nothing but the end."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from contracts.events import Event
from contracts.services import Snapshot
from pointsman.cli.output import put
from pointsman.cli.tables import services_table
from pointsman.cli.words import event_line

#: Redraws of the live table in a second: uptime moves, nothing else does by itself.
REDRAWS = 4


class Screen:
    """Shows nothing: for JSON, and to build on. `services` is looked at whenever it is drawn."""

    def __init__(self) -> None:
        self.services: Mapping[str, Snapshot] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the live part away."""

    def say(self, text: str) -> None:
        """Tell what comes next."""

    def note(self, text: str) -> None:
        """Tell of a finding."""

    def event(self, event: Event) -> None:
        """Show an event of the room."""

    def table(self) -> None:
        """Show the services as they are now."""

    def end(self, *parts: RenderableType) -> None:
        """Show the summary."""


class Lines(Screen):
    """One line after the other."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def say(self, text: str) -> None:
        """Tell what comes next."""
        self._print(Text(f"\n▸ {text}", style="bold"))

    def note(self, text: str) -> None:
        """Tell of a finding."""
        self._print(Text(f"  {text}"))

    def event(self, event: Event) -> None:
        """Show an event of the room."""
        self._print(Text("  ").append_text(event_line(event)))

    def table(self) -> None:
        """Show the services as they are now."""
        self._print(services_table(self.services.values(), datetime.now(UTC)))

    def end(self, *parts: RenderableType) -> None:
        """Show the summary."""
        self._print(*parts)

    def _print(self, *parts: RenderableType) -> None:
        put(self._console, *parts)


class Terminal(Lines):
    """The same lines, above a table that is always up to date."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=REDRAWS, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def table(self) -> None:
        """Leave it to the live table."""

    def _render(self) -> RenderableType:
        if not self.services:
            return Text()
        return Group(Rule(style="dim"), services_table(self.services.values(), datetime.now(UTC)))
