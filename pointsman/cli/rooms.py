"""`pointsman room service …`: the services of a room, through Redis or through a gateway."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from contracts.errors import (
    ActionNotAllowed,
    AlreadyRunning,
    AlreadyStopped,
    PointsmanError,
    ProtectedService,
    ServiceDisabled,
)
from contracts.services import ServiceStatus
from pointsman.cli.exits import Exit, exit_for_error
from pointsman.cli.frame import Scope, command, group, one_name
from pointsman.cli.options import NameArgument, NameOption, issuer

if TYPE_CHECKING:
    from pointsman.room import RoomClient

app = group("room", "Operate within a room.")
services = group("service", "List the services of a room, restart one.")
app.add_typer(services)

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        metavar="URL",
        help="Ask a gateway instead of Redis: http://host:8000.",
        envvar="POINTSMAN_GATEWAY_URL",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="JWT", help="A participant token for the gateway.", envvar="POINTSMAN_TOKEN"
    ),
]
OutputOption = Annotated[
    Literal["table", "json"], typer.Option("--output", "-o", help="How the answer looks.")
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="S", min=0, help="Seconds to wait for the outcome; 0: do not wait.")
]
_REJECTED = (AlreadyRunning, AlreadyStopped, ServiceDisabled, ProtectedService, ActionNotAllowed)


@command(services, "list")
async def list_services(
    scope: Scope, gateway: UrlOption = None, token: TokenOption = None, output: OutputOption = "table"
) -> None:
    """List the services of a room, and how they run."""
    async with _room(scope, gateway, token) as room:
        result = await room.services.list_with_state()
    if scope.as_json or output == "json":
        scope.output.data(result)
        return
    from rich.text import Text  # noqa: PLC0415 -- for people only

    from pointsman.cli.tables import NOTHING, STATUS_STYLES, table  # noqa: PLC0415

    shown = table("id", "name", "image", "state", "restarts", right=["restarts"], folds=["image"])
    for spec in result.services:
        state = result.service_states[spec.id]
        image = spec.container.image if spec.container else None
        status = Text(state.state, style=STATUS_STYLES[ServiceStatus(state.state)])
        shown.add_row(spec.id, spec.metadata.name, image or NOTHING, status, str(state.restart_count))
    scope.output.show(shown)


@command(services, "restart")
async def restart(
    scope: Scope,
    name: NameArgument = None,
    name_option: NameOption = None,
    gateway: UrlOption = None,
    token: TokenOption = None,
    output: OutputOption = "table",
    wait: WaitOption = 30.0,
) -> int:
    """Restart one service of a room."""
    service = one_name(name, name_option)
    try:
        async with _room(scope, gateway, token) as room:
            receipt = await room.services.restart(service_id=service, wait=wait)
    except PointsmanError as error:
        scope.output.complain(error)
        return Exit.REFUSED if isinstance(error, _REJECTED) else exit_for_error(error)
    if scope.as_json or output == "json":
        scope.output.data(receipt)
    else:
        from rich.text import Text  # noqa: PLC0415 -- for people only

        scope.output.show(Text(receipt.message or f"Service '{service}' restart asked for: {receipt.id}"))
    return Exit.DONE


def _room(scope: Scope, gateway: str | None, token: str | None) -> "RoomClient":
    """Return the client of the room. Raises typer.BadParameter."""
    from pointsman.room import RoomClient  # noqa: PLC0415 -- costs as much as the rest together

    try:
        return RoomClient(
            gateway or scope.redis_url, room=scope.room, prefix=scope.prefix, issuer=issuer(), token=token
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
