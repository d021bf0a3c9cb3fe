import pytest

from contracts import errors
from contracts.receipts import Receipt, ReceiptStatus
from pointsman.cli.exits import Exit, exit_for_error, exit_for_receipt

S = ReceiptStatus


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidCommand("x"), 2),
        (errors.ServiceNotFound("x"), 4),
        (errors.RedisUnavailable("x"), 5),
        (errors.NoWorker("x"), 6),
        (errors.WaitTimeout("x"), 124),
        (errors.CancelRefused("x"), 3),
        (errors.IdempotencyConflict("x"), 3),
        (errors.PreconditionFailed("x"), 3),
        (errors.UnknownCommand("x"), 1),
        (errors.StreamFull("x"), 1),
        (errors.MalformedRecord("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors(error: errors.PointsmanError, code: int):
    assert exit_for_error(error) == code


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (S.SUCCEEDED, 200, Exit.DONE),
        (S.REJECTED, 404, Exit.UNKNOWN_SERVICE),
        (S.REJECTED, 400, Exit.REFUSED),
        (S.REJECTED, 403, Exit.REFUSED),
        (S.REJECTED, 409, Exit.REFUSED),
        (S.REJECTED, 412, Exit.REFUSED),
        (S.FAILED, 500, Exit.FAILED),
        (S.FAILED, 504, Exit.FAILED),
        (S.EXPIRED, 410, Exit.FAILED),
        (S.CANCELED, 410, Exit.FAILED),
        (S.DEAD, 500, Exit.FAILED),
        (S.QUEUED, None, Exit.DONE),
        (S.SCHEDULED, None, Exit.DONE),
        (S.RUNNING, None, Exit.DONE),
    ],
)
def test_receipts(status: ReceiptStatus, code: int | None, exit_code: Exit):
    assert exit_for_receipt(Receipt(id="c", status=status, code=code)) is exit_code
