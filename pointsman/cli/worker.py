"""`pointsman worker …`: serve a room, or see whether this machine could."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointsman.cli.exits import Exit
from pointsman.cli.frame import Scope, command, group

if TYPE_CHECKING:
    from worker.adapters.docker.engine import DockerEngine
    from worker.settings import WorkerSettings

app = group("worker", "Serve a room.")

NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="W",
        help="This worker's name. Also POINTSMAN_WORKER_NAME; default: the name of the host.",
    ),
]
AdoptOption = Annotated[
    bool,
    typer.Option(
        "--adopt-engine", help="Bind the room to this worker's engine although it belongs to another."
    ),
]


@command(app, "run")
async def run(scope: Scope, name: NameOption = None, adopt_engine: AdoptOption = False) -> int:
    """Take commands, act on containers, tell what is so, until SIGTERM or Ctrl-C; logs go to stderr.

    Every time and bound has a variable POINTSMAN_…; `pointsman worker run` needs Redis and an engine.
    """
    from contracts.errors import RedisUnavailable  # noqa: PLC0415
    from worker.adapters.telemetry.log import StructLog  # noqa: PLC0415 -- what only a worker needs
    from worker.app import Worker  # noqa: PLC0415
    from worker.fitness import Unfit  # noqa: PLC0415
    from worker.ports import RedisLost, RoomRefused  # noqa: PLC0415
    from worker.process import run_with_signals  # noqa: PLC0415
    from worker.warden import NameTaken  # noqa: PLC0415

    settings = load_settings(scope, name=name, adopt_engine=adopt_engine)
    journal = StructLog(form=settings.log_format, level=settings.log_level, worker=settings.name)
    engine = open_engine(settings)
    try:
        await run_with_signals(Worker(settings, engine, journal))
    except (Unfit, NameTaken, RoomRefused) as error:
        journal.warning("refused", str(error))
        return Exit.FAILED
    except RedisLost as error:
        raise RedisUnavailable(words=error) from error
    except Exception:  # noqa: BLE001 -- told where the rest of this worker's life was told, with its traceback
        journal.warning("defect", "This worker ended over a defect of its own", exc_info=True)
        return Exit.FAILED
    finally:
        await engine.close()
    return Exit.DONE


@command(app, "check")
async def check(scope: Scope, name: NameOption = None) -> int:
    """See whether a worker could serve the room from here: Redis, its policy, the engine, the room."""
    from pointsman.checks import Fitness  # noqa: PLC0415 -- what only a worker needs
    from pointsman.cli.doctor import report  # noqa: PLC0415

    settings = load_settings(scope, name=name)
    engine = open_engine(settings)
    try:
        async with scope.client() as room:
            found = await Fitness(room, settings.redis_url, engine).worker()
    finally:
        await engine.close()
    return report(scope, found)


def load_settings(scope: Scope, *, name: str | None = None, adopt_engine: bool = False) -> "WorkerSettings":
    """Return the settings of the environment with the options over them. Raises typer.BadParameter."""
    from pydantic import ValidationError  # noqa: PLC0415 -- what only a worker needs

    from worker.settings import WorkerSettings  # noqa: PLC0415

    given: dict[str, Any] = {"redis_url": scope.redis_url, "room": scope.room, "prefix": scope.prefix}
    if name is not None:
        given["POINTSMAN_WORKER_NAME"] = name
    if adopt_engine:
        given["adopt_engine"] = True
    try:
        return WorkerSettings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise typer.BadParameter(problems) from error


def open_engine(settings: "WorkerSettings") -> "DockerEngine":
    """Return the engine that the settings name, nothing opened yet. Raises typer.BadParameter."""
    from worker.adapters.docker.endpoint import EngineAddressError  # noqa: PLC0415 -- what only a worker needs
    from worker.adapters.docker.engine import DockerEngine  # noqa: PLC0415

    try:
        return DockerEngine(settings.docker_host)
    except EngineAddressError as error:
        raise typer.BadParameter(str(error)) from error


def _variable(place: tuple[int | str, ...]) -> str:
    text = str(place[0]).upper() if place else "settings"
    return text if text.startswith("POINTSMAN_") or not place else f"POINTSMAN_{text}"
