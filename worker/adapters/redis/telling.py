"""The events of services, begun here as JSON and numbered by the script that commits them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from contracts.codec import snapshot_body
from contracts.services import Snapshot

_text = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """An event's `kind` (discovered, changed; empty for none), its body, and the rest of its data, as JSON text."""

    kind: str = ""
    body: bytes = b""
    rest: str = ""


def rest_of(changed: Sequence[str], previous: str | None, cause: str) -> str:
    """Return what follows the snapshot in an event's data."""
    return f'"changed":{_text(changed).decode()},"previous_status":{_text(previous).decode()},"cause":{cause}'


def tell(
    old: Snapshot | None, new: Snapshot, flat: Sequence[str], cause: str, *, always: bool = False
) -> Told:
    """Return the event of a change; none where nothing but `observed_at` differs, unless `always`.

    `flat` is what `differences` says of the two, `cause` is JSON.
    """
    changed = [name for name in flat[::2] if name != "observed_at"]
    if old is not None and not changed and not always:
        return Told()
    kind = "discovered" if old is None else "changed"
    return Told(kind, snapshot_body(new), rest_of(changed, old.status if old is not None else None, cause))
