"""Hashes: every struct comes back as it went, whatever form the client gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import codec
from contracts.commands import Action
from contracts.errors import MalformedRecord
from contracts.events import DeadKind, DeadLetter, Meta, WorkerInfo
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot
from tests.unit.contracts.strategies import structs

PAIRS = {
    Receipt: (codec.encode_receipt, codec.decode_receipt),
    Snapshot: (codec.encode_snapshot, codec.decode_snapshot),
    Meta: (codec.encode_meta, codec.decode_meta),
    WorkerInfo: (codec.encode_worker, lambda fields: codec.decode_worker("w", fields)),
    DeadLetter: (codec.encode_dead, lambda fields: codec.decode_dead("1-1", fields)),
}


def forms(fields):
    """Give a hash in every form that a client may."""
    octets = {name.encode(): value.encode() for name, value in fields.items()}
    yield fields
    yield octets
    for mapping in (fields, octets):
        yield [part for pair in mapping.items() for part in pair]


@pytest.mark.parametrize("struct", PAIRS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_a_struct_comes_back_as_it_went(struct, data):
    encode, decode = PAIRS[struct]
    value = data.draw(structs(struct))
    if struct is WorkerInfo:
        value = WorkerInfo(**{**_fields(value), "name": "w"})
    if struct is DeadLetter:
        value = DeadLetter(**{**_fields(value), "dead_id": "1-1"})
    fields = encode(value)
    assert all(type(part) is str for pair in fields.items() for part in pair)
    for form in forms(fields):
        assert decode(form) == value


def _fields(value):
    return {name: getattr(value, name) for name in value.__struct_fields__}


@pytest.mark.parametrize("struct", PAIRS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_any_hash_is_a_struct_or_a_malformed_record(struct, data):
    names = st.sampled_from(struct.__struct_fields__).map(str.encode) | st.binary(max_size=4)
    values = st.sampled_from([b"", b"1", b"0", b"true", b"null", b"running", b"queued", b"\xff"]) | st.binary(
        max_size=8
    )
    hash_ = data.draw(st.dictionaries(names, values))
    try:
        value = PAIRS[struct][1](hash_)
    except MalformedRecord as error:
        assert struct.__name__ in error.message  # noqa: PT017 - the property holds for either outcome
    else:
        assert isinstance(value, struct)


@pytest.mark.parametrize("struct", PAIRS, ids=lambda struct: struct.__name__)
def test_unknown_and_empty_fields_are_passed_over(struct):
    encode, decode = PAIRS[struct]
    sound = {"id": "a", "status": "running", "name": "web", "kind": "malformed"}
    for form in forms(sound | {"a_later_field": "x", "message": "", "failure_count": "", "timeout": ""}):
        assert decode(form) == decode(sound)
    assert "a_later_field" not in encode(decode(sound))


def test_what_is_absent_is_none_or_its_default():
    receipt = codec.decode_receipt({b"id": b"a", b"status": b"queued"})
    assert receipt == Receipt(id="a", status=ReceiptStatus.QUEUED)
    assert receipt.attempt is receipt.changed is receipt.code is receipt.message is None
    snapshot = codec.decode_snapshot({b"name": b"web", b"status": b"stopped"})
    assert (snapshot.enabled, snapshot.desired, snapshot.failure_count) == (True, Desired.RUNNING, 0)
    assert codec.decode_meta({}) == Meta()
    assert codec.decode_worker("w", {}) == WorkerInfo(name="w")


def test_values_have_the_contracts_types():
    receipt = codec.decode_receipt(
        {
            b"id": b"a",
            b"status": b"succeeded",
            b"action": b"stop",
            b"changed": b"0",
            b"code": b"200",
            b"recovered": b"1",
        }
    )
    assert receipt.status is ReceiptStatus.SUCCEEDED
    assert receipt.action is Action.STOP
    assert (receipt.changed, receipt.code, receipt.recovered) == (False, 200, True)
    fields = codec.encode_snapshot(
        Snapshot(name="web", status=ServiceStatus.NOT_FOUND, enabled=False, last_exit_code=-1)
    )
    assert fields["status"] == "not_found"
    assert (fields["enabled"], fields["last_exit_code"]) == ("0", "-1")
    assert "container_id" not in fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        [],
        {"id": "a"},
        {"status": "queued"},
        {"id": "a", "status": "lost"},
        {"id": "a", "status": "queued", "code": "many"},
        {"id": "a", "status": "queued", "changed": "perhaps"},
        {b"id": b"\xff", b"status": b"queued"},
        ["id", "a", "status"],
    ],
)
def test_what_is_no_receipt_is_malformed(fields):
    with pytest.raises(MalformedRecord, match="not a Receipt"):
        codec.decode_receipt(fields)


def test_the_name_of_a_worker_is_in_its_key():
    fields = codec.encode_worker(WorkerInfo(name="w", pid=7))
    assert fields == {"pid": "7"}
    assert codec.decode_worker("w", fields | {"name": "other"}) == WorkerInfo(name="w", pid=7)


def letter(**fields):
    return DeadLetter(dead_id="1-1", kind=DeadKind.MALFORMED, **fields)


def test_the_body_of_a_dead_letter_gives_the_fields_back():
    assert codec.dead_fields(letter(body='{"action":"stop","reason":"\\u00e9"}')) == [
        (b"action", b"stop"),
        (b"reason", "é".encode()),
    ]
    assert codec.dead_fields(letter(body='{"a":"1","a":"2"}')) == [(b"a", b"1"), (b"a", b"2")]
    assert codec.dead_fields(letter(body="{}")) == []


def test_a_body_that_is_not_utf8_gives_its_bytes_back():
    assert codec.dead_fields(letter(body_b64="eyJhIjoi/yJ9")) == [(b"a", b"\xff")]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"body": '{"a":"b'},
        {"body": "[]x"},
        {"body": '{"a":1}'},
        {"body": "7"},
        {"body": '["ab"]'},
        {"body_b64": "*"},
    ],
)
def test_a_body_that_cannot_be_read_is_malformed(fields):
    with pytest.raises(MalformedRecord, match="dead letter 1-1"):
        codec.dead_fields(letter(**fields))
