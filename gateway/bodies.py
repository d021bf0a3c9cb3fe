"""What goes over HTTP: requests as pydantic models, answers as msgspec structs."""

from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from contracts.commands import CONTAINER_ID_PATTERN, MAX_NOTE_CHARS, MAX_STARTED_AT_BYTES, MAX_TIMEOUT
from contracts.events import DeadLetter, EngineInfo, WorkerInfo
from contracts.receipts import Receipt
from contracts.services import ServiceStatus, Snapshot


def _whole(value: object) -> object:
    """Return `10.0` as the 10 that it is: JSON has one kind of number, and so have its schemas."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ActionRequest(BaseModel):
    """What may be said with an action; an empty body says nothing.

    `timeout`: stop grace in seconds. `expect_container_id`, `expect_started_at`: act only on this
    container, only on this run of it. `coalesce`: join the same action if it is queued last.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    reason: Annotated[str, Field(max_length=MAX_NOTE_CHARS)] | None = None
    timeout: Annotated[int, Field(ge=0, le=MAX_TIMEOUT), BeforeValidator(_whole)] | None = None
    expect_container_id: Annotated[str, Field(pattern=f"^(?:{CONTAINER_ID_PATTERN})$")] | None = None
    expect_started_at: Annotated[str, Field(min_length=1, max_length=MAX_STARTED_AT_BYTES)] | None = None
    coalesce: bool = False


class RequeueRequest(BaseModel):
    """How a dead letter is mended: fields to set, or to take out where the value is null."""

    model_config = ConfigDict(strict=True, extra="forbid")

    set: dict[str, str | None] = {}


class Service(Struct, frozen=True, kw_only=True):
    """One service, as the Services API shows it.

    `container_id` has 12 characters; `last_restart_at` is null if it never was restarted,
    `uptime_seconds` is null while it does not run.
    """

    name: str
    display_name: str
    category: str
    status: ServiceStatus
    enabled: bool
    container_id: str | None
    image: str | None
    port: int | None
    failure_count: int
    restart_count: int
    last_restart_at: str | None
    uptime_seconds: int | None


class ServiceDetail(Snapshot, frozen=True, kw_only=True):
    """One service with all that its snapshot tells, and its uptime."""

    uptime_seconds: int | None = None


class CategorySummary(Struct, frozen=True, kw_only=True):
    """How a category does: `healthy` are running, `unhealthy` is the rest."""

    total: int
    healthy: int
    unhealthy: int


class ServiceList(Struct, frozen=True, kw_only=True):
    """The services, of one category if that was asked; the summaries are of all services."""

    services: list[Service]
    by_category: dict[str, CategorySummary]
    timestamp: str


class ServiceDetailList(Struct, frozen=True, kw_only=True):
    """The services with all that their snapshots tell (`view=full`)."""

    services: list[ServiceDetail]
    by_category: dict[str, CategorySummary]
    timestamp: str


class ActionResult(Struct, frozen=True, kw_only=True):
    """An action that was done; `service` as it stands now."""

    success: bool
    message: str
    service: Service | None


class ActionAccepted(Struct, frozen=True, kw_only=True):
    """An action that is under way: `command` is the address of its receipt."""

    success: bool
    message: str
    service: Service | None
    command: str


class EventList(Struct, frozen=True, kw_only=True):
    """Kept events, the oldest first; each is an `Event` of the contract."""

    events: list[Any]


class CommandList(Struct, frozen=True, kw_only=True):
    """Commands, the newest first."""

    commands: list[Receipt]


class DeadLetterEntry(DeadLetter, frozen=True, kw_only=True):
    """A dead letter, and how often it was published again."""

    requeues: int = 0


class DeadLetterList(Struct, frozen=True, kw_only=True):
    """Dead letters, the newest first."""

    dead: list[DeadLetterEntry]


class RoomList(Struct, frozen=True, kw_only=True):
    """The rooms ever served, of those that the caller may enter."""

    rooms: list[str]


class RoomState(Struct, frozen=True, kw_only=True):
    """How a room does.

    `backlog`: unsettled commands; `unread`: those no worker has seen; `dead`: dead letters;
    `oldest_at`: when the oldest unsettled command was added; `may`: what the caller may do here.
    """

    room: str
    epoch: str | None
    revision: int
    contract: str | None
    engine: EngineInfo
    workers: list[WorkerInfo]
    backlog: int
    unread: int
    oldest_at: str | None
    dead: int
    may: "Permissions"


class Permissions(Struct, frozen=True, kw_only=True):
    """What the caller may do: per action the names of services, `*` at the end for all that begin so."""

    subject: str
    list: bool
    restart: tuple[str, ...]
    start: tuple[str, ...]
    stop: tuple[str, ...]
    enable: tuple[str, ...]
    disable: tuple[str, ...]
    dead_letters: bool


class Health(Struct, frozen=True, kw_only=True):
    """An answer of this process, which is all that it says."""

    status: Literal["ok"]


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether requests can be served; workers and engine are told of, and are the room's business."""

    status: Literal["ready"]
    room: str
    revision: int
    workers: int
    engine: str | None


class Beat(Struct, frozen=True, kw_only=True):
    """Data of a stream's heartbeat: where the stream is, and whether it lags behind the room."""

    time: str
    epoch: str | None
    revision: int
    stale: bool
    redis: Literal["available", "unavailable"]
    engine: str | None
    workers: int | None


class ResetNotice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Data of a `reset`: begin anew from the list at this revision, or from `services` if they are here."""

    room: str
    epoch: str | None
    revision: int
    reason: str
    reset: bool
    services: list[ServiceDetail] | None = None
