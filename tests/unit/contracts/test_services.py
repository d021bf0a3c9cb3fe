"""Snapshots: uptime is the reader's sum."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts.services import Category, ServiceStatus, Snapshot, uptime_seconds

NOW = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)


def snapshot(started_at, state="running", status=ServiceStatus.RUNNING):
    return Snapshot(name="web", status=status, container_state=state, started_at=started_at)


@pytest.mark.parametrize(
    ("started_at", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 60),
        ("2026-01-01T00:00:00.000000001Z", 60),
        ("2026-01-01T00:00:00.500123456Z", 59),
        ("2026-01-01T00:02:00Z", 0),
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        (None, None),
    ],
)
def test_uptime_is_now_minus_start(started_at, seconds):
    assert uptime_seconds(snapshot(started_at), NOW) == seconds


@pytest.mark.parametrize("state", ["exited", "created", "paused", "restarting", "dead", None])
def test_what_does_not_run_has_no_uptime(state):
    assert uptime_seconds(snapshot("2026-01-01T00:00:00Z", state), NOW) is None


def test_a_disabled_service_that_was_left_running_has_one():
    assert uptime_seconds(snapshot("2026-01-01T00:00:00Z", status=ServiceStatus.DISABLED), NOW) == 60


def test_now_may_be_in_any_zone():
    assert uptime_seconds(snapshot("2026-01-01T00:00:00Z"), NOW + timedelta(days=1)) == 86_460


def test_the_default_category_is_known():
    assert Snapshot(name="web", status=ServiceStatus.RUNNING).category == Category.INFRASTRUCTURE


def test_the_fields_are_those_of_the_contract():
    assert set(Snapshot.__struct_fields__) == {
        "name",
        "display_name",
        "category",
        "status",
        "enabled",
        "desired",
        "container_id",
        "image",
        "port",
        "container_state",
        "health",
        "failure_count",
        "restart_count",
        "last_restart_at",
        "started_at",
        "last_exit_code",
        "last_exit_at",
        "last_start_error",
        "last_start_error_at",
        "restart_scheduled_at",
        "reason",
        "message",
        "observed_at",
        "revision",
    }
