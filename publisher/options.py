"""What may be said with a command, and how it becomes the command that is published."""

import uuid
from datetime import datetime
from typing import TypedDict, cast

from msgspec.structs import replace

from contracts.codec import check_command
from contracts.commands import SELF_HEAL, Action, Command
from contracts.errors import InvalidCommand
from contracts.times import format_ms, to_ms

#: Ten years, in seconds: longer is a mistake in the unit.
LONGEST_TTL = 315_360_000.0


class Options(TypedDict, total=False):
    """What may be said with a command.

    `id`: the idempotency key; without it a fresh one is made. `ttl`: seconds that it may wait to begin,
    from now or from `not_before`; `expires_at` says the moment itself. Times are aware datetimes or
    RFC 3339 texts. `timeout`: stop grace in whole seconds. `require_worker`: publish only where a
    worker is alive. The others are fields of the contract.
    """

    id: str | None
    reason: str | None
    issuer: str | None
    ttl: float | None
    expires_at: datetime | str | None
    not_before: datetime | str | None
    timeout: int | None
    expect_container_id: str | None
    expect_started_at: str | None
    coalesce: bool
    traceparent: str | None
    tracestate: str | None
    require_worker: bool


def build(
    action: Action | str, service: str, options: Options, issuer: str | None, ttl: float
) -> tuple[Command, float]:
    """Return the command to publish and its seconds to live; `issuer` and `ttl` are the defaults.

    Raises InvalidCommand.
    """
    asked = options.get("ttl")
    if asked is not None and options.get("expires_at") is not None:
        raise InvalidCommand("ttl and expires_at say the same: give one of them", field="expires_at")
    if asked is not None and not 0 < asked <= LONGEST_TTL:
        raise InvalidCommand(f"ttl {asked} is no time to live: give seconds above 0", field="ttl")
    command = Command(
        action=cast("Action", action),
        service=service,
        id=options.get("id"),
        issuer=options.get("issuer"),
        reason=options.get("reason"),
        expires_at=_moment("expires_at", options.get("expires_at")),
        not_before=_moment("not_before", options.get("not_before")),
        timeout=options.get("timeout"),
        expect_container_id=options.get("expect_container_id"),
        expect_started_at=options.get("expect_started_at"),
        coalesce=options.get("coalesce", False),
        traceparent=options.get("traceparent"),
        tracestate=options.get("tracestate"),
    )
    return complete(command, issuer), ttl if asked is None else asked


def complete(command: Command, issuer: str | None) -> Command:
    """Return the command as it will be read, with an id (fresh, if it has none) and an issuer.

    Raises InvalidCommand.
    """
    checked = check_command(command)
    issuer = issuer if checked.issuer is None else checked.issuer
    if issuer == SELF_HEAL:
        raise InvalidCommand(f"issuer '{SELF_HEAL}' is reserved: name another", field="issuer")
    return replace(checked, id=checked.id or str(uuid.uuid4()), issuer=issuer)


def to_wire(seconds: float) -> int:
    """Return seconds as the whole milliseconds that scripts take."""
    return round(seconds * 1000)


def _moment(field: str, value: datetime | str | None) -> str | None:
    """Return a moment as the wire writes it."""
    if not isinstance(value, datetime):
        return value
    try:
        return format_ms(to_ms(value))
    except ValueError as error:
        raise InvalidCommand(f"{field}: {error}", field=field) from None
