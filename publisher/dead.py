"""Dead letters: look at them, publish them again, drop them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from contracts.codec import dead_fields, decode_command, decode_dead, decode_receipt, encode_command
from contracts.commands import SELF_HEAL, is_stream_id
from contracts.errors import IdempotencyConflict, InvalidCommand, MalformedRecord, UnknownCommand
from contracts.events import DeadLetter
from contracts.keys import Keys
from contracts.receipts import Receipt
from contracts.scripts import load
from publisher.calls import Calls

_REQUEUE = load("publisher", "requeue")
_DROP = load("publisher", "drop")
#: What a requeue says anew or not at all: its id is made, its times have passed.
_ANEW = frozenset({b"id", b"expires_at", b"not_before"})


class Buried(Struct, frozen=True, kw_only=True, gc=False):
    """One dead letter, and how often it was published again."""

    letter: DeadLetter
    requeues: int = 0


class DeadLetters:
    """The room's dead letters, `publisher.dead`; ids are those of the `dead` stream."""

    def __init__(self, calls: Calls, keys: Keys, ttl: float) -> None:
        self._calls = calls
        self._keys = keys
        self._ttl = ttl

    async def list(self, count: int = 100) -> Sequence[Buried]:
        """Return the newest `count` letters, newest first."""
        return await self._read("XREVRANGE", "+", "-", count)

    async def show(self, dead_id: str) -> Buried:
        """Return one letter. Raises UnknownCommand."""
        found = await self._read("XRANGE", dead_id, dead_id, 1) if _is_entry(dead_id) else []
        if not found:
            raise _unknown(dead_id)
        return found[0]

    async def requeue(self, dead_id: str, set: Mapping[str, str | None] | None = None) -> Receipt:  # noqa: A002
        """Publish a letter's command again, under the id `<dead_id>:r<n>`; return its receipt.

        `set` gives fields other values, or takes them out where the value is None. `expires_at` and
        `not_before` are not taken over. Raises UnknownCommand, and InvalidCommand where the command is
        still malformed or cannot be rebuilt. Not repeated when the connection breaks: look with `show`.
        """
        letter = (await self.show(dead_id)).letter
        command = decode_command(_mended(letter, set or {}))
        fields = [text for pair in encode_command(command).items() for text in pair]
        word, *rest = await self._calls.script(
            _REQUEUE, self._keys.commands, dead_id, round(self._ttl * 1000), *fields, repeatable=False
        ).future
        match word:
            case b"ok" | b"duplicate":
                return decode_receipt(rest[0])
            case b"unknown":
                raise _unknown(dead_id)
            case b"conflict":
                receipt = decode_receipt(rest[0])
                error = IdempotencyConflict(id=receipt.id)
                error.receipt = receipt
                raise error
            case _:
                raise InvalidCommand(rest[0].decode())

    async def drop(self, *dead_ids: str) -> int:
        """Delete letters; return how many were there."""
        known = [dead_id for dead_id in dead_ids if _is_entry(dead_id)]
        if not known:
            return 0
        return int(await self._calls.script(_DROP, self._keys.commands, *known).future)

    async def _read(self, verb: str, start: str, end: str, count: int) -> Sequence[Buried]:
        read = self._calls.command(verb, self._keys.dead, start, end, "COUNT", count)
        entries: list[tuple[bytes, Any]] = await read.future
        if not entries:
            return []
        ids = [entry_id.decode() for entry_id, _ in entries]
        counts = await self._calls.command("HMGET", self._keys.requeues, *ids).future
        return [
            Buried(letter=decode_dead(dead_id, fields), requeues=int(requeues or 0))
            for dead_id, (_, fields), requeues in zip(ids, entries, counts, strict=True)
        ]


def _mended(letter: DeadLetter, changes: Mapping[str, str | None]) -> list[tuple[bytes, bytes]]:
    """Return the fields of the command to publish: the letter's, with the changes, without an id."""
    if "id" in changes:
        raise InvalidCommand("a requeue makes its own id: leave the id as it is", field="id")
    if changes.get("issuer") == SELF_HEAL:
        raise InvalidCommand(f"issuer '{SELF_HEAL}' is reserved: name another", field="issuer")
    try:
        kept = dead_fields(letter)
    except MalformedRecord as error:
        why = "its body was cut" if letter.truncated else error.message
        raise InvalidCommand(f"dead letter {letter.dead_id} cannot be published again: {why}") from error
    replaced = {name.encode() for name in changes} | _ANEW
    pairs = [(name, value) for name, value in kept if name not in replaced]
    return pairs + [(name.encode(), value.encode()) for name, value in changes.items() if value is not None]


def _is_entry(text: str) -> bool:
    """Say whether Redis would take this as an entry's id: two numbers of 64 bits."""
    return is_stream_id(text) and all(len(part) <= 20 and int(part) < 2**64 for part in text.split("-"))


def _unknown(dead_id: str) -> UnknownCommand:
    return UnknownCommand(f"Dead letter '{dead_id}' is not known; it may have been dropped")
