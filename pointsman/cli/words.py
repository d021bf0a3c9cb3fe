"""A service and a command as a page for people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from rich.table import Table
from rich.text import Text

from contracts.codec import encode_receipt
from contracts.events import DeadLetter, Event
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Snapshot, uptime_seconds
from contracts.times import parse_ms
from pointsman.cli.tables import RECEIPT_STYLES, chapters_table, facts, service_status
from pointsman.humane import age, between, count, moment, span, until
from pointsman.telling import Chapter, Weight, tell

Page = list[Text | Table]


def service_page(
    snapshot: Snapshot, chapters: Sequence[Chapter], waiting: Iterable[Receipt], now: datetime
) -> Page:
    """Return what there is to say of a service: what it is, why, what failed, what comes next, what was."""
    title = Text(snapshot.name, style="bold")
    if snapshot.display_name and snapshot.display_name != snapshot.name:
        title.append(f"  {snapshot.display_name}", style="not bold")
    page: Page = [title, facts(_service_facts(snapshot, waiting, now)), Text()]
    page.append(chapters_table(chapters, now) if chapters else Text("No events are kept.", style="dim"))
    return page


def _service_facts(
    snapshot: Snapshot, waiting: Iterable[Receipt], now: datetime
) -> list[tuple[str, str | Text | None]]:
    status = service_status(snapshot)
    if snapshot.message:
        status.append(f": {snapshot.message}", style="default not bold not dim")
    if snapshot.reason:
        status.append(f" ({snapshot.reason})", style="dim")
    wish = f"{snapshot.desired}, {'enabled' if snapshot.enabled else 'disabled: it is left alone'}"
    up = uptime_seconds(snapshot, now)
    container = None
    if snapshot.container_id:
        words = [snapshot.container_id, snapshot.image, snapshot.container_state]
        if snapshot.health not in {None, "none"}:
            words.append(snapshot.health)
        container = ", ".join(word for word in words if word)
    lane = [
        f"{one.action} {one.id} {one.status}"
        + (f", attempt {one.attempt} on {one.worker}" if one.worker else "")
        for one in waiting
    ]
    return [
        ("Status", status),
        ("Shall be", wish),
        ("Container", container),
        ("Up", None if up is None else f"{span(up)}, since {moment(snapshot.started_at)}"),
        ("Failures", _failures(snapshot, now)),
        ("Next attempt", _next_attempt(snapshot, now)),
        ("Restarts", _restarts(snapshot, now)),
        ("Start error", _with_age(snapshot.last_start_error, snapshot.last_start_error_at, now)),
        ("Category", snapshot.category),
        ("Port", None if snapshot.port is None else str(snapshot.port)),
        ("Observed", _with_age(f"revision {snapshot.revision}", snapshot.observed_at, now)),
        ("Commands", "\n".join(lane) or None),
    ]


def _failures(snapshot: Snapshot, now: datetime) -> str | Text:
    number = snapshot.failure_count
    text = Text("none since the last reset" if not number else f"{number} since the last reset")
    if number:
        text.stylize("red")
    if snapshot.last_exit_code is not None:
        text.append(
            f"; last exit code {snapshot.last_exit_code}, {age(snapshot.last_exit_at, now)}",
            style="default",
        )
    return text


def _next_attempt(snapshot: Snapshot, now: datetime) -> str | None:
    if snapshot.restart_scheduled_at is None:
        return None
    return f"{until(snapshot.restart_scheduled_at, now)}, at {moment(snapshot.restart_scheduled_at)}"


def _restarts(snapshot: Snapshot, now: datetime) -> str:
    last = age(snapshot.last_restart_at, now)
    return f"{snapshot.restart_count}" + (f", the last {last}" if last else "")


def _with_age(text: str | None, time: str | None, now: datetime) -> str | None:
    if text is None:
        return None
    seen = age(time, now)
    return f"{text}, {seen}" if seen else text


def outcome(receipt: Receipt) -> Text:
    """Return how a command stands, in one line."""
    settled = receipt.settled
    mark = {True: "✓", False: "✗"}[receipt.succeeded] if settled else "…"
    style = RECEIPT_STYLES[receipt.status]
    text = Text(f"{mark} ", style=style)
    text.append(
        receipt.message or f"{receipt.action or 'command'} of '{receipt.service}' {receipt.status}",
        style=style,
    )
    details = [receipt.status if not receipt.succeeded else "", str(receipt.code or ""), receipt.error or ""]
    took = between(receipt.accepted_at, receipt.finished_at)
    if took is not None:
        details.append(span(took))
    if receipt.changed is False:
        details.append("nothing had to change")
    if (receipt.attempt or 0) > 1:
        details.append(f"attempt {receipt.attempt}")
    if receipt.recovered:
        details.append("found done, not repeated")
    if receipt.duplicates:
        details.append(count(receipt.duplicates, "duplicate"))
    details.append(f"id {receipt.id}")
    text.append("  " + ", ".join(word for word in details if word), style="dim")
    return text


def receipt_page(receipt: Receipt) -> Page:
    """Return every field that a receipt has, after how it stands."""
    kept = {
        name: value for name, value in encode_receipt(receipt).items() if name not in {"message", "history"}
    }
    booleans = {"changed", "recovered", "coalesce"}
    rows: list[tuple[str, str | Text | None]] = [
        (name, ("yes" if value == "1" else "no") if name in booleans else value)
        for name, value in kept.items()
    ]
    page: Page = [outcome(receipt), facts(rows)]
    earlier = _history(receipt.history)
    if earlier:
        page += [Text("\nEarlier", style="bold"), *earlier]
    return page


def letter_page(letter: DeadLetter, requeues: int) -> Page:
    """Return a dead letter, its body field by field."""
    rows: list[tuple[str, str | Text | None]] = [
        ("kind", Text(letter.kind, style="red")),
        ("detail", letter.detail),
        ("error", letter.error),
        ("at", letter.at),
        ("entry", letter.entry),
        ("id", letter.id),
        ("attempts", None if letter.attempts is None else str(letter.attempts)),
        ("requeued", count(requeues, "time") if requeues else None),
        ("body", Text(letter.body or letter.body_b64 or "") if letter.body or letter.body_b64 else None),
        ("", "the body was cut at 16 KiB" if letter.truncated else None),
    ]
    page: Page = [Text(letter.dead_id, style="bold"), facts(rows)]
    earlier = _history(letter.history)
    if earlier:
        page += [Text("\nHistory", style="bold"), *earlier]
    return page


def _history(text: str | None) -> list[Text | Table]:
    """Return a history's entries; what is no JSON list of objects is shown as it is."""
    if not text:
        return []
    try:
        entries = msgspec.json.decode(text, type=list[dict[str, str | int | float | bool | None]])
    except (msgspec.DecodeError, ValueError):
        return [Text(text)]
    return [
        facts([(name, None if value is None else str(value)) for name, value in entry.items()], indent=4)
        for entry in entries
    ]


def is_open(receipt: Receipt, service: str) -> bool:
    """Say whether a command waits for, or works on, the service."""
    return receipt.service == service and receipt.status in {
        ReceiptStatus.SCHEDULED,
        ReceiptStatus.QUEUED,
        ReceiptStatus.RUNNING,
    }


def event_line(event: Event) -> Text:
    """Return an event as one line: its time (of this place), whom it is about, what happened."""
    told = tell(event)
    at = datetime.fromtimestamp(parse_ms(event.time) / 1000, UTC).astimezone().strftime("%H:%M:%S")
    text = Text(f"{at}  ", style="dim")
    text.append(f"{told.subject:<16} ", style="bold not dim")
    text.append(
        f"{told.reason:<20} ", style="yellow not dim" if told.type is Weight.WARNING else "cyan not dim"
    )
    text.append(told.message, style="not dim")
    return text
