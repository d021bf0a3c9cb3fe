"""Services: the snapshot of one, as every reader sees it."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from contracts.times import parse_ms, to_ms

#: Any category of this form is allowed; `Category` has the known ones.
CATEGORY_PATTERN = r"[a-z0-9-]{1,32}"


class ServiceStatus(StrEnum):
    """The projection of what is asked and what is observed."""

    RUNNING = "running"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"
    STOPPED = "stopped"
    DISABLED = "disabled"
    NOT_FOUND = "not_found"


class Desired(StrEnum):
    """What the service should be, by command, label or first sight."""

    RUNNING = "running"
    STOPPED = "stopped"


class Category(StrEnum):
    """The known categories; a snapshot may name another."""

    INFRASTRUCTURE = "infrastructure"
    AI = "ai"
    MONITORING = "monitoring"


class Snapshot(Struct, frozen=True, kw_only=True, gc=False):
    """The present state of one service; None is absent.

    `container_id` is 12 characters; `container_state` and `health` are the engine's words; `started_at`
    and `last_restart_at` and `last_exit_at` are the engine's own time strings; `failure_count` is since
    the last reset, `restart_count` ever; `revision` is that of the last change.
    """

    name: str
    status: ServiceStatus
    display_name: str | None = None
    category: str = Category.INFRASTRUCTURE.value
    enabled: bool = True
    desired: Desired = Desired.RUNNING
    container_id: str | None = None
    image: str | None = None
    port: int | None = None
    container_state: str | None = None
    health: str | None = None
    failure_count: int = 0
    restart_count: int = 0
    last_restart_at: str | None = None
    started_at: str | None = None
    last_exit_code: int | None = None
    last_exit_at: str | None = None
    last_start_error: str | None = None
    last_start_error_at: str | None = None
    restart_scheduled_at: str | None = None
    reason: str | None = None
    message: str | None = None
    observed_at: str | None = None
    revision: int = 0


def uptime_seconds(snapshot: Snapshot, now: datetime) -> int | None:
    """Return whole seconds since `started_at` while the container runs, else None.

    `now` is an aware datetime. A clock behind the engine's gives 0. A disabled service that was left
    running has an uptime; a paused or engine-restarted one has none.
    """
    if snapshot.container_state != "running" or snapshot.started_at is None:
        return None
    try:
        started = parse_ms(snapshot.started_at)
    except ValueError:  # the engine's "never", or a form of its own
        return None
    return max(0, (to_ms(now) - started) // 1000)
