"""`pointsman dlq …`: dead letters."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from contracts.errors import UnknownCommand
from pointsman.cli.frame import Scope, command, group
from pointsman.cli.options import issuer
from pointsman.humane import count

app = group("dlq", "Look after dead letters: commands that could not be done.")

DeadIdArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="The id of the dead letter, as the list shows it.", show_default=False),
]


@command(app, "list")
async def list_letters(
    scope: Scope,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 100,
) -> None:
    """List the dead letters, the newest first."""
    async with scope.client() as room:
        buried = await room.publisher.dead.list(limit)
    if scope.as_json:
        scope.output.data({"dead": [_plain(one.letter, one.requeues) for one in buried]})
    elif buried:
        from pointsman.cli.tables import dead_table  # noqa: PLC0415 -- rich, for people only

        scope.output.show(dead_table([one.letter for one in buried], datetime.now(UTC)))
    else:
        scope.output.note("There are no dead letters.")


@command(app, "show")
async def show(scope: Scope, dead_id: DeadIdArgument) -> None:
    """Show one dead letter: why, what it asked for, what was tried."""
    async with scope.client() as room:
        one = await room.publisher.dead.show(dead_id)
    if scope.as_json:
        scope.output.data(_plain(one.letter, one.requeues))
        return
    from pointsman.cli.words import letter_page  # noqa: PLC0415 -- rich, for people only

    scope.output.show(*letter_page(one.letter, one.requeues))


@command(app, "requeue")
async def requeue(
    scope: Scope,
    dead_id: DeadIdArgument,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Give a field another value; may be repeated."),
    ] = None,
    unsets: Annotated[
        list[str] | None, typer.Option("--unset", metavar="FIELD", help="Leave a field out; may be repeated.")
    ] = None,
) -> None:
    """Publish its command again, under an id of its own; the letter stays until it is dropped."""
    changes: dict[str, str | None] = dict.fromkeys(unsets or ())
    for text in sets or ():
        field, equals, value = text.partition("=")
        if not field or not equals:
            raise typer.BadParameter(f"--set {text!r}: write FIELD=VALUE")
        changes[field] = value
    async with scope.client(issuer()) as room:
        receipt = await room.publisher.dead.requeue(dead_id, set=changes)
        workers = await room.subscriber.workers()
    if scope.as_json:
        scope.output.data(receipt)
    else:
        from pointsman.cli.words import outcome  # noqa: PLC0415 -- rich, for people only

        scope.output.show(outcome(receipt))
    if not workers:
        scope.output.note(
            f"No worker of room '{scope.room}' is alive: the command waits for one until it expires."
        )


@command(app, "drop")
async def drop(
    scope: Scope,
    dead_ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="The dead letters.", show_default=False)
    ],
) -> None:
    """Delete dead letters for good."""
    async with scope.client() as room:
        dropped = await room.publisher.dead.drop(*dead_ids)
    if not dropped:
        raise UnknownCommand(f"No dead letter has the id {', '.join(dead_ids)}")
    if scope.as_json:
        scope.output.data({"dropped": dropped})
    else:
        scope.output.show(f"{count(dropped, 'dead letter')} dropped.")


def _plain(letter: msgspec.Struct, requeues: int) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(letter)
    return fields | {"requeues": requeues}
