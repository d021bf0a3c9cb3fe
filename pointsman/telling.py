"""Events in words: what happened, how it is called, whether somebody should look; pure.

Kubernetes tells of its objects like this, and people read it well: a type, a one-word reason, a sentence,
and equal ones counted instead of repeated.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from contracts.commands import SELF_HEAL
from contracts.events import (
    Cause,
    CauseKind,
    CommandData,
    EngineData,
    Event,
    EventType,
    ServiceData,
    WorkerData,
)
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot


class Weight(StrEnum):
    """Whether what happened is as it should be."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Told(Struct, frozen=True, kw_only=True):
    """One event in words; `subject` is the service, command, worker or engine it is about."""

    type: Weight
    reason: str
    message: str
    subject: str = ""


class Chapter(Struct, frozen=True, kw_only=True):
    """Equal events, counted; times are those of the first and the last, RFC 3339."""

    type: Weight
    reason: str
    message: str
    count: int
    first_at: str
    last_at: str


def tell(event: Event) -> Told:
    """Return an event in words."""
    match event.data:
        case ServiceData():
            return _service(event.type, event.data)
        case CommandData(command=command):
            return _command(event.type, command)
        case WorkerData(worker=worker):
            joined = event.type == EventType.WORKER_JOINED
            where = f" on {worker.host}" if worker.host else ""
            verb = f"Serves the room{where}" if joined else "Left the room"
            return Told(
                type=Weight.NORMAL, reason="Joined" if joined else "Left", message=verb, subject=worker.name
            )
        case EngineData():
            up = event.type == EventType.ENGINE_AVAILABLE
            return Told(
                type=Weight.NORMAL if up else Weight.WARNING,
                reason="EngineAvailable" if up else "EngineUnavailable",
                message="The engine answers" if up else "The engine is out of reach; statuses may be old",
                subject="engine",
            )
        case _:
            word = _camel(event.type.removeprefix("pointsman.").replace(".", "_"))
            return Told(type=Weight.NORMAL, reason=word, message=event.type, subject=event.subject or "")


def chapters(events: Iterable[Event], service: str) -> list[Chapter]:
    """Return the life of one service as its events tell it, equal ones collapsed, the latest last.

    A command that only began, and one whose effect the service's own event tells, has no chapter.
    """
    found: dict[tuple[Weight, str, str], tuple[int, str, str]] = {}
    for event in events:
        if not _concerns(event, service):
            continue
        told = tell(event)
        key = (told.type, told.reason, told.message)
        count, first, _ = found.get(key, (0, event.time, ""))
        found[key] = (count + 1, first, event.time)
    told_ones = [
        Chapter(type=key[0], reason=key[1], message=key[2], count=count, first_at=first, last_at=last)
        for key, (count, first, last) in found.items()
    ]
    return sorted(told_ones, key=lambda chapter: chapter.last_at)


def _concerns(event: Event, service: str) -> bool:
    match event.data:
        case ServiceData(service=snapshot):
            return snapshot.name == service
        case CommandData(command=command):
            ended = event.type != EventType.COMMAND_STARTED
            return command.service == service and ended and command.status is not ReceiptStatus.SUCCEEDED
        case _:
            return False


