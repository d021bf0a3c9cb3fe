"""One shallow tree of errors: a stable `code`, an HTTP-like `status`, the docstring as message."""

from typing import Self

from contracts.receipts import Receipt, ReceiptStatus


def _template(doc: str | None) -> str:
    """Return a docstring's first line; the full stop goes, unless the line has several sentences."""
    line = (doc or "").strip().partition("\n")[0]
    return line[:-1] if line.endswith(".") and ". " not in line else line


class _Words(dict[str, object]):
    """Words for a template; one that nobody gave must not hide the error behind another."""

    def __missing__(self, key: str) -> str:
        return "?"


class PointsmanError(Exception):
    """Something went wrong.

    Pass a message, or the words that the docstring's first line asks for. `code` is stable, for
    machines; `status` is HTTP-like; `receipt` is there when a receipt told of the error.
    """

    code: str = "error"
    status: int = 500
    receipt: Receipt | None = None

    def __init__(self, message: str | None = None, **words: object) -> None:
        if message is None:
            message = _template(type(self).__doc__).format_map(_Words(words))
        super().__init__(message)
        self.message = message

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        """Return the error that a settled receipt tells of, with the receipt's own message."""
        error = cls(receipt.message or f"Command '{receipt.id}' {receipt.status}")
        if receipt.error is not None:
            error.code = receipt.error
        if receipt.code is not None:
            error.status = receipt.code
        error.receipt = receipt
        return error


# What a receipt can tell: the contract's error words.


class InvalidCommand(PointsmanError):
    """The command is not valid."""

    code = "invalid_command"
    status = 400

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        #: The field that is wrong, where it is one.
        self.field = field


class ServiceNotFound(PointsmanError):
    """Service '{service}' not found."""

    code = "service_not_found"
    status = 404


class AmbiguousService(PointsmanError):
    """Two containers claim the name '{service}': {containers}."""

    code = "ambiguous_service"
    status = 409


class AlreadyRunning(PointsmanError):
    """Service '{service}' is already running."""

    code = "already_running"
    status = 400


class AlreadyStopped(PointsmanError):
    """Service '{service}' is already stopped."""

    code = "already_stopped"
    status = 400


class ServiceDisabled(PointsmanError):
    """Service '{service}' is disabled. Enable it first."""

    code = "service_disabled"
    status = 400


class ProtectedService(PointsmanError):
    """Service '{service}' is protected."""

    code = "protected_service"
    status = 403


class ActionNotAllowed(PointsmanError):
    """Service '{service}' does not allow {action}."""

    code = "action_not_allowed"
    status = 403


class PreconditionFailed(PointsmanError):
    """Service '{service}' is not what the command expects."""

    code = "precondition_failed"
    status = 412


class IdempotencyConflict(PointsmanError):
    """Id {id} was already used for another command."""

    code = "idempotency_conflict"
    status = 422


class Expired(PointsmanError):
    """The command expired before it was begun."""

    code = "expired"
    status = 410


class Canceled(PointsmanError):
    """The command was canceled before it was begun."""

    code = "canceled"
    status = 410


class EngineUnavailable(PointsmanError):
    """The engine did not answer before the command expired."""

    code = "engine_unavailable"
    status = 503


class TimedOut(PointsmanError):
    """The engine was still at it after every limit; it may yet finish."""

    code = "timed_out"
    status = 504


class EngineFailed(PointsmanError):
    """The engine refused: {words}."""

    code = "engine_error"
    status = 500


class AttemptsExhausted(PointsmanError):
    """Service '{service}': given up after {attempts} attempts: each worker that took it was lost."""

    code = "attempts_exhausted"
    status = 500


class EntryLost(PointsmanError):
    """The entry {entry} vanished from the stream before a worker read it."""

    code = "entry_lost"
    status = 500


# What a client can meet beside.


class RedisUnavailable(PointsmanError):
    """Redis does not answer: {words}."""

    code = "redis_unavailable"
    status = 503


class NoWorker(PointsmanError):
    """No worker of room '{room}' is alive; nothing was published."""

    code = "no_worker"
    status = 503


class StreamFull(PointsmanError):
    """The commands stream of room '{room}' is full; nothing was published."""

    code = "stream_full"
    status = 429


class UnknownCommand(PointsmanError):
    """Command '{id}' is not known; its receipt may have expired."""

    code = "unknown_command"
    status = 404


class CancelRefused(PointsmanError):
    """Command '{id}' is {status} and cannot be cancelled any more."""

    code = "cancel_refused"
    status = 409


class WaitTimeout(PointsmanError):
    """Command '{id}' did not settle within {seconds} s; it goes on."""

    code = "wait_timeout"
    status = 504


class MalformedRecord(PointsmanError):
    """A record in Redis is not what the contract says."""

    code = "malformed_record"
    status = 500


#: The errors that a receipt can tell, by the contract's word.
BY_CODE: dict[str, type[PointsmanError]] = {
    error.code: error
    for error in (
        InvalidCommand,
        ServiceNotFound,
        AmbiguousService,
        AlreadyRunning,
        AlreadyStopped,
        ServiceDisabled,
        ProtectedService,
        ActionNotAllowed,
        PreconditionFailed,
        IdempotencyConflict,
        Expired,
        Canceled,
        EngineUnavailable,
        TimedOut,
        EngineFailed,
        AttemptsExhausted,
        EntryLost,
    )
}


def error_for(receipt: Receipt) -> PointsmanError | None:
    """Return the error that a receipt tells of; None while it is not settled, and when it succeeded.

    A word of a later version gives a plain `PointsmanError` with that code.
    """
    if not receipt.settled or receipt.status is ReceiptStatus.SUCCEEDED:
        return None
    return BY_CODE.get(receipt.error or "", PointsmanError).of(receipt)
