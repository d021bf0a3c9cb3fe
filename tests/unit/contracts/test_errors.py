"""Errors: the contract's words and codes, and their messages."""

import pickle

import pytest

from contracts import errors
from contracts.errors import PointsmanError, error_for
from contracts.fixtures.values import RECEIPTS
from contracts.receipts import Receipt, ReceiptStatus

#: The contract's table of codes.
TABLE = {
    "service_not_found": 404,
    "ambiguous_service": 409,
    "already_running": 400,
    "already_stopped": 400,
    "service_disabled": 400,
    "protected_service": 403,
    "action_not_allowed": 403,
    "precondition_failed": 412,
    "idempotency_conflict": 422,
    "expired": 410,
    "canceled": 410,
    "engine_unavailable": 503,
    "timed_out": 504,
    "engine_error": 500,
    "attempts_exhausted": 500,
    "entry_lost": 500,
    "invalid_command": 400,
}
TREE = [
    error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, PointsmanError)
]


def test_every_word_of_the_contract_has_its_error():
    assert {word: error.status for word, error in errors.BY_CODE.items()} == TABLE


def test_no_two_errors_share_a_code():
    assert len({error.code for error in TREE}) == len(TREE)
    assert all(400 <= error.status < 600 for error in TREE)


@pytest.mark.parametrize("error", TREE)
def test_an_error_says_something_even_without_its_words(error):
    made = error()
    assert made.message
    assert str(made) == made.message
    assert not made.message.startswith("{")


def test_the_docstring_is_the_message():
    assert str(errors.ServiceNotFound(service="web")) == "Service 'web' not found"
    assert str(errors.ServiceDisabled(service="web")) == "Service 'web' is disabled. Enable it first."
    assert str(errors.AlreadyRunning(service="web")) == "Service 'web' is already running"
    assert str(errors.AlreadyStopped(service="web")) == "Service 'web' is already stopped"
    assert str(errors.CancelRefused(id="a", status="running")) == (
        "Command 'a' is running and cannot be cancelled any more"
    )


def test_a_message_can_be_given():
    error = errors.InvalidCommand("service is missing", field="service")
    assert (error.message, error.field, error.code, error.status) == (
        "service is missing",
        "service",
        "invalid_command",
        400,
    )


@pytest.mark.parametrize("receipt", RECEIPTS, ids=lambda receipt: receipt.status)
def test_a_receipt_tells_its_error(receipt):
    error = error_for(receipt)
    if receipt.succeeded or not receipt.settled:
        assert error is None
    else:
        assert error is not None
        assert (error.code, error.status, error.message) == (receipt.error, receipt.code, receipt.message)
        assert type(error) is errors.BY_CODE[receipt.error]
        assert error.receipt is receipt


def test_a_word_of_a_later_version_is_told_as_it_is():
    error = error_for(Receipt(id="a", status=ReceiptStatus.FAILED, code=507, error="no_space"))
    assert type(error) is PointsmanError
    assert (error.code, error.status, error.message) == ("no_space", 507, "Command 'a' failed")
    assert (PointsmanError.code, PointsmanError.status) == ("error", 500), "the class is untouched"


@pytest.mark.parametrize(
    "error", [errors.InvalidCommand("x", field="id"), errors.ServiceNotFound(service="web")]
)
def test_an_error_survives_pickling(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), copy.message, vars(copy)) == (type(error), error.message, vars(error))
