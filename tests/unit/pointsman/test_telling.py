from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from contracts import fixtures
from contracts.commands import SELF_HEAL, Action
from contracts.events import (
    Cause,
    CauseKind,
    CommandData,
    EngineData,
    EngineInfo,
    Event,
    EventType,
    ServiceData,
    WorkerData,
    WorkerInfo,
    event_of,
)
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot
from pointsman.telling import Chapter, Weight, chapters, tell

ASKED = Cause(kind=CauseKind.COMMAND, command_id="c", issuer="ops", reason=None)
SEEN = Cause(kind=CauseKind.OBSERVATION)
WEB = Snapshot(name="web", status=ServiceStatus.RUNNING)


def event(
    kind: EventType, data: Any, *, revision: int = 1, second: int = 0, subject: str | None = None
) -> Event:
    return event_of(
        kind,
        data,
        room="default",
        epoch="1767225600000-5f3a9c1e",
        revision=revision,
        time=f"2026-01-01T00:00:{second:02d}.000Z",
        subject=subject,
    )


def changed(
    *names: str,
    before: ServiceStatus | None = None,
    cause: Cause | None = SEEN,
    second: int = 0,
    **fields: Any,
) -> Event:
    data = ServiceData(service=replace(WEB, **fields), changed=names, previous_status=before, cause=cause)
    return event(EventType.SERVICE_CHANGED, data, second=second, subject="web")


def command(kind: EventType = EventType.COMMAND_SETTLED, second: int = 0, **fields: Any) -> Event:
    receipt = Receipt(
        **{"id": "c", "status": ReceiptStatus.SUCCEEDED, "action": Action.RESTART, "service": "web"} | fields
    )
    return event(kind, CommandData(command=receipt), second=second, subject="c")


N, W = Weight.NORMAL, Weight.WARNING

CASES: list[tuple[Event, Weight, str, str]] = [
    (
        changed("restart_count", "started_at", cause=ASKED, restart_count=1),
        N,
        "Restarted",
        "Restarted, asked by ops",
    ),
    (
        changed("restart_count", cause=replace(ASKED, reason="new model")),
        N,
        "Restarted",
        "Restarted, asked by ops: new model",
    ),
    (
        changed("restart_count", cause=Cause(kind=CauseKind.SELF_HEAL, issuer=SELF_HEAL)),
        N,
        "Restarted",
        "Restarted by self-healing",
    ),
    (changed("restart_count", cause=replace(ASKED, issuer=None)), N, "Restarted", "Restarted, as asked"),
    (changed("enabled", "status", cause=ASKED, enabled=False), N, "Disabled", "Disabled, asked by ops"),
    (changed("enabled", cause=ASKED), N, "Enabled", "Enabled, asked by ops"),
    (
        changed(
            "status",
            before=ServiceStatus.RUNNING,
            status=ServiceStatus.STOPPED,
            reason="exited",
            message="The container exited with code 3",
        ),
        W,
        "Exited",
        "The container exited with code 3",
    ),
    (
        changed(
            "status",
            before=ServiceStatus.RUNNING,
            cause=ASKED,
            status=ServiceStatus.STOPPED,
            desired=Desired.STOPPED,
            reason="stopped",
            message="Stopped as asked, exit code 0",
        ),
        N,
        "Stopped",
        "Stopped as asked, exit code 0, asked by ops",
    ),
    (
        changed(
            "status",
            before=ServiceStatus.RUNNING,
            status=ServiceStatus.UNHEALTHY,
            reason="health_check_failed",
        ),
        W,
        "HealthCheckFailed",
        "Unhealthy",
    ),
    (changed("status", before=ServiceStatus.STOPPED), N, "Running", "Runs"),
    (changed("status", before=ServiceStatus.STARTING, health="healthy"), N, "Running", "Runs and is healthy"),
    (
        changed("status", before=ServiceStatus.RUNNING, status=ServiceStatus.STARTING),
        N,
        "Starting",
        "Started; not ready yet",
    ),
    (
        changed(
            "status", before=ServiceStatus.RUNNING, status=ServiceStatus.NOT_FOUND, reason="no_container"
        ),
        W,
        "NoContainer",
        "Not found",
    ),
    (changed("container_id", container_id="abc"), N, "Recreated", "Has another container, abc"),
    (changed("started_at", started_at="2026-01-01T00:00:00Z"), N, "Started", "Started anew"),
    (
        changed("desired", cause=ASKED, desired=Desired.STOPPED),
        N,
        "Desired",
        "Shall be stopped, asked by ops",
    ),
    (changed("failure_count", failure_count=2, message="The probe fails"), W, "Failing", "The probe fails"),
    (
        changed("restart_scheduled_at", restart_scheduled_at="2026-01-01T00:00:00Z"),
        N,
        "HealScheduled",
        "Healing is scheduled",
    ),
    (changed("restart_scheduled_at"), N, "HealDropped", "No healing is scheduled any more"),
    (changed("image", "port"), N, "Changed", "Changed: image, port"),
    (event(EventType.SERVICE_DISCOVERED, ServiceData(service=WEB)), N, "Discovered", "Seen, running"),
    (
        event(EventType.SERVICE_REMOVED, ServiceData(service=WEB, cause=ASKED)),
        N,
        "Removed",
        "Forgotten, asked by ops",
    ),
    (
        event(EventType.SERVICE_EXHAUSTED, ServiceData(service=WEB)),
        W,
        "Exhausted",
        "The healing budget is spent",
    ),
    (
        command(EventType.COMMAND_STARTED, status=ReceiptStatus.RUNNING, worker="w1", issuer="ops"),
        N,
        "RestartBegan",
        "Restart began on worker w1, asked by ops",
    ),
    (
        command(message="Service 'web' restart initiated"),
        N,
        "RestartSucceeded",
        "Service 'web' restart initiated",
    ),
    (
        command(message="done", recovered=True, attempt=3),
        N,
        "RestartSucceeded",
        "done (found done by attempt 3, not repeated)",
    ),
    (
        command(
            status=ReceiptStatus.REJECTED, code=400, error="service_disabled", message="no", issuer="ops"
        ),
        W,
        "RestartRejected",
        "no, asked by ops",
    ),
    (command(status=ReceiptStatus.EXPIRED, code=410, message="late"), N, "RestartExpired", "late"),
    (
        command(EventType.COMMAND_DEAD, status=ReceiptStatus.DEAD, code=400, action=None, service=None),
        W,
        "CommandDead",
        "Command dead",
    ),
    (
        event(EventType.WORKER_JOINED, WorkerData(worker=WorkerInfo(name="w1", host="edge"))),
        N,
        "Joined",
        "Serves the room on edge",
    ),
    (event(EventType.WORKER_LEFT, WorkerData(worker=WorkerInfo(name="w1"))), N, "Left", "Left the room"),
    (
        event(EventType.ENGINE_AVAILABLE, EngineData(engine=EngineInfo())),
        N,
        "EngineAvailable",
        "The engine answers",
    ),
    (
        event(EventType.ENGINE_UNAVAILABLE, EngineData(engine=EngineInfo())),
        W,
        "EngineUnavailable",
        "The engine is out of reach; statuses may be old",
    ),
]


