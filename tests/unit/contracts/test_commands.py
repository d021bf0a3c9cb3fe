"""Commands: the fingerprint and the forms of names."""

import pytest
from msgspec.structs import replace

from contracts.commands import (
    COMMAND_FIELDS,
    Action,
    Command,
    fingerprint,
    is_command_id,
    is_service_name,
    is_stream_id,
)
from contracts.receipts import Receipt, ReceiptStatus

COMMAND = Command(
    action=Action.STOP, service="web", timeout=5, expect_container_id="0123456789ab", expect_started_at="x"
)


@pytest.mark.parametrize(
    "other",
    [
        {"action": Action.START},
        {"service": "db"},
        {"timeout": None},
        {"expect_container_id": None},
        {"expect_container_id": "f" * 64},
        {"expect_started_at": "y"},
    ],
)
def test_what_is_asked_tells_commands_apart(other):
    assert fingerprint(replace(COMMAND, **other)) != fingerprint(COMMAND)


@pytest.mark.parametrize(
    "other",
    [
        {"id": "a"},
        {"issuer": "b"},
        {"reason": "c"},
        {"expires_at": "d"},
        {"not_before": "e"},
        {"coalesce": True},
        {"traceparent": "f"},
        {"tracestate": "g"},
        {"expect_container_id": "0123456789ab" + "c" * 52},
    ],
)
def test_the_rest_does_not(other):
    assert fingerprint(replace(COMMAND, **other)) == fingerprint(COMMAND)


def test_a_receipt_has_the_fingerprint_of_its_command():
    receipt = Receipt(
        id="a",
        status=ReceiptStatus.QUEUED,
        action=Action.STOP,
        service="web",
        timeout=5,
        expect_container_id="0123456789ab",
        expect_started_at="x",
    )
    assert fingerprint(receipt) == fingerprint(COMMAND)


def test_the_fields_are_those_of_the_contract():
    assert set(COMMAND_FIELDS) == {
        "action",
        "service",
        "id",
        "v",
        "issuer",
        "reason",
        "expires_at",
        "not_before",
        "timeout",
        "expect_container_id",
        "expect_started_at",
        "coalesce",
        "traceparent",
        "tracestate",
    }


def test_names_and_ids():
    assert is_service_name("web.1")
    assert not is_service_name("web 1")
    assert is_command_id("web-1")
    assert not is_command_id("1-1")
    assert not is_command_id("")
    assert is_stream_id("1767225600000-0")
    assert not is_stream_id("1767225600000-0:r1")
