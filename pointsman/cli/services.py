"""`pointsman service …`: look at services, follow them, forget one."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from contracts.events import EngineStatus, Event
from contracts.services import Snapshot, uptime_seconds
from pointsman.cli.frame import Scope, command, group, one_name
from pointsman.cli.options import NameArgument, NameOption, issuer
from pointsman.telling import chapters

app = group("service", "Look at services and ask for actions on them.")

#: Events looked through for the life of one service.
LOOK_BACK = 5_000


@command(app, "list")
async def list_services(
    scope: Scope,
    category: Annotated[
        str | None, typer.Option("--category", metavar="C", help="Only this category.")
    ] = None,
) -> None:
    """List the services of the room with their status."""
    async with scope.client() as room:
        snapshots = await room.subscriber.list(category)
        meta = await room.subscriber.meta()
        workers = await room.subscriber.workers()
    now = datetime.now(UTC)
    if scope.as_json:
        scope.output.data({"services": [with_uptime(snapshot, now) for snapshot in snapshots]})
    elif snapshots:
        from pointsman.cli.tables import services_table  # noqa: PLC0415 -- rich, for people only

        scope.output.show(services_table(snapshots, now))
    if not snapshots and category is None:
        scope.output.note(f"No service is known in room '{scope.room}'.")
    if not workers:
        scope.output.note("No worker is alive: what is shown is what the last one saw.")
    elif meta.engine_status == EngineStatus.UNAVAILABLE:
        scope.output.note("The engine is out of reach: what is shown may be old.")


@command(app, "describe")
async def describe(
    scope: Scope,
    name: NameArgument = None,
    name_option: NameOption = None,
    events: Annotated[int, typer.Option("--events", min=0, help="How many events to show at most.")] = 20,
) -> None:
    """Tell the story of one service: its status and why, its failures, what comes next, what was."""
    name = one_name(name, name_option)
    async with scope.client() as room:
        snapshot = await room.subscriber.get(name)
        changes = await room.subscriber.latest_changes(LOOK_BACK)
        receipts = [] if scope.as_json else await room.subscriber.commands()
    now = datetime.now(UTC)
    life = chapters(changes, name)[-events:] if events else []
    if scope.as_json:
        scope.output.data(with_uptime(snapshot, now) | {"events": life})
        return
    from pointsman.cli.words import is_open, service_page  # noqa: PLC0415 -- rich, for people only

    waiting = [receipt for receipt in reversed(receipts) if is_open(receipt, name)]
    scope.output.show(*service_page(snapshot, life, waiting, now))


@command(app, "forget")
async def forget(scope: Scope, name: NameArgument = None, name_option: NameOption = None) -> None:
    """Remove the snapshot of a service whose container is gone."""
    name = one_name(name, name_option)
    async with scope.client(issuer()) as room:
        last = await room.publisher.forget(name)
    if scope.as_json:
        scope.output.data(with_uptime(last, datetime.now(UTC)))
    else:
        scope.output.show(f"Service '{name}' is forgotten.")


@command(app, "watch")
async def watch(
    scope: Scope,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", help="Only these services.", show_default=False)
    ] = None,
    name_options: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A service, said this way; may be repeated."),
    ] = None,
) -> int:
    """Follow the room: the services as they are, then every event as it happens, until Ctrl-C."""
    from subscriber import Change, Reset  # noqa: PLC0415 -- redis, after the options are read

    wanted = [*(names or ()), *(name_options or ())]
    teller = _JsonTeller(scope) if scope.as_json else _Teller(scope)

    def tell_link(error: str | None) -> None:
        if error is not None:
            scope.output.note(f"Redis does not answer ({error}); waiting for it.")
        else:
            scope.output.note("Redis answers again.")

    async with scope.client() as room, room.subscriber.watch(wanted or None, on_link=tell_link) as items:
        async for item in items:
            match item:
                case Reset():
                    teller.reset(item.snapshots, str(item.reason), item.epoch, item.revision)
                case Change(event=event):
                    teller.event(event)
    return 0


class _JsonTeller:
    """One JSON object a line."""

    def __init__(self, scope: Scope) -> None:
        self._output = scope.output

    def reset(self, snapshots: tuple[Snapshot, ...], reason: str, epoch: str | None, revision: int) -> None:
        now = datetime.now(UTC)
        services = [with_uptime(snapshot, now) for snapshot in snapshots]
        self._output.line(
            {"reset": True, "reason": reason, "epoch": epoch, "revision": revision, "services": services}
        )

    def event(self, event: Event) -> None:
        self._output.line(event)


class _Teller(_JsonTeller):
    """A table upon a reset, a line for each event."""

    def reset(self, snapshots: tuple[Snapshot, ...], reason: str, epoch: str | None, revision: int) -> None:
        from pointsman.cli.tables import services_table  # noqa: PLC0415 -- rich, for people only

        del epoch
        if reason != "start":
            self._output.note(f"Begun anew ({reason}): what came before may have had gaps.")
        if snapshots:
            self._output.show(services_table(snapshots, datetime.now(UTC)), "")
        else:
            self._output.note(f"No service is known yet (revision {revision}); waiting.")

    def event(self, event: Event) -> None:
        from pointsman.cli.words import event_line  # noqa: PLC0415 -- rich, for people only

        self._output.show(event_line(event))


def with_uptime(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """Return the snapshot as JSON values, with `uptime_seconds`, which readers compute."""
    fields: dict[str, Any] = msgspec.to_builtins(snapshot)
    return fields | {"uptime_seconds": uptime_seconds(snapshot, now)}