def _service(kind: str, data: ServiceData) -> Told:
    snapshot = data.service

    def told(weight: Weight, reason: str, message: str) -> Told:
        return Told(type=weight, reason=reason, message=message, subject=snapshot.name)

    if kind == EventType.SERVICE_REMOVED:
        return told(Weight.NORMAL, "Removed", "Forgotten" + _asked(data.cause))
    if kind == EventType.SERVICE_EXHAUSTED:
        return told(Weight.WARNING, "Exhausted", snapshot.message or "The healing budget is spent")
    if kind == EventType.SERVICE_DISCOVERED:
        return told(Weight.NORMAL, "Discovered", f"Seen, {snapshot.status.replace('_', ' ')}")
    changed = frozenset(data.changed)
    if "enabled" in changed:
        word = "Enabled" if snapshot.enabled else "Disabled"
        return told(Weight.NORMAL, word, word + _asked(data.cause))
    if "restart_count" in changed:
        return told(Weight.NORMAL, "Restarted", "Restarted" + _asked(data.cause))
    if data.previous_status is not None and data.previous_status is not snapshot.status:
        return _status(snapshot, data.cause)
    if "container_id" in changed and snapshot.container_id is not None:
        return told(Weight.NORMAL, "Recreated", f"Has another container, {snapshot.container_id}")
    if "started_at" in changed and snapshot.started_at is not None:
        return told(Weight.NORMAL, "Started", "Started anew" + _asked(data.cause))
    if "desired" in changed:
        return told(Weight.NORMAL, "Desired", f"Shall be {snapshot.desired}" + _asked(data.cause))
    if "failure_count" in changed and snapshot.failure_count:
        return told(Weight.WARNING, "Failing", snapshot.message or "Failed again")
    if "restart_scheduled_at" in changed:
        planned = snapshot.restart_scheduled_at is not None
        return told(
            Weight.NORMAL,
            "HealScheduled" if planned else "HealDropped",
            "Healing is scheduled" if planned else "No healing is scheduled any more",
        )
    return told(Weight.NORMAL, "Changed", "Changed: " + ", ".join(data.changed))


def _status(snapshot: Snapshot, cause: Cause | None) -> Told:
    """Tell of a new status."""
    status = snapshot.status
    wanted = snapshot.desired is Desired.RUNNING
    bad = status in {ServiceStatus.UNHEALTHY, ServiceStatus.NOT_FOUND} or (
        status is ServiceStatus.STOPPED and wanted
    )
    match status:
        case ServiceStatus.RUNNING:
            reason, message = "Running", "Runs and is healthy" if snapshot.health == "healthy" else "Runs"
        case ServiceStatus.STARTING:
            reason, message = "Starting", snapshot.message or "Started; not ready yet"
        case _:
            word = status.replace("_", " ")
            reason = _camel(snapshot.reason or status)
            message = snapshot.message or word.capitalize()
    return Told(
        type=Weight.WARNING if bad else Weight.NORMAL,
        reason=reason,
        message=message + _asked(cause),
        subject=snapshot.name,
    )


def _command(kind: str, receipt: Receipt) -> Told:
    action = (receipt.action or "command").capitalize()
    subject = receipt.service or receipt.id
    asked = f", asked by {receipt.issuer}" if receipt.issuer else ""
    if kind == EventType.COMMAND_STARTED:
        where = f" on worker {receipt.worker}" if receipt.worker else ""
        return Told(
            type=Weight.NORMAL,
            reason=f"{action}Began",
            message=f"{action} began{where}{asked}",
            subject=subject,
        )
    succeeded = receipt.status is ReceiptStatus.SUCCEEDED
    message = receipt.message or f"{action} {receipt.status}"
    if succeeded and receipt.recovered:
        message += f" (found done by attempt {receipt.attempt or 2}, not repeated)"
    return Told(
        type=Weight.NORMAL if succeeded or receipt.code == 410 else Weight.WARNING,
        reason=f"{action}{_camel(receipt.status)}",
        message=message if succeeded else message + asked,
        subject=subject,
    )


def _asked(cause: Cause | None) -> str:
    """Return who is behind a change, as the end of a sentence."""
    if cause is None or cause.kind is CauseKind.OBSERVATION:
        return ""
    if cause.kind is CauseKind.SELF_HEAL or cause.issuer == SELF_HEAL:
        return " by self-healing"
    who = f", asked by {cause.issuer}" if cause.issuer else ", as asked"
    return f"{who}: {cause.reason}" if cause.reason else who


def _camel(text: str) -> str:
    return "".join(word.capitalize() for word in text.split("_"))
