"""`pointsman command …`: receipts."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from contracts.receipts import Receipt
from pointsman.cli.frame import Scope, command, group
from pointsman.cli.options import IdArgument, issuer

app = group("command", "Look at commands, cancel one that has not begun.")


@command(app, "list")
async def list_commands(
    scope: Scope,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Only of this service.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many to show at most.")] = 50,
) -> None:
    """List the commands that are not settled, and those settled of late, the newest first."""
    async with scope.client() as room:
        receipts = await room.subscriber.commands(limit)
    if service is not None:
        receipts = [receipt for receipt in receipts if receipt.service == service]
    if scope.as_json:
        scope.output.data({"commands": receipts})
    elif receipts:
        from pointsman.cli.tables import commands_table  # noqa: PLC0415 -- rich, for people only

        scope.output.show(commands_table(receipts, datetime.now(UTC)))
    else:
        scope.output.note("No command is waiting, and of late there was none.")


@command(app, "show")
async def show(scope: Scope, command_id: IdArgument) -> None:
    """Show the receipt of one command."""
    async with scope.client() as room:
        receipt = await room.subscriber.receipt(command_id)
    _show(scope, receipt)


@command(app, "cancel")
async def cancel(scope: Scope, command_id: IdArgument) -> None:
    """Cancel a command that has not begun; one that has is refused (exit code 3)."""
    async with scope.client(issuer()) as room:
        receipt = await room.publisher.cancel(command_id)
    if scope.as_json:
        scope.output.data(receipt)
    else:
        scope.output.show(f"Command '{receipt.id}' ({receipt.action} of '{receipt.service}') is cancelled.")


def _show(scope: Scope, receipt: Receipt) -> None:
    if scope.as_json:
        scope.output.data(receipt)
        return
    from pointsman.cli.words import receipt_page  # noqa: PLC0415 -- rich, for people only

    scope.output.show(*receipt_page(receipt))
