"""The commands of a room, from what is there: the stream, the log, and the receipts."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from contracts.codec import decode_command, decode_receipt, event_from_json
from contracts.errors import InvalidCommand, MalformedRecord
from contracts.events import CommandData, EventType
from contracts.keys import EVENT_FIELD, GROUP, Keys
from contracts.receipts import Receipt, ReceiptStatus
from contracts.times import format_ms
from subscriber.reads import Reads, checked
from wire.connection import pack

#: Events looked through for each command that is wanted: a command has two to five, services have theirs.
LOOK_BACK = 20
MOST_LOOKED_AT = 5_000
_EVENT = EVENT_FIELD.encode()
_ENDS = (EventType.COMMAND_SETTLED.encode(), EventType.COMMAND_DEAD.encode())


class Backlog(Struct, frozen=True, kw_only=True):
    """How much lies before the workers.

    `commands`: unsettled entries of the stream. `unread`: those that no worker has seen. `oldest_at`:
    when the oldest was added. `dead`: dead letters.
    """

    commands: int = 0
    unread: int = 0
    oldest_at: str | None = None
    dead: int = 0


async def read_receipts(reads: Reads, keys: Keys, ids: Iterable[str]) -> dict[str, Receipt]:
    """Return the receipts that are there, by id."""
    replies = await reads.read(*(pack("HGETALL", keys.command(command_id)) for command_id in ids))
    receipts = (decode_receipt(fields) for fields in replies if fields)
    return {receipt.id: receipt for receipt in receipts}


async def read_commands(reads: Reads, keys: Keys, limit: int) -> list[Receipt]:
    """Return receipts, newest entry first: unsettled ones from the stream, settled ones from the log.

    An entry that no worker has seen and that has no receipt is shown as the receipt it will get; one
    that is malformed is left out.
    """
    entries, log = await reads.read(
        pack("XREVRANGE", keys.commands, "+", "-", "COUNT", limit),
        pack("XREVRANGE", keys.changes, "+", "-", "COUNT", min(limit * LOOK_BACK, MOST_LOOKED_AT)),
    )
    seen = {receipt.id: receipt for receipt in map(_raw, entries) if receipt is not None}
    found = seen | await read_receipts(reads, keys, seen)
    for _, fields in log:
        receipt = _settled(fields)
        if receipt is not None and not ((known := found.get(receipt.id)) and known.settled):
            found[receipt.id] = receipt
    return sorted(found.values(), key=_order, reverse=True)[:limit]


async def read_backlog(reads: Reads, keys: Keys) -> Backlog:
    """Count what waits."""
    length, first, dead, groups = await reads.decoded(
        (
            pack("XLEN", keys.commands),
            pack("XRANGE", keys.commands, "-", "+", "COUNT", 1),
            pack("XLEN", keys.dead),
            pack("XINFO", "GROUPS", keys.commands),
        ),
        lambda reply: reply,
    )
    pending = 0
    for group in groups if isinstance(groups, list) else ():  # an error where there is no stream
        facts = dict(zip(group[::2], group[1::2], strict=True))
        if facts[b"name"] == GROUP.encode():
            pending = facts[b"pending"]
    oldest = checked(first)
    return Backlog(
        commands=checked(length),
        unread=max(0, length - pending),
        oldest_at=format_ms(int(oldest[0][0].partition(b"-")[0])) if oldest else None,
        dead=checked(dead),
    )


def _raw(entry: Any) -> Receipt | None:
    """Return an entry as the receipt that a worker will make of it."""
    entry_id = entry[0].decode()
    pairs = list(zip(entry[1][::2], entry[1][1::2], strict=True))
    try:
        command = decode_command(pairs)
    except InvalidCommand:
        return None
    return Receipt(
        id=command.id or entry_id,
        status=ReceiptStatus.QUEUED,
        entry=entry_id,
        action=command.action,
        service=command.service,
        issuer=command.issuer,
        reason=command.reason,
        timeout=command.timeout,
        expect_container_id=command.expect_container_id,
        expect_started_at=command.expect_started_at,
        coalesce=command.coalesce or None,
        traceparent=command.traceparent,
        tracestate=command.tracestate,
        expires_at=command.expires_at,
        not_before=command.not_before,
    )


def _settled(fields: list[bytes]) -> Receipt | None:
    text = dict(zip(fields[::2], fields[1::2], strict=True)).get(_EVENT, b"")
    if not any(end in text for end in _ENDS):
        return None
    try:
        event = event_from_json(text)
    except MalformedRecord:  # a list of commands is no place to stumble over it; a watch says so
        return None
    return event.data.command if isinstance(event.data, CommandData) else None


def _order(receipt: Receipt) -> tuple[int, int]:
    ms, _, number = (receipt.entry or "0-0").partition("-")
    return (int(ms), int(number)) if ms.isdecimal() and number.isdecimal() else (0, 0)
