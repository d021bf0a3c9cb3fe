"""Snapshots, read by the thousand."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from contracts.errors import MalformedRecord
from contracts.keys import Keys
from contracts.services import Snapshot
from subscriber.reads import Reads, checked
from wire.connection import pack

_FIELDS = Snapshot.__struct_fields__
#: The known fields by name: half the bytes of HGETALL, and no names to decode.
_ASKED = pack(*_FIELDS).partition(b"\r\n")[2]


async def read_snapshots(reads: Reads, keys: Keys, names: Iterable[str] | None = None) -> dict[str, Snapshot]:
    """Return the snapshots by name, in the order of the names; without `names` all of the room.

    A name without a snapshot is left out. Raises MalformedRecord where a hash is no snapshot.
    """
    if names is None:
        (members,) = await reads.read(pack("SMEMBERS", keys.services))
        known = sorted(member.decode() for member in members)
    else:
        known = sorted(set(names))
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(_FIELDS) + 2)
    commands = []
    for name in known:
        key = keys.service(name).encode()
        commands.append(b"%b$%d\r\n%b\r\n%b" % (head, len(key), key, _ASKED))
    found = await reads.decoded(commands, _decode)
    return {snapshot.name: snapshot for snapshot in found if snapshot is not None}


def _decoder() -> Callable[[Any], Snapshot | None]:
    fields, convert, wrong = _FIELDS, msgspec.convert, (msgspec.ValidationError, ValueError, TypeError)

    def decode(reply: Any) -> Snapshot | None:
        try:
            texts = {field: value.decode() for field, value in zip(fields, reply, strict=True) if value}
            return convert(texts, Snapshot, strict=False) if texts else None
        except wrong as error:
            checked(reply)
            raise MalformedRecord(f"not a snapshot: {error}") from error

    return decode


_decode = _decoder()
