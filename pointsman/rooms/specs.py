"""What a room client gives back: specs of services, and the state in which they run."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from contracts.services import Snapshot
from contracts.times import parse_ms, to_datetime


class ServiceMetadata(Struct, frozen=True, kw_only=True):
    """What a service is called: its name, what people call it, its category among the annotations."""

    name: str
    description: str | None = None
    annotations: Mapping[str, str] = {}


class ContainerSpec(Struct, frozen=True, kw_only=True):
    """What a service runs."""

    image: str | None = None


class PortSpec(Struct, frozen=True, kw_only=True):
    """A port of a service."""

    num: int


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """One service of the room; `id` is what `restart` and its like take."""

    version: Literal["v1"] = "v1"
    kind: Literal["Service"] = "Service"
    id: str
    metadata: ServiceMetadata
    container: ContainerSpec | None = None
    ports: tuple[PortSpec, ...] = ()


class ServiceState(Struct, frozen=True, kw_only=True):
    """How one service runs.

    `state` is `running`, `starting`, `unhealthy`, `stopped`, `disabled` or `not_found`. Times are aware,
    to the millisecond; `restart_scheduled_at` is when self-healing will try next. `reason` and `message`
    say why the state is what it is.
    """

    service_id: str
    state: str
    container_id: str | None = None
    started_at: datetime | None = None
    restart_count: int = 0
    last_exit_code: int | None = None
    last_exit_at: datetime | None = None
    restart_scheduled_at: datetime | None = None
    enabled: bool = True
    desired: str = "running"
    health: str | None = None
    failure_count: int = 0
    last_restart_at: datetime | None = None
    reason: str | None = None
    message: str | None = None


class ListServicesResult(Struct, frozen=True, kw_only=True):
    """The services of a room, and how they run, by the service's id."""

    services: list[ServiceSpec]
    service_states: dict[str, ServiceState]


class RoomStatus(Struct, frozen=True, kw_only=True):
    """How the way to the room is.

    `status` is `connected` (also after a break: `reconnects` grows), `reconnecting` (with the reason in
    `detail`) or `closed`.
    """

    status: Literal["connected", "reconnecting", "closed"]
    detail: str | None = None
    reconnects: int = 0


def spec_of(snapshot: Snapshot) -> ServiceSpec:
    """Return the spec of a service."""
    return ServiceSpec(
        id=snapshot.name,
        metadata=ServiceMetadata(
            name=snapshot.name,
            description=snapshot.display_name,
            annotations={"pointsman.category": snapshot.category},
        ),
        container=None if snapshot.image is None else ContainerSpec(image=snapshot.image),
        ports=() if snapshot.port is None else (PortSpec(num=snapshot.port),),
    )


def state_of(snapshot: Snapshot) -> ServiceState:
    """Return how a service runs."""
    return ServiceState(
        service_id=snapshot.name,
        state=snapshot.status.value,
        container_id=snapshot.container_id,
        started_at=_moment(snapshot.started_at),
        restart_count=snapshot.restart_count,
        last_exit_code=snapshot.last_exit_code,
        last_exit_at=_moment(snapshot.last_exit_at),
        restart_scheduled_at=_moment(snapshot.restart_scheduled_at),
        enabled=snapshot.enabled,
        desired=snapshot.desired.value,
        health=snapshot.health,
        failure_count=snapshot.failure_count,
        last_restart_at=_moment(snapshot.last_restart_at),
        reason=snapshot.reason,
        message=snapshot.message,
    )


def _moment(text: str | None) -> datetime | None:
    """Return a time of the wire; None for the engine's "never" and forms of its own."""
    if text is None:
        return None
    try:
        return to_datetime(parse_ms(text))
    except ValueError:
        return None