@pytest.mark.parametrize(
    ("told", "weight", "reason", "message"), CASES, ids=[f"{c[2]}-{n}" for n, c in enumerate(CASES)]
)
def test_an_event_has_its_word_and_its_sentence(told: Event, weight: Weight, reason: str, message: str):
    found = tell(told)
    assert (found.type, found.reason, found.message) == (weight, reason, message)


def test_whom_an_event_is_about():
    assert tell(changed("image")).subject == "web"
    assert tell(command()).subject == "web"
    assert tell(command(service=None)).subject == "c"
    assert tell(event(EventType.WORKER_LEFT, WorkerData(worker=WorkerInfo(name="w1")))).subject == "w1"


def test_an_event_of_a_later_version_is_told_by_its_type():
    later = replace(changed("image"), type="pointsman.service.teleported", data={"x": 1}, subject="web")
    found = tell(later)
    assert (found.reason, found.message, found.subject) == (
        "ServiceTeleported",
        "pointsman.service.teleported",
        "web",
    )


def test_every_example_of_the_contract_can_be_told():
    examples = [one.value for one in fixtures.fixtures() if isinstance(one.value, Event)]
    assert examples
    for example in examples:
        assert tell(example).reason


def collapsed(*events: Event, service: str = "web") -> list[tuple[str, int, str, str]]:
    made: list[Chapter] = chapters(events, service)
    return [(one.reason, one.count, one.first_at[17:19], one.last_at[17:19]) for one in made]


def test_equal_chapters_are_counted_and_the_latest_is_last():
    crash: Callable[[int], Event] = lambda second: changed(  # noqa: E731
        "status",
        before=ServiceStatus.RUNNING,
        status=ServiceStatus.STOPPED,
        reason="exited",
        message="code 1",
        second=second,
    )
    back: Callable[[int], Event] = lambda second: changed(  # noqa: E731
        "status", before=ServiceStatus.STOPPED, second=second
    )
    assert collapsed(crash(1), back(2), crash(3), back(4), crash(5)) == [
        ("Running", 2, "02", "04"),
        ("Exited", 3, "01", "05"),
    ]


def test_other_messages_are_other_chapters():
    one = changed("restart_count", cause=ASKED, second=1)
    other = changed("restart_count", cause=replace(ASKED, issuer="ci"), second=2)
    assert collapsed(one, other) == [("Restarted", 1, "01", "01"), ("Restarted", 1, "02", "02")]


def test_what_concerns_a_service():
    other = event(EventType.SERVICE_DISCOVERED, ServiceData(service=replace(WEB, name="other")))
    begun = command(EventType.COMMAND_STARTED, status=ReceiptStatus.RUNNING)
    refused = command(status=ReceiptStatus.REJECTED, code=400, message="no")
    left = event(EventType.WORKER_LEFT, WorkerData(worker=WorkerInfo(name="web")))
    assert collapsed(other, begun, command(), refused, left) == [("RestartRejected", 1, "00", "00")]
    assert collapsed(other, service="other") == [("Discovered", 1, "00", "00")]
