"""What is said where: data on stdout, talk on stderr, JSON and nothing else when that is asked for."""

import os
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

from contracts.errors import NoWorker, PointsmanError, RedisUnavailable, ServiceNotFound

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Columns where no terminal and no COLUMNS say how many there are: no line of a table breaks then.
WIDE = 1_000

#: Error, how its message begins, and what to do about it.
_HINTS: tuple[tuple[type[PointsmanError], str, str], ...] = (
    (
        RedisUnavailable,
        "Redis does not answer",
        "Give its address with --redis-url or POINTSMAN_REDIS_URL; `pointsman doctor` looks further.",
    ),
    (NoWorker, "", "Start one with `pointsman worker run`, or publish all the same with --no-wait."),
    (ServiceNotFound, "", "`pointsman service list` shows the services that are known here."),
)


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks."""

    as_json: bool

    def data(self, value: Any) -> None:
        """Print a value as JSON: indented for a terminal, on one line for a program."""
        text = msgspec.json.encode(value)
        if sys.stdout.isatty():
            text = msgspec.json.format(text, indent=2)
        _write(text.decode())

    def line(self, value: Any) -> None:
        """Print a value as one line of JSON, at once."""
        _write(msgspec.json.encode(value).decode())

    def show(self, *parts: "RenderableType") -> None:
        """Print for people."""
        put(console(sys.stdout), *parts)

    def note(self, text: str) -> None:
        """Tell of something beside the data."""
        if self.as_json:
            self._object("note", {"message": text})
        else:
            console(sys.stderr).print(text, style="yellow", markup=False)

    def complain(self, error: PointsmanError) -> None:
        """Tell of an error, once, with what to do about it."""
        if self.as_json:
            self._object("error", {"code": error.code, "status": error.status, "message": error.message})
            return
        err = console(sys.stderr)
        err.print("Error: ", style="bold red", end="")
        err.print(error.message, markup=False)
        for kind, beginning, hint in _HINTS:
            if isinstance(error, kind) and error.message.startswith(beginning):
                err.print(hint, style="dim", markup=False)

    def _object(self, name: str, value: dict[str, Any]) -> None:
        sys.stderr.write(msgspec.json.encode({name: value}).decode() + "\n")
        sys.stderr.flush()


def console(file: IO[str]) -> "Console":
    """Return a console on a stream; colours as the terminal, NO_COLOR and FORCE_COLOR say."""
    from rich.console import Console  # noqa: PLC0415 -- JSON needs none of it

    width = None if file.isatty() or os.environ.get("COLUMNS") else WIDE
    return Console(file=file, highlight=False, width=width, soft_wrap=False)


def put(out: "Console", *parts: "RenderableType") -> None:
    """Print on a console; where that is no terminal, without the blanks that pad a table's last column."""
    if out.is_terminal:
        out.print(*parts, sep="\n")
        return
    with out.capture() as captured:
        out.print(*parts, sep="\n")
    out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    out.file.flush()


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
