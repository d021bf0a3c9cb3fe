"""What people see: tables without frames, aligned, the status in colour."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from contracts.events import DeadLetter
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot, uptime_seconds
from pointsman.humane import age, between, span, until
from pointsman.telling import Chapter, Weight

NOTHING = "-"
STATUS_STYLES = {
    ServiceStatus.RUNNING: "green",
    ServiceStatus.STARTING: "cyan",
    ServiceStatus.UNHEALTHY: "bold red",
    ServiceStatus.STOPPED: "yellow",
    ServiceStatus.DISABLED: "dim",
    ServiceStatus.NOT_FOUND: "magenta",
}
RECEIPT_STYLES = {
    ReceiptStatus.SCHEDULED: "cyan",
    ReceiptStatus.QUEUED: "cyan",
    ReceiptStatus.RUNNING: "bold cyan",
    ReceiptStatus.SUCCEEDED: "green",
    ReceiptStatus.REJECTED: "yellow",
    ReceiptStatus.FAILED: "bold red",
    ReceiptStatus.EXPIRED: "magenta",
    ReceiptStatus.CANCELED: "dim",
    ReceiptStatus.DEAD: "bold red",
}


def table(*columns: str, right: Iterable[str] = (), folds: Iterable[str] = ()) -> Table:
    """Return an empty table: `right` columns hold numbers, `folds` columns take what room is left."""
    numbers, wide = frozenset(right), frozenset(folds)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in numbers else "left",
            no_wrap=column not in wide,
            overflow="fold" if column in wide else "ellipsis",
        )
    return made


def service_status(snapshot: Snapshot) -> Text:
    """Return the status in its colour; a stopped service that is to be stopped is nothing to look at."""
    as_wished = snapshot.status is ServiceStatus.STOPPED and snapshot.desired is Desired.STOPPED
    return Text(
        snapshot.status.replace("_", " "), style="dim" if as_wished else STATUS_STYLES[snapshot.status]
    )


def uptime(snapshot: Snapshot, now: datetime) -> str:
    """Return how long the container runs."""
    seconds = uptime_seconds(snapshot, now)
    return NOTHING if seconds is None else span(seconds)


def services_table(snapshots: Iterable[Snapshot], now: datetime) -> Table:
    """Return the list of services."""
    made = table(
        "NAME", "STATUS", "UPTIME", "RESTARTS", "FAILURES", "NEXT ATTEMPT", "CATEGORY", "PORT", "WHY",
        right=("RESTARTS", "FAILURES", "PORT"), folds=("WHY",),
    )  # fmt: skip
    for snapshot in snapshots:
        failing = snapshot.failure_count > 0
        made.add_row(
            Text(snapshot.name, style="bold"),
            service_status(snapshot),
            uptime(snapshot, now),
            str(snapshot.restart_count),
            Text(str(snapshot.failure_count), style="red" if failing else ""),
            until(snapshot.restart_scheduled_at, now) or NOTHING,
            snapshot.category,
            str(snapshot.port or NOTHING),
            Text(snapshot.message or "", style="dim"),
        )
    return made


def commands_table(receipts: Iterable[Receipt], now: datetime) -> Table:
    """Return the list of commands."""
    made = table(
        "ID", "ACTION", "SERVICE", "STATUS", "CODE", "AGE", "TOOK", "ISSUER", "MESSAGE", folds=("MESSAGE",)
    )
    for receipt in receipts:
        took = between(receipt.started_at, receipt.finished_at)
        made.add_row(
            receipt.id,
            receipt.action or NOTHING,
            Text(receipt.service or NOTHING, style="bold"),
            Text(receipt.status, style=RECEIPT_STYLES[receipt.status]),
            str(receipt.code or NOTHING),
            age(receipt.accepted_at, now) or NOTHING,
            NOTHING if took is None else span(took),
            receipt.issuer or NOTHING,
            Text(receipt.message or ""),
        )
    return made


def dead_table(letters: Iterable[DeadLetter], now: datetime) -> Table:
    """Return the list of dead letters."""
    made = table("DEAD ID", "KIND", "AGE", "COMMAND", "ATTEMPTS", "WHY", right=("ATTEMPTS",), folds=("WHY",))
    for letter in letters:
        made.add_row(
            letter.dead_id,
            Text(letter.kind.replace("_", " "), style="red"),
            age(letter.at, now) or NOTHING,
            letter.id or letter.entry or NOTHING,
            str(letter.attempts or 0),
            Text(letter.detail or letter.error or ""),
        )
    return made


def chapters_table(chapters: Iterable[Chapter], now: datetime) -> Table:
    """Return the life of a service, equal events counted."""
    made = table("TYPE", "REASON", "AGE", "COUNT", "MESSAGE", right=("COUNT",), folds=("MESSAGE",))
    for chapter in chapters:
        seen = age(chapter.last_at, now) or NOTHING
        if chapter.count > 1:
            seen += f" (over {span(between(chapter.first_at, chapter.last_at) or 0)})"
        made.add_row(
            Text(chapter.type, style="yellow" if chapter.type is Weight.WARNING else "dim"),
            chapter.reason,
            seen,
            str(chapter.count),
            Text(chapter.message),
        )
    return made


def facts(rows: Sequence[tuple[str, str | Text | None]], *, indent: int = 2) -> Table:
    """Return names and values in two columns; a row whose value is None is left out."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            made.add_row(" " * indent + name, value)
    return made
