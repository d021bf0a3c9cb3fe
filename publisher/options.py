"""What may be said with a command, and how it becomes the command that is published."""

import secrets
from datetime import datetime
from typing import Final, TypedDict

from contracts.codec import decode_command, encode_command
from contracts.commands import SELF_HEAL, Action, Command
from contracts.errors import InvalidCommand
from contracts.times import format_ms, to_ms

#: Ten years, in seconds: longer is a mistake in the unit.
LONGEST_TTL = 315_360_000.0
#: Options that are no fields of a command.
_NO_FIELDS: Final = frozenset({"ttl", "require_worker"})


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
    fields = {"action": str(action), "service": service}
    for name, value in options.items():
        if name not in _NO_FIELDS and value is not None and value is not False:
            fields[name] = _text(name, value)
    return _checked(fields, issuer), ttl if asked is None else asked


def complete(command: Command, issuer: str | None) -> Command:
    """Return the command as it will be read, with an id (fresh, if it has none) and an issuer.

    Raises InvalidCommand.
    """
    return _checked(encode_command(command), issuer)


def _checked(fields: dict[str, str], issuer: str | None) -> Command:
    if "id" not in fields:
        fields["id"] = secrets.token_hex(16)
    if issuer is not None and not fields.get("issuer"):
        fields["issuer"] = issuer
    command = decode_command(fields)
    if command.issuer == SELF_HEAL:
        raise InvalidCommand(f"issuer '{SELF_HEAL}' is reserved: name another", field="issuer")
    return command


def to_wire(seconds: float) -> int:
    """Return seconds as the whole milliseconds that scripts take."""
    return round(seconds * 1000)


def _text(field: str, value: object) -> str:
    """Return an option as the wire writes it."""
    if isinstance(value, str):
        return value
    if value is True:
        return "1"
    if not isinstance(value, datetime):
        return str(value)
    try:
        return format_ms(to_ms(value))
    except ValueError as error:
        raise InvalidCommand(f"{field}: {error}", field=field) from None
