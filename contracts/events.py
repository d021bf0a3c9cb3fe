"""Events: what the room tells, in CloudEvents 1.0, and the records beside them."""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from contracts.receipts import Receipt
from contracts.services import ServiceStatus, Snapshot


class EventType(StrEnum):
    """Every type of this version; readers meet unknown ones and pass on."""

    SERVICE_DISCOVERED = "pointsman.service.discovered"
    SERVICE_CHANGED = "pointsman.service.changed"
    SERVICE_REMOVED = "pointsman.service.removed"
    SERVICE_EXHAUSTED = "pointsman.service.exhausted"
    COMMAND_STARTED = "pointsman.command.started"
    COMMAND_SETTLED = "pointsman.command.settled"
    COMMAND_DEAD = "pointsman.command.dead"
    WORKER_JOINED = "pointsman.worker.joined"
    WORKER_LEFT = "pointsman.worker.left"
    ENGINE_UNAVAILABLE = "pointsman.engine.unavailable"
    ENGINE_AVAILABLE = "pointsman.engine.available"
    ROOM_HEARTBEAT = "pointsman.room.heartbeat"


class CauseKind(StrEnum):
    """Why a snapshot changed."""

    COMMAND = "command"
    SELF_HEAL = "self_heal"
    OBSERVATION = "observation"


class EngineStatus(StrEnum):
    """Whether the room's engine answers."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


class DeadKind(StrEnum):
    """Why a command became a dead letter."""

    MALFORMED = "malformed"
    CONFLICT = "conflict"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    ENTRY_LOST = "entry_lost"


class Cause(Struct, frozen=True, kw_only=True, gc=False):
    """Who or what changed a service; the last three are null for an observation."""

    kind: CauseKind
    command_id: str | None = None
    issuer: str | None = None
    reason: str | None = None


class WorkerInfo(Struct, frozen=True, kw_only=True, gc=False):
    """One worker: who it is, whether it reaches its engine, how busy it is (`running` of `capacity`)."""

    name: str
    started_at: str | None = None
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    engine_status: str | None = None
    running: int | None = None
    capacity: int | None = None


class EngineInfo(Struct, frozen=True, kw_only=True, gc=False):
    """The room's engine as `meta` knows it: `engine_id`, `engine_status`, `engine_seen_at`."""

    id: str | None = None
    status: str | None = None
    seen_at: str | None = None


class ServiceData(Struct, frozen=True, kw_only=True, gc=False):
    """Data of the service events: the whole snapshot, the names of the changed fields, and why."""

    service: Snapshot
    changed: tuple[str, ...] = ()
    previous_status: ServiceStatus | None = None
    cause: Cause | None = None


class CommandData(Struct, frozen=True, kw_only=True, gc=False):
    """Data of the command events: the receipt."""

    command: Receipt


class WorkerData(Struct, frozen=True, kw_only=True, gc=False):
    """Data of the worker events."""

    worker: WorkerInfo


class EngineData(Struct, frozen=True, kw_only=True, gc=False):
    """Data of the engine events."""

    engine: EngineInfo


class HeartbeatData(Struct, frozen=True, kw_only=True, gc=False):
    """Data of the heartbeat: none, the envelope says it all."""


EventData = ServiceData | CommandData | WorkerData | EngineData | HeartbeatData
#: The data of a type that this version does not know, as plain JSON values.
RawData = dict[str, Any] | None

#: Which struct the data of each type is.
DATA_TYPES: dict[str, type[EventData]] = {
    EventType.SERVICE_DISCOVERED.value: ServiceData,
    EventType.SERVICE_CHANGED.value: ServiceData,
    EventType.SERVICE_REMOVED.value: ServiceData,
    EventType.SERVICE_EXHAUSTED.value: ServiceData,
    EventType.COMMAND_STARTED.value: CommandData,
    EventType.COMMAND_SETTLED.value: CommandData,
    EventType.COMMAND_DEAD.value: CommandData,
    EventType.WORKER_JOINED.value: WorkerData,
    EventType.WORKER_LEFT.value: WorkerData,
    EventType.ENGINE_UNAVAILABLE.value: EngineData,
    EventType.ENGINE_AVAILABLE.value: EngineData,
    EventType.ROOM_HEARTBEAT.value: HeartbeatData,
}


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """One event: a CloudEvents 1.0 envelope with `epoch` and `revision` as extensions.

    `type` is an `EventType` or a word of a later version; `data` is the struct that `DATA_TYPES` names,
    or plain JSON values for an unknown type. `subject` is the service, the command id or the worker.
    """

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str
    epoch: str
    revision: str
    datacontenttype: str = "application/json"
    data: EventData | RawData = None

    @property
    def number(self) -> int:
        """Return the revision as an integer."""
        return int(self.revision)


class Meta(Struct, frozen=True, kw_only=True, gc=False):
    """The room's own state; everything absent (revision 0) before the first worker came."""

    contract: str | None = None
    epoch: str | None = None
    revision: int = 0
    engine_id: str | None = None
    engine_status: str | None = None
    engine_seen_at: str | None = None
    redis_run_id: str | None = None


class DeadLetter(Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the `dead` stream; `dead_id` is its id there, `entry` the id in `commands`.

    `id` is there when the letter's own was valid. `body` is the JSON object of the fields as text,
    `body_b64` the same in base64 where it is not UTF-8; `truncated` says that it was cut at 16 KiB.
    `history` is a JSON list as text.
    """

    dead_id: str
    kind: DeadKind
    entry: str | None = None
    id: str | None = None
    error: str | None = None
    detail: str | None = None
    at: str | None = None
    attempts: int | None = None
    body: str | None = None
    body_b64: str | None = None
    truncated: bool = False
    history: str | None = None


def event_of(
    kind: EventType,
    data: EventData,
    *,
    room: str,
    epoch: str,
    revision: int,
    time: str,
    subject: str | None = None,
) -> Event:
    """Return the event of one revision of a room. `time` is RFC 3339 with milliseconds."""
    return Event(
        id=f"{epoch}/{revision}",
        source=f"/rooms/{room}",
        type=kind.value,
        subject=subject,
        time=time,
        epoch=epoch,
        revision=str(revision),
        data=data,
    )
