"""`pointsman gateway run`: the room over HTTP."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointsman.cli.exits import Exit
from pointsman.cli.frame import Scope, command, group

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

app = group("gateway", "Serve the room over HTTP.")

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Where to listen. [env: POINTSMAN_GATEWAY_HOST] [default: 127.0.0.1]",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=0,
        max=65_535,
        help="Port; 0 takes a free one. [env: POINTSMAN_GATEWAY_PORT] [default: 8000]",
    ),
]


@command(app, "run")
async def run(scope: Scope, host: HostOption = None, port: PortOption = None) -> int:
    """Serve the Services API, commands, dead letters and events until SIGTERM or Ctrl-C; logs go to stderr.

    Without a key only loopback is served. Every other setting has a variable POINTSMAN_GATEWAY_….
    """
    try:
        from gateway import Gateway  # noqa: PLC0415 -- needs the extra
        from gateway.server import Unbound, serve  # noqa: PLC0415
        from gateway.tokens import BadKey  # noqa: PLC0415
    except ImportError as error:
        raise typer.BadParameter(f"{error}: install `pointsman[gateway]`") from error

    from pointsman.journal import Journal  # noqa: PLC0415 -- what only who serves needs

    settings = load_settings(scope, host=host, port=port)
    try:
        await serve(Gateway(settings, Journal(form=settings.log_format, level=settings.log_level)))
    except (Unbound, BadKey) as error:
        raise typer.BadParameter(str(error)) from error
    return Exit.DONE


def load_settings(scope: Scope, **options: Any) -> "GatewaySettings":
    """Return the settings of the environment with the options over them. Raises typer.BadParameter."""
    from pydantic import ValidationError  # noqa: PLC0415 -- what only a gateway needs

    from gateway.settings import GatewaySettings  # noqa: PLC0415

    given: dict[str, Any] = {"redis_url": scope.redis_url, "room": scope.room, "prefix": scope.prefix}
    given |= {name: value for name, value in options.items() if value is not None}
    try:
        return GatewaySettings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise typer.BadParameter(problems) from error
