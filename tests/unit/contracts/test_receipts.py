"""Receipts: the state machine is total, and equality leaves duplicates aside."""

from itertools import product

import pytest
from msgspec.structs import replace

from contracts.codec import decode_receipt
from contracts.receipts import BIRTHS, SETTLED, TRANSITIONS, Receipt, ReceiptStatus, may_become, same_receipt

S = ReceiptStatus


def test_every_status_has_its_transitions():
    assert set(TRANSITIONS) == set(S)
    assert len(S) == 9


@pytest.mark.parametrize("status", S)
def test_settled_and_only_settled_is_an_end(status):
    assert (not TRANSITIONS[status]) == (status in SETTLED)
    assert Receipt(id="a", status=status).settled == (status in SETTLED)


def test_every_status_can_be_reached_from_a_birth():
    reached, fresh = set(BIRTHS), set(BIRTHS)
    while fresh:
        fresh = {after for before in fresh for after in TRANSITIONS[before]} - reached
        reached |= fresh
    assert reached == set(S)


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_the_law_of_each_pair(before, after):
    allowed = may_become(before, after)
    if before in SETTLED or before is after:
        assert not allowed
    if after in {S.EXPIRED, S.CANCELED} and allowed:
        assert before in {S.SCHEDULED, S.QUEUED}, "only what never began expires or is cancelled"
    if after is S.RUNNING:
        assert allowed == (before is S.QUEUED), "what runs has been in its lane"
    if after is S.SCHEDULED:
        assert not allowed


def test_nothing_is_born_running_or_done():
    assert not BIRTHS & {S.RUNNING, S.SUCCEEDED, S.FAILED}


def test_receipts_are_the_same_but_for_duplicates():
    receipt = Receipt(id="a", status=S.SUCCEEDED, duplicates=0, code=200)
    assert same_receipt(receipt, replace(receipt, duplicates=7))
    assert not same_receipt(receipt, replace(receipt, code=500))


def test_success_is_told():
    assert decode_receipt({"id": "a", "status": "succeeded"}).succeeded
    assert not decode_receipt({"id": "a", "status": "failed"}).succeeded


def test_the_fields_are_those_of_the_contract():
    named = [
        "id",
        "entry",
        "action",
        "service",
        "issuer",
        "reason",
        "timeout",
        "status",
        "code",
        "error",
        "message",
        "changed",
        "attempt",
        "worker",
        "duplicates",
        "coalesced_into",
        "requeued_from",
        "accepted_at",
        "started_at",
        "finished_at",
        "expires_at",
        "not_before",
        "before_container_id",
        "before_started_at",
        "before_finished_at",
        "called_at",
        "after_container_id",
        "after_started_at",
        "recovered",
        "revision",
    ]
    published = ["expect_container_id", "expect_started_at", "coalesce", "traceparent", "tracestate"]
    assert set(Receipt.__struct_fields__) == {*named, *published, "history"}
