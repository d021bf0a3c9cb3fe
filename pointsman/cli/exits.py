"""What the program's exit code says: the contract's table, in one place."""

from enum import IntEnum

from contracts.errors import (
    AmbiguousService,
    CancelRefused,
    IdempotencyConflict,
    InvalidCommand,
    NoWorker,
    PointsmanError,
    PreconditionFailed,
    RedisUnavailable,
    ServiceNotFound,
    WaitTimeout,
)
from contracts.receipts import Receipt, ReceiptStatus


class Exit(IntEnum):
    """Exit codes of contract section 9, and what the shell adds."""

    DONE = 0
    FAILED = 1
    """Failed, expired, cancelled, dead; unknown id; engine mismatch."""
    USAGE = 2
    REFUSED = 3
    """Rejected, or a cancel that was refused."""
    UNKNOWN_SERVICE = 4
    NO_REDIS = 5
    NO_WORKER = 6
    RAN_OUT = 124
    """The wait ran out; the command goes on."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


_BY_ERROR: tuple[tuple[type[PointsmanError], Exit], ...] = (
    (InvalidCommand, Exit.USAGE),
    (ServiceNotFound, Exit.UNKNOWN_SERVICE),
    (RedisUnavailable, Exit.NO_REDIS),
    (NoWorker, Exit.NO_WORKER),
    (WaitTimeout, Exit.RAN_OUT),
    (CancelRefused, Exit.REFUSED),
    (PreconditionFailed, Exit.REFUSED),
    (IdempotencyConflict, Exit.REFUSED),
    (AmbiguousService, Exit.REFUSED),
)


def exit_for_error(error: PointsmanError) -> Exit:
    """Return the exit code of an error."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def exit_for_receipt(receipt: Receipt) -> Exit:
    """Return the exit code of a receipt; one that is not settled has nothing to complain of."""
    match receipt.status:
        case ReceiptStatus.REJECTED:
            return Exit.UNKNOWN_SERVICE if receipt.code == 404 else Exit.REFUSED
        case ReceiptStatus.FAILED | ReceiptStatus.EXPIRED | ReceiptStatus.CANCELED | ReceiptStatus.DEAD:
            return Exit.FAILED
        case _:
            return Exit.DONE
