"""Command entries: struct to flat stream fields, and any fields at all to a valid command or a reason.

The same rules stand in `contracts/lua/parse.lua`, which judges entries where they are taken; a
differential test holds the two together.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contracts import CONTRACT_VERSION
from contracts.commands import (
    COMMAND_FIELDS,
    CONTAINER_ID_PATTERN,
    MAX_ENTRY_BYTES,
    MAX_NOTE_CHARS,
    MAX_STARTED_AT_BYTES,
    MAX_TIMEOUT,
    MAX_TRACESTATE_BYTES,
    TIMEOUT_PATTERN,
    TRACEPARENT_PATTERN,
    Action,
    Command,
    is_command_id,
    is_service_name,
    is_stream_id,
)
from contracts.errors import InvalidCommand
from contracts.times import format_ms, parse_ms

#: An entry as clients give it. Pairs can tell of a field that is there twice, a mapping cannot.
Fields = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]

_TIMEOUT = re.compile(TIMEOUT_PATTERN)
_CONTAINER_ID = re.compile(CONTAINER_ID_PATTERN)
_TRACEPARENT = re.compile(TRACEPARENT_PATTERN)
_KNOWN = frozenset(COMMAND_FIELDS)
_MAY_BE_EMPTY = frozenset({"issuer", "reason"})
_QUOTED_CHARS = 60


def encode_command(command: Command) -> dict[str, str]:
    """Return the command as stream fields, without those that say what is so anyway. Checks nothing."""
    fields = {"action": str(command.action), "service": command.service}
    if command.v != CONTRACT_VERSION:
        fields["v"] = command.v
    if command.timeout is not None:
        fields["timeout"] = str(command.timeout)
    if command.coalesce:
        fields["coalesce"] = "1"
    for name in _PLAIN:
        value = getattr(command, name)
        if value is not None:
            fields[name] = value
    return fields


_PLAIN = tuple(
    name for name in COMMAND_FIELDS if name not in {"action", "service", "v", "timeout", "coalesce"}
)


def check_command(command: Command) -> Command:
    """Return the command as a worker would read it: times in milliseconds, ids in lower case.

    Raises InvalidCommand with a sentence that names the field and says what to do.
    """
    return decode_command(encode_command(command))


def decode_command(fields: Fields) -> Command:
    """Return the command that an entry asks for.

    Takes any names and values, bytes or text. Raises InvalidCommand, and nothing else, with a sentence
    that names the field and says what to do.
    """
    values = _read(fields)
    for name in ("action", "service"):
        if name not in values:
            raise InvalidCommand(f"{name} is missing: add the field {name}", field=name)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if value:
            checked[name] = _RULES[name](value)
        elif name not in _MAY_BE_EMPTY:
            raise InvalidCommand(f"{name} is empty: give it a value or leave the field out", field=name)
    not_before, expires_at = checked.get("not_before"), checked.get("expires_at")
    # Both are of one form now, so that the order of the texts is the order of the times.
    if not_before is not None and expires_at is not None and not_before >= expires_at:
        raise InvalidCommand(
            f"not_before {not_before} is not before expires_at {expires_at}: give it longer to live",
            field="not_before",
        )
    return Command(**checked)


def _read(fields: Fields) -> dict[str, str]:
    """Return the known fields as text, after what holds for all fields: size, UTF-8, none twice."""
    pairs: Any = fields.items() if isinstance(fields, Mapping) else fields
    size = 0
    seen: set[str] = set()
    values: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, name_size = _decode(raw_name)
        value, value_size = _decode(raw_value)
        size += name_size + value_size
        if size > MAX_ENTRY_BYTES:
            raise InvalidCommand(f"the entry is over {MAX_ENTRY_BYTES} bytes: send less")
        if name is None:
            raise InvalidCommand(f"a field's name, {_quote(raw_name)}, is not UTF-8: write UTF-8 text")
        if value is None:
            raise InvalidCommand(f"{_quote(name)} is not UTF-8: write UTF-8 text", field=name)
        if name in seen:
            raise InvalidCommand(f"{_quote(name)} is given twice: give it once", field=name)
        seen.add(name)
        if name in _KNOWN:
            values[name] = value
    return values


def _decode(raw: str | bytes) -> tuple[str | None, int]:
    """Return the text, None if it is not UTF-8, and its size in bytes."""
    if isinstance(raw, str):
        if raw.isascii():
            return raw, len(raw)
        try:
            return raw, len(raw.encode())
        except UnicodeEncodeError:
            return None, len(raw)
    try:
        return raw.decode(), len(raw)
    except UnicodeDecodeError:
        return None, len(raw)


def _quote(raw: str | bytes) -> str:
    """Return the text as a sentence can show it: short, printable."""
    quoted = ascii(raw)
    return quoted if len(quoted) <= _QUOTED_CHARS else quoted[:_QUOTED_CHARS] + "…"


def _action(value: str) -> Action:
    try:
        return Action(value)
    except ValueError:
        raise InvalidCommand(
            f"action {_quote(value)} is not known: use {', '.join(Action)}", field="action"
        ) from None


def _service(value: str) -> str:
    if is_service_name(value):
        return value
    raise InvalidCommand(
        f"service {_quote(value)} is not a service's name: use 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', "
        "beginning with a letter or digit",
        field="service",
    )


def _id(value: str) -> str:
    if is_command_id(value):
        return value
    if is_stream_id(value):
        raise InvalidCommand(
            f"id {_quote(value)} has the form of a stream id: put a letter before it", field="id"
        )
    raise InvalidCommand(
        f"id {_quote(value)} is not an id: use 1 to 128 of A-Z, a-z, 0-9, '.', '_', ':', '/' and '-'",
        field="id",
    )


def _version(value: str) -> str:
    if value == CONTRACT_VERSION:
        return value
    raise InvalidCommand(f"v {_quote(value)} is not known: use {CONTRACT_VERSION} or leave it out", field="v")


def _note(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) <= MAX_NOTE_CHARS:
            return value
        raise InvalidCommand(f"{name} has {len(value)} characters: use at most {MAX_NOTE_CHARS}", field=name)

    return check


def _time(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            return format_ms(parse_ms(value))
        except ValueError as error:
            raise InvalidCommand(f"{name} {error}", field=name) from None

    return check


def _timeout(value: str) -> int:
    if _TIMEOUT.fullmatch(value):
        return int(value)
    raise InvalidCommand(
        f"timeout {_quote(value)} is not a stop grace: use whole seconds from 0 to {MAX_TIMEOUT}",
        field="timeout",
    )


def _container_id(value: str) -> str:
    if _CONTAINER_ID.fullmatch(value):
        return value.lower()
    raise InvalidCommand(
        f"expect_container_id {_quote(value)} is not a container's id: use its first 12 or all 64 hex digits",
        field="expect_container_id",
    )


def _limited(name: str, limit: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        size = len(value.encode())
        if size <= limit:
            return value
        raise InvalidCommand(f"{name} has {size} bytes: use at most {limit}", field=name)

    return check


def _coalesce(value: str) -> bool:
    if value in {"0", "1"}:
        return value == "1"
    raise InvalidCommand(f"coalesce {_quote(value)} is neither 0 nor 1: use one of them", field="coalesce")


def _traceparent(value: str) -> str:
    if _TRACEPARENT.fullmatch(value):
        return value
    raise InvalidCommand(
        f"traceparent {_quote(value)} is not a W3C trace parent: use 00-<32 hex>-<16 hex>-<2 hex>",
        field="traceparent",
    )


_RULES: dict[str, Callable[[str], Any]] = {
    "action": _action,
    "service": _service,
    "id": _id,
    "v": _version,
    "issuer": _note("issuer"),
    "reason": _note("reason"),
    "expires_at": _time("expires_at"),
    "not_before": _time("not_before"),
    "timeout": _timeout,
    "expect_container_id": _container_id,
    "expect_started_at": _limited("expect_started_at", MAX_STARTED_AT_BYTES),
    "coalesce": _coalesce,
    "traceparent": _traceparent,
    "tracestate": _limited("tracestate", MAX_TRACESTATE_BYTES),
}
