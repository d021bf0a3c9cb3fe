"""`pointsman doctor`: look at everything that could be wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from pointsman.cli.exits import Exit
from pointsman.cli.frame import Scope, command

if TYPE_CHECKING:
    from pointsman.checks import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


async def doctor(scope: Scope) -> int:
    """Look at the installation, Redis, the engine and the room: each line is ok, warn or fail."""
    from pointsman.checks import Fitness  # noqa: PLC0415 -- brings the engine's adapter
    from pointsman.cli.worker import load_settings, open_engine  # noqa: PLC0415

    settings = load_settings(scope)
    try:
        engine = open_engine(settings)
    except typer.BadParameter as error:
        scope.output.note(str(error))
        engine = None
    try:
        async with scope.client() as room:
            found = await Fitness(room, settings.redis_url, engine).doctor()
    finally:
        if engine is not None:
            await engine.close()
    return report(scope, found)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "doctor")(doctor)


def report(scope: Scope, checks: "Sequence[Check]") -> int:
    """Print what was found; return the exit code: Redis first, then a missing worker, then any failure."""
    from pointsman.checks import Verdict, worst  # noqa: PLC0415 -- brings the engine's adapter

    if scope.as_json:
        scope.output.data({"status": worst(checks), "checks": checks})
    else:
        from rich.text import Text  # noqa: PLC0415 -- for people only

        from pointsman.cli.tables import table  # noqa: PLC0415

        lines = table("", "", "", folds=("",))
        lines.show_header = False
        for check in checks:
            lines.add_row(Text(check.status, style=_STYLES[check.status]), check.name, Text(check.message))
        scope.output.show(lines)
    failed = {check.name for check in checks if check.status is Verdict.FAIL}
    if "redis" in failed:
        return Exit.NO_REDIS
    if failed == {"workers"}:
        return Exit.NO_WORKER
    return Exit.FAILED if failed else Exit.DONE
