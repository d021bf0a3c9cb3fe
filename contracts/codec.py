"""Structs to and from what Redis holds: stream fields, hash fields, CloudEvents JSON.

A boolean is `1` or `0`, an integer its decimal digits, an absent value no field at all; a field with an
empty value reads as absent. Unknown fields are passed over. Commands have a module of their own,
`contracts.entries`, and their functions are here too.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from contracts.entries import check_command, decode_command, encode_command
from contracts.errors import MalformedRecord
from contracts.events import (
    DATA_TYPES,
    DeadLetter,
    Event,
    EventData,
    EventType,
    HeartbeatData,
    Meta,
    WorkerInfo,
)
from contracts.receipts import Receipt
from contracts.services import Snapshot

__all__ = [
    "Hash",
    "check_command",
    "dead_fields",
    "decode_command",
    "decode_dead",
    "decode_meta",
    "decode_receipt",
    "decode_snapshot",
    "decode_worker",
    "encode_command",
    "encode_dead",
    "encode_meta",
    "encode_receipt",
    "encode_snapshot",
    "encode_worker",
    "event_from_json",
    "event_to_json",
    "receipt_body",
    "snapshot_body",
]

#: A hash as clients give it: a mapping, or the flat list of names and values that a script returns.
Hash = Mapping[str, str] | Mapping[bytes, bytes] | Sequence[str] | Sequence[bytes]

S = TypeVar("S", bound=Struct)


def _decoder(struct: type[S]) -> Callable[..., S]:
    """Return the fast function from a flat hash to `struct`: a dictionary of texts, then one call in C.

    Msgspec passes over unknown names, so that only empty values, where there are any, are left out here.
    """
    byte_name = {name.encode(): name for name in struct.__struct_fields__}.get
    convert = msgspec.convert

    def decode(fields: Hash, **given: str) -> S:
        pairs: Any
        if isinstance(fields, Mapping):
            pairs, first = fields.items(), next(iter(fields), None)
        else:
            pairs, first = zip(fields[::2], fields[1::2], strict=True), next(iter(fields), None)
        try:
            if isinstance(first, bytes):
                texts = {name: value.decode() for key, value in pairs if value and (name := byte_name(key))}
            else:
                texts = dict(pairs)
                if "" in texts.values():
                    texts = {name: value for name, value in texts.items() if value}
            if given:
                texts.update(given)
            return convert(texts, struct, strict=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise MalformedRecord(f"not a {struct.__name__}: {error}") from error

    return decode


def _encoder(struct: type[S], *, skip: int = 0) -> Callable[[S], dict[str, str]]:
    """Return the fast function from `struct` to a flat hash, without its first `skip` fields."""
    names = struct.__struct_fields__[skip:]
    astuple = msgspec.structs.astuple

    def encode(value: S) -> dict[str, str]:
        return {
            name: item if type(item) is str else _text(item)
            for name, item in zip(names, astuple(value)[skip:], strict=True)
            if item is not None and item != ""
        }

    return encode


def _text(item: object) -> str:
    """Return a boolean, an integer or a word of an enum as wire text."""
    if item is True:
        return "1"
    if item is False:
        return "0"
    return str(item)


_receipt_in, _receipt_out = _decoder(Receipt), _encoder(Receipt)
_snapshot_in, _snapshot_out = _decoder(Snapshot), _encoder(Snapshot)
_meta_in, _meta_out = _decoder(Meta), _encoder(Meta)
# The name of a worker and the id of a dead letter stand in the key and beside the entry, not in the fields.
_worker_in, _worker_out = _decoder(WorkerInfo), _encoder(WorkerInfo, skip=1)
_dead_in, _dead_out = _decoder(DeadLetter), _encoder(DeadLetter, skip=1)


def decode_receipt(fields: Hash) -> Receipt:
    """Return the receipt that a hash holds; MalformedRecord if it is none, an empty hash among them."""
    return _receipt_in(fields)


def encode_receipt(receipt: Receipt) -> dict[str, str]:
    """Return the receipt as hash fields."""
    return _receipt_out(receipt)


def decode_snapshot(fields: Hash) -> Snapshot:
    """Return the snapshot that a hash holds; MalformedRecord if it is none, an empty hash among them."""
    return _snapshot_in(fields)


def encode_snapshot(snapshot: Snapshot) -> dict[str, str]:
    """Return the snapshot as hash fields."""
    return _snapshot_out(snapshot)


def decode_meta(fields: Hash) -> Meta:
    """Return the room's state; an empty hash is a room that was never served. May raise MalformedRecord."""
    return _meta_in(fields)


