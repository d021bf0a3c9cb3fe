"""The room's log, `changes`, read together with the `meta` that says how far it goes."""

from enum import StrEnum

from msgspec import Struct

from contracts.codec import event_from_json
from contracts.errors import MalformedRecord
from contracts.events import Event
from contracts.keys import EVENT_FIELD, Keys
from subscriber.reads import Reads, checked
from wire.connection import pack

_EVENT = EVENT_FIELD.encode()


class ResetReason(StrEnum):
    """Why a reader had to begin anew."""

    START = "start"
    """It is the first."""
    EPOCH = "epoch"
    """The room has another epoch, or none any more."""
    TRIMMED = "trimmed"
    """What comes next is not in `changes` any more."""
    BACKWARDS = "backwards"
    """The room is at a lower revision than was seen: Redis lost what it had said."""
    MALFORMED = "malformed"
    """An entry of `changes` is no event."""


class Page(Struct, frozen=True, kw_only=True):
    """What comes after a revision: `events` up to `revision`, the room's newest, or why that cannot be told.

    There may be more after the last of the events; `broken` is None where they go on without a gap.
    """

    epoch: str | None
    revision: int
    events: list[Event]
    broken: ResetReason | None = None


async def read_head(reads: Reads, keys: Keys) -> tuple[str | None, int]:
    """Return the room's epoch, None where it was never served, and its newest revision."""
    (head,) = await reads.read(pack("HMGET", keys.meta, "epoch", "revision"))
    return _head(head)


async def read_page(reads: Reads, keys: Keys, epoch: str | None, revision: int, count: int) -> Page:
    """Return up to `count` events after `revision` of `epoch`; meta and log are of one moment."""
    replies = await reads.read(
        pack("MULTI"),
        pack("HMGET", keys.meta, "epoch", "revision"),
        pack("XRANGE", keys.changes, f"{revision + 1}-0", "+", "COUNT", count),
        pack("EXEC"),
    )
    head, entries = (checked(reply) for reply in replies[3])
    now, newest = _head(head)
    events: list[Event] = []
    broken = None
    if now != epoch:
        broken = ResetReason.EPOCH
    elif newest < revision:
        broken = ResetReason.BACKWARDS
    elif newest > revision and not entries:
        broken = ResetReason.TRIMMED
    elif newest > revision:
        for number, (entry_id, fields) in enumerate(entries[: newest - revision], revision + 1):
            if entry_id != b"%d-0" % number:
                broken = ResetReason.TRIMMED
                break
            event = _event(fields)
            if event is None or event.revision != str(number):
                broken = ResetReason.MALFORMED
                break
            events.append(event)
    return Page(epoch=now, revision=newest, events=events, broken=broken)


def _head(values: list[bytes | None]) -> tuple[str | None, int]:
    epoch, revision = values
    if not epoch:
        return None, 0
    try:
        return epoch.decode(), int(revision or 0)
    except ValueError as error:
        raise MalformedRecord(f"meta has no epoch and revision: {error}") from error


def _event(fields: list[bytes]) -> Event | None:
    try:
        return event_from_json(dict(zip(fields[::2], fields[1::2], strict=True))[_EVENT])
    except (KeyError, MalformedRecord):
        return None
