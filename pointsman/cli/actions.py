"""`pointsman service restart|start|stop|enable|disable`: ask, and wait for the receipt."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Annotated

import typer

from contracts.commands import Action
from contracts.errors import RedisUnavailable, WaitTimeout
from contracts.receipts import Receipt
from pointsman.cli.exits import exit_for_error, exit_for_receipt
from pointsman.cli.frame import Scope, command, one_name
from pointsman.cli.options import NameArgument, NameOption, issuer
from pointsman.cli.services import app

WAIT = 30.0

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="ID",
        help="Idempotency key: the same key again does nothing and shows the first receipt.",
    ),
]
WaitOption = Annotated[
    float | None,
    typer.Option("--wait", metavar="S", min=0, help=f"Seconds to wait for the receipt. Default: {WAIT:g}."),
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Publish and leave; also where no worker is alive.")
]
TtlOption = Annotated[
    float | None, typer.Option("--ttl", metavar="S", help="Seconds that it may wait to begin. Default: 300.")
]
TimeoutOption = Annotated[
    int | None,
    typer.Option("--timeout", metavar="S", help="Seconds of grace before the engine kills: 0 to 3600."),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="T", help="Why; kept in receipt and events.")
]

_HELP = {
    Action.RESTART: "Stop it with its grace and start it again, once.",
    Action.START: "Start it.",
    Action.STOP: "Stop it with its grace; it stays stopped until start, restart or enable.",
    Action.ENABLE: "Let it be restarted, started and healed again.",
    Action.DISABLE: "Leave it alone from now on: no start, no restart, no healing.",
}


def _register(action: Action) -> None:
    async def work(
        scope: Scope,
        name: NameArgument = None,
        name_option: NameOption = None,
        key: KeyOption = None,
        wait: WaitOption = None,
        no_wait: NoWaitOption = False,
        ttl: TtlOption = None,
        timeout: TimeoutOption = None,  # noqa: ASYNC109 -- the stop grace, not a bound of ours
        reason: ReasonOption = None,
    ) -> int:
        service = one_name(name, name_option)
        if no_wait and wait is not None:
            raise typer.BadParameter("--wait and --no-wait exclude each other")
        asked = _Asked(action, service, key or str(uuid.uuid4()), ttl, timeout, reason)
        if no_wait:
            return await _publish(scope, asked)
        return await _publish_and_wait(scope, asked, WAIT if wait is None else wait)

    work.__name__ = action.value
    work.__doc__ = _HELP[action]
    command(app, action.value)(work)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked for."""

    action: Action
    service: str
    id: str
    ttl: float | None
    timeout: int | None
    reason: str | None


async def _publish(scope: Scope, asked: _Asked) -> int:
    async with scope.client(issuer()) as room:
        receipt = await room.publisher.send(
            asked.action,
            asked.service,
            id=asked.id,
            ttl=asked.ttl,
            timeout=asked.timeout,
            reason=asked.reason,
        )
        workers = await room.subscriber.workers()
    _show(scope, receipt)
    if not workers:
        scope.output.note(
            f"No worker of room '{scope.room}' is alive: the command waits for one until it expires."
        )
    return exit_for_receipt(receipt)


async def _publish_and_wait(scope: Scope, asked: _Asked, seconds: float) -> int:
    async with scope.client(issuer()) as room:
        try:
            receipt = await room.publisher.run(
                asked.action,
                asked.service,
                wait=seconds,
                id=asked.id,
                ttl=asked.ttl,
                timeout=asked.timeout,
                reason=asked.reason,
                require_worker=True,
            )
        except WaitTimeout as error:
            _show(scope, await room.subscriber.receipt(asked.id))
            scope.output.complain(error)
            return exit_for_error(error)
        except RedisUnavailable:
            scope.output.note(
                f"If it got through, its id is {asked.id}; to ask again with --key {asked.id} is safe."
            )
            raise
        except asyncio.CancelledError:
            scope.output.note(f"Not waiting any more; the command goes on: pointsman command show {asked.id}")
            raise
    _show(scope, receipt)
    return exit_for_receipt(receipt)


def _show(scope: Scope, receipt: Receipt) -> None:
    if scope.as_json:
        scope.output.data(receipt)
        return
    from pointsman.cli.words import outcome  # noqa: PLC0415 -- rich, for people only

    scope.output.show(outcome(receipt))


def register() -> None:
    """Add the actions to the commands of `service`."""
    for action in Action:
        _register(action)
