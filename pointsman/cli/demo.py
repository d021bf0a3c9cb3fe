"""`pointsman demo`: see it work within a minute."""

from enum import StrEnum
from typing import Annotated

import typer

from pointsman.cli.frame import Scope, command


class EngineChoice(StrEnum):
    """What runs the demo's containers."""

    SIMULATED = "simulated"
    DOCKER = "docker"


async def demo(
    scope: Scope,
    engine: Annotated[
        EngineChoice,
        typer.Option("--engine", help="A simulated engine, or real containers on a Docker engine."),
    ] = EngineChoice.SIMULATED,
    fast: Annotated[bool, typer.Option("--fast", help="Without pauses to read.")] = False,
) -> int:
    """See it work within a minute: a Redis of its own, two workers, every action, a crash in the middle."""
    from pointsman.demo.play import Demo  # noqa: PLC0415 -- brings everything

    performance = Demo(docker=engine is EngineChoice.DOCKER, fast=fast, as_json=scope.as_json)
    programme, code = await performance.run()
    if scope.as_json:
        scope.output.data(programme)
    return code


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "demo")(demo)
