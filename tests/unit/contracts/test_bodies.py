"""The beginnings of JSON that scripts end."""

import json

from hypothesis import given

from contracts.codec import receipt_body, snapshot_body
from contracts.receipts import Receipt
from contracts.services import Snapshot
from tests.unit.contracts.strategies import structs


@given(structs(Receipt))
def test_a_receipt_body_lacks_only_what_the_script_puts_in(receipt: Receipt) -> None:
    times = b',"called_at":"c","started_at":"s","finished_at":"f"'
    whole = json.loads(receipt_body(receipt) + times + b',"duplicates":3,"revision":7}')
    assert whole["id"] == receipt.id
    assert set(whole) == set(Receipt.__struct_fields__)
    assert (whole["duplicates"], whole["revision"]) == (3, 7)


@given(structs(Snapshot))
def test_a_snapshot_body_lacks_only_the_revision(snapshot: Snapshot) -> None:
    whole = json.loads(snapshot_body(snapshot) + b',"revision":7}')
    assert whole["name"] == snapshot.name
    assert set(whole) == set(Snapshot.__struct_fields__)
