"""Receipts: the record of one command, and the statuses it can pass through."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from contracts.commands import Action


class ReceiptStatus(StrEnum):
    """Where a command is; the last six are final."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"
    DEAD = "dead"


_S = ReceiptStatus

#: Final: the receipt does not change any more, but for `duplicates`, and its window runs.
SETTLED: frozenset[ReceiptStatus] = frozenset(
    {_S.SUCCEEDED, _S.REJECTED, _S.FAILED, _S.EXPIRED, _S.CANCELED, _S.DEAD}
)

#: What a receipt can be when it is first written: a malformed entry is born dead, a conflict rejected,
#: an overdue entry expired, an unread raw entry can be cancelled.
BIRTHS: frozenset[ReceiptStatus] = frozenset(
    {_S.SCHEDULED, _S.QUEUED, _S.REJECTED, _S.EXPIRED, _S.CANCELED, _S.DEAD}
)

#: From each status, the statuses that may follow. A takeover stays `running` with another attempt.
#: From `queued` everything settled can follow at once: what needs no engine call begins and settles in
#: one script, and a joiner takes its target's outcome. Only what never began is expired or cancelled.
TRANSITIONS: Mapping[ReceiptStatus, frozenset[ReceiptStatus]] = MappingProxyType(
    {
        _S.SCHEDULED: frozenset({_S.QUEUED, _S.EXPIRED, _S.CANCELED, _S.DEAD}),
        _S.QUEUED: frozenset({_S.RUNNING}) | SETTLED,
        _S.RUNNING: frozenset({_S.SUCCEEDED, _S.REJECTED, _S.FAILED, _S.DEAD}),
        _S.SUCCEEDED: frozenset(),
        _S.REJECTED: frozenset(),
        _S.FAILED: frozenset(),
        _S.EXPIRED: frozenset(),
        _S.CANCELED: frozenset(),
        _S.DEAD: frozenset(),
    }
)


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """The record of one command: what was asked, where it is, how it ended; None is absent.

    `code` is HTTP-like; `attempt` counts begins from 1; `revision` is that of the `settled` event;
    `before_…`, `after_…` and `expect_started_at` keep the engine's own time strings; `history` is the
    JSON list of earlier attempts. A dead receipt of a malformed entry may lack action and service.
    """

    id: str
    status: ReceiptStatus
    entry: str | None = None
    action: Action | None = None
    service: str | None = None
    issuer: str | None = None
    reason: str | None = None
    timeout: int | None = None
    expect_container_id: str | None = None
    expect_started_at: str | None = None
    coalesce: bool | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    code: int | None = None
    error: str | None = None
    message: str | None = None
    changed: bool | None = None
    attempt: int | None = None
    worker: str | None = None
    coalesced_into: str | None = None
    requeued_from: str | None = None
    accepted_at: str | None = None
    expires_at: str | None = None
    not_before: str | None = None
    before_container_id: str | None = None
    before_started_at: str | None = None
    before_finished_at: str | None = None
    after_container_id: str | None = None
    after_started_at: str | None = None
    recovered: bool | None = None
    history: str | None = None
    called_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    duplicates: int | None = None
    revision: int | None = None

    @property
    def settled(self) -> bool:
        """Say whether this is final."""
        return self.status in SETTLED

    @property
    def succeeded(self) -> bool:
        """Say whether the effect was seen."""
        return self.status is ReceiptStatus.SUCCEEDED


def may_become(before: ReceiptStatus, after: ReceiptStatus) -> bool:
    """Say whether a receipt of status `before` may next have status `after`."""
    return after in TRANSITIONS[before]


def same_receipt(one: Receipt, other: Receipt) -> bool:
    """Say whether two receipts are equal: all fields but `duplicates` are."""
    return replace(one, duplicates=None) == replace(other, duplicates=None)