def encode_meta(meta: Meta) -> dict[str, str]:
    """Return the room's state as hash fields."""
    return _meta_out(meta)


def decode_worker(name: str, fields: Hash) -> WorkerInfo:
    """Return the worker of that name, which its key has and its hash has not. May raise MalformedRecord."""
    return _worker_in(fields, name=name)


def encode_worker(worker: WorkerInfo) -> dict[str, str]:
    """Return the worker as hash fields, without its name."""
    return _worker_out(worker)


def decode_dead(dead_id: str, fields: Hash) -> DeadLetter:
    """Return the dead letter of that id in the `dead` stream. May raise MalformedRecord."""
    return _dead_in(fields, dead_id=dead_id)


def encode_dead(letter: DeadLetter) -> dict[str, str]:
    """Return the dead letter as stream fields, without its id in the stream."""
    return _dead_out(letter)


def dead_fields(letter: DeadLetter) -> list[tuple[bytes, bytes]]:
    """Return the fields of the entry that a dead letter keeps, one that was given twice, twice.

    Raises MalformedRecord where the body is absent, cut, or no JSON object of strings.
    """
    try:
        if letter.body_b64 is not None:
            raw = base64.b64decode(letter.body_b64, validate=True)
        else:
            raw = (letter.body or "").encode()
        pairs = json.loads(raw.decode("utf-8", "surrogateescape"), object_pairs_hook=_Pairs)
        return [(_octets(name), _octets(value)) for name, value in pairs.of_object]
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise MalformedRecord(f"the body of dead letter {letter.dead_id} cannot be read: {error}") from error


class _Pairs:
    """A JSON object as its pairs; no other JSON value has them."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.of_object = pairs


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# What a script puts in itself when it numbers an event: others may count duplicates meanwhile.
_RECEIPT_TAIL = b',"called_at":null,"started_at":null,"finished_at":null,"duplicates":null,"revision":null}'
_SNAPSHOT_TAIL = b',"revision":0}'


def receipt_body(receipt: Receipt, **facts: object) -> bytes:
    """Return the receipt with these fields as the beginning of JSON: all but the last five, and the closing brace."""
    bare = replace(
        receipt,
        **facts,
        called_at=None,
        started_at=None,
        finished_at=None,
        duplicates=None,
        revision=None,
    )
    text = _json_out(bare)
    return text[: -len(_RECEIPT_TAIL)]


def snapshot_body(snapshot: Snapshot) -> bytes:
    """Return the snapshot as the beginning of JSON: all but `revision` and the closing brace."""
    text = _json_out(replace(snapshot, revision=0))
    return text[: -len(_SNAPSHOT_TAIL)]


class _Envelope(Struct, frozen=True, kw_only=True, gc=False):
    """An event whose data is not looked at yet."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    epoch: str
    revision: str
    subject: str | None = None
    datacontenttype: str | None = "application/json"
    data: Raw = Raw(b"null")


_envelope_in = msgspec.json.Decoder(_Envelope).decode
_raw_in: Callable[[Raw], dict[str, Any] | None] = msgspec.json.Decoder(dict[str, Any] | None).decode
_data_in: dict[str, Callable[[Raw], EventData]] = {
    kind: msgspec.json.Decoder(data).decode for kind, data in DATA_TYPES.items()
}
# A heartbeat has nothing to tell: null, {} and no data at all are the same.
_data_in[EventType.ROOM_HEARTBEAT.value] = lambda _: HeartbeatData()
_json_out = msgspec.json.Encoder().encode


def event_to_json(event: Event) -> bytes:
    """Return the event as CloudEvents JSON; what is absent is null."""
    return _json_out(event)


def event_from_json(text: bytes | str) -> Event:
    """Return the event of one message or `changes` entry.

    Unknown attributes and fields are passed over; the data of an unknown type is plain JSON values.
    Raises MalformedRecord for what is no event, or whose data does not fit its known type.
    """
    try:
        envelope = _envelope_in(text)
        data: Any = _data_in.get(envelope.type, _raw_in)(envelope.data)
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedRecord(f"not an event: {error}") from error
    return Event(
        specversion=envelope.specversion,
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        epoch=envelope.epoch,
        revision=envelope.revision,
        datacontenttype=envelope.datacontenttype or "application/json",
        data=data,
    )
