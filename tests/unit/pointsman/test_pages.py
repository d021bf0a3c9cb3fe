import io
from datetime import UTC, datetime

from msgspec.structs import replace
from rich.console import Console

from contracts import fixtures
from contracts.events import DeadKind, DeadLetter, Event
from contracts.fixtures.values import RECEIPTS, SNAPSHOT
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot
from pointsman.cli.tables import RECEIPT_STYLES, STATUS_STYLES, commands_table, dead_table, services_table
from pointsman.cli.words import Page, event_line, is_open, letter_page, outcome, receipt_page, service_page
from pointsman.telling import Chapter, Weight

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
SICK = Snapshot(
    name="db",
    status=ServiceStatus.STOPPED,
    desired=Desired.RUNNING,
    failure_count=3,
    restart_count=2,
    last_exit_code=137,
    last_exit_at="2026-01-01T00:04:30.000Z",
    restart_scheduled_at="2026-01-01T00:05:20.000Z",
    last_start_error="no such image",
    last_start_error_at="2026-01-01T00:04:00.000Z",
    reason="exited",
    message="The container exited with code 137",
)


def rendered(*parts: object, width: int = 200) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, no_color=True)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def page(parts: Page) -> str:
    return rendered(*parts)


def test_every_status_has_a_style():
    assert set(STATUS_STYLES) == set(ServiceStatus)
    assert set(RECEIPT_STYLES) == set(ReceiptStatus)


def test_the_list_of_services_is_aligned():
    text = rendered(services_table([SICK, SNAPSHOT], NOW))
    head, sick, well = text.splitlines()
    assert head.index("STATUS") == sick.index("stopped") == well.index("running")
    assert head.index("NEXT ATTEMPT") == sick.index("in 20s")
    for words in ("3", "The container exited with code 137"):
        assert words in sick
    assert "4m 38s" in well
    assert "8001" in well


def test_a_narrow_terminal_folds_only_the_last_column():
    lines = rendered(services_table([SICK], NOW), width=100).splitlines()
    assert lines[1].startswith("db ")
    assert all(line.startswith(" " * 40) for line in lines[2:])


def test_names_are_never_taken_for_markup():
    assert "[bold]" in rendered(services_table([replace(SICK, message="[bold]x[/bold]")], NOW))
    assert "[red]" in page(service_page(replace(SICK, message="[red]"), [], [], NOW))
    assert "[x]" in rendered(outcome(Receipt(id="[x]", status=ReceiptStatus.QUEUED)))


def test_the_page_of_a_sick_service_tells_why_and_what_comes_next():
    chapter = Chapter(
        type=Weight.WARNING,
        reason="Exited",
        message="code 137",
        count=3,
        first_at="2026-01-01T00:02:00.000Z",
        last_at="2026-01-01T00:04:30.000Z",
    )
    waiting = Receipt(id="k", status=ReceiptStatus.QUEUED, service="db")
    text = page(service_page(SICK, [chapter], [waiting], NOW))
    for words in (
        "stopped: The container exited with code 137 (exited)",
        "running, enabled",
        "3 since the last reset; last exit code 137, 30s ago",
        "in 20s, at 2026-01-01 00:05:20 UTC",
        "no such image, 1m ago",
        "30s ago (over 2m 30s)",
    ):
        assert words in text


def test_the_page_of_a_well_service_has_no_empty_facts():
    text = page(service_page(SNAPSHOT, [], [], NOW))
    assert "RT-DETR" in text
    assert "0123456789ab, registry.example/rtdetr:1.4, running, healthy" in text
    assert "none since the last reset" in text
    for absent in ("Next attempt", "Start error", "Commands", "None"):
        assert absent not in text
    assert "No events are kept." in text


def test_every_receipt_has_an_outcome_and_a_page():
    for receipt in RECEIPTS:
        line = rendered(outcome(receipt))
        assert receipt.id in line
        assert line[0] == ("✓" if receipt.succeeded else "✗" if receipt.settled else "…")
        text = page(receipt_page(receipt))
        assert receipt.status in text
        assert "None" not in text
    assert len(rendered(commands_table(RECEIPTS, NOW)).splitlines()) >= len(RECEIPTS) + 1


def test_an_outcome_says_what_was_special():
    told = rendered(
        outcome(
            Receipt(
                id="k",
                status=ReceiptStatus.SUCCEEDED,
                code=200,
                message="done",
                changed=False,
                attempt=2,
                recovered=True,
                duplicates=1,
                accepted_at="2026-01-01T00:00:00.000Z",
                finished_at="2026-01-01T00:00:01.500Z",
            )
        )
    )
    assert told == (
        "✓ done  200, 1.5s, nothing had to change, attempt 2, found done, not repeated, 1 duplicate, id k"
    )


def test_dead_letters():
    letter = DeadLetter(
        dead_id="1-0",
        kind=DeadKind.ATTEMPTS_EXHAUSTED,
        detail="given up",
        at="2026-01-01T00:04:00.000Z",
        attempts=5,
        body='{"action":"restart"}',
        truncated=True,
        history='[{"attempt":1,"worker":null}]',
    )
    assert "attempts exhausted  1m ago" in rendered(dead_table([letter], NOW))
    text = page(letter_page(letter, 2))
    for words in ('{"action":"restart"}', "2 times", "cut at 16 KiB", "History", "attempt"):
        assert words in text
    assert "no json" in page(letter_page(replace(letter, history="no json"), 0))


def test_an_event_is_one_line():
    for one in fixtures.fixtures():
        if isinstance(one.value, Event):
            assert len(rendered(event_line(one.value)).splitlines()) == 1


def test_which_commands_are_open():
    queued = Receipt(id="k", status=ReceiptStatus.QUEUED, service="db")
    assert is_open(queued, "db")
    assert not is_open(queued, "web")
    assert not is_open(replace(queued, status=ReceiptStatus.SUCCEEDED), "db")
