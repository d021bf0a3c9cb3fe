"""The frame of every command: options that all take, one event loop, errors told once, exit codes."""

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import PointsmanError
from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM
from pointsman.cli.exits import Exit, exit_for_error
from pointsman.cli.output import Output

if TYPE_CHECKING:
    from pointsman.pair import Pair

DEFAULT_URL = "redis://localhost:6379/0"

RoomOption = Annotated[
    str | None,
    typer.Option("--room", metavar="ROOM", help="The room. Also POINTSMAN_ROOM; default: default."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--redis-url",
        metavar="URL",
        help=f"Where Redis is. Also POINTSMAN_REDIS_URL; default: {DEFAULT_URL}.",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix", metavar="PREFIX", help="Prefix of all keys. Also POINTSMAN_PREFIX.", hidden=True
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

#: The options of every command and group, in the order in which help shows them.
_COMMON: tuple[tuple[str, Any, Any], ...] = (
    ("room", RoomOption, None),
    ("redis_url", UrlOption, None),
    ("prefix", PrefixOption, None),
    ("as_json", JsonOption, False),
)

Work = Callable[..., Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a command works, and how it speaks."""

    room: str = DEFAULT_ROOM
    redis_url: str = DEFAULT_URL
    prefix: str = DEFAULT_PREFIX
    output: Output = field(default_factory=lambda: Output(as_json=False))

    @property
    def as_json(self) -> bool:
        """Say whether stdout is for JSON."""
        return self.output.as_json

    def client(self, issuer: str | None = None) -> "Pair":
        """Return a client of the room. Raises typer.BadParameter for a room or a URL that cannot be."""
        from pointsman.pair import Pair  # noqa: PLC0415 -- costs as much as the rest together

        try:
            return Pair(self.redis_url, room=self.room, prefix=self.prefix, issuer=issuer)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error


def group(name: str, help: str) -> typer.Typer:  # noqa: A002 -- typer's word
    """Return a group of commands whose common options may also stand before the command's name."""
    made = typer.Typer(
        name=name,
        help=help,
        no_args_is_help=True,
        add_completion=name == "pointsman",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def take(ctx: typer.Context, **given: Any) -> None:
        _note(ctx, given)

    _sign(take, [], help)
    made.callback()(take)
    return made


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Work], Work]:
    """Register an async function as a command; its first parameter is the `Scope`, it returns an exit code.

    The common options are added to its own; what it raises of ours is told on stderr.
    """

    def register(work: Work) -> Work:
        @functools.wraps(work)
        def run(ctx: typer.Context, **given: Any) -> None:
            scope = _scope(_note(ctx, given))
            own = {key: value for key, value in given.items() if key not in _NAMES}
            raise typer.Exit(perform(scope, lambda: work(scope, **own)))

        _sign(run, list(inspect.signature(work).parameters.values())[1:], work.__doc__)
        app.command(name, **settings)(run)
        return work

    return register


def perform(scope: Scope, work: Callable[[], Awaitable[int | None]]) -> int:
    """Run a command to its end; return the exit code."""

    async def whole() -> int | None:
        return await work()

    try:
        code = asyncio.run(whole()) or Exit.DONE
        sys.stdout.flush()
    except PointsmanError as error:
        scope.output.complain(error)
        return exit_for_error(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the very end
        return Exit.BROKEN_PIPE
    return code


def one_name(positional: str | None, option: str | None) -> str:
    """Return the name from whichever place it stands in. Raises typer.BadParameter."""
    if positional is not None and option is not None and positional != option:
        raise typer.BadParameter(f"NAME says {positional!r} and --name says {option!r}: give one of them")
    name = positional if positional is not None else option
    if name is None:
        raise typer.BadParameter("NAME is missing: give it, or --name NAME")
    return name


_NAMES = frozenset(name for name, _, _ in _COMMON)


def _note(ctx: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
    """Put the common options that are given over those of the groups above; return all."""
    above = ctx.parent.obj if ctx.parent is not None and ctx.parent.obj else {}
    ctx.obj = above | {name: given[name] for name in _NAMES if given.get(name)}
    noted: dict[str, Any] = ctx.obj
    return noted


def _scope(given: dict[str, Any]) -> Scope:
    def setting(name: str, default: str) -> str:
        return given.get(name) or os.environ.get(f"POINTSMAN_{name.upper()}") or default

    return Scope(
        room=setting("room", DEFAULT_ROOM),
        redis_url=setting("redis_url", DEFAULT_URL),
        prefix=setting("prefix", DEFAULT_PREFIX),
        output=Output(as_json=bool(given.get("as_json"))),
    )


def _sign(function: Callable[..., Any], own: list[inspect.Parameter], doc: str | None) -> None:
    """Give a function the signature that typer reads: the context, its own parameters, the common ones."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("ctx", kind, annotation=typer.Context)]
    parameters += [one.replace(kind=kind) for one in own]
    parameters += [
        inspect.Parameter(name, kind, annotation=type_, default=default) for name, type_, default in _COMMON
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    function.__doc__ = doc
