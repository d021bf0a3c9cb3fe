"""Which containers are services of a room, and which container a service's name means now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from worker.core.container import Listed
from worker.core.labels import ROOM_NAME, SERVICE_NAME, Probe, ServiceLabels

__all__ = [
    "Absent",
    "Ambiguous",
    "Found",
    "Grouping",
    "Ignored",
    "Probe",
    "Resolution",
    "ServiceLabels",
    "group",
    "is_managed",
    "resolve",
    "room_of",
    "service_name",
]

DEFAULT_ROOM: Final = "default"


@dataclass(frozen=True, slots=True)
class Found:
    """Exactly one container is the service."""

    id: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several containers claim the name and not exactly one of them runs; ids are sorted."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """No container claims the name."""


Resolution = Found | Ambiguous | Absent


@dataclass(frozen=True, slots=True)
class Ignored:
    """A container that asks to be managed but cannot be, and why."""

    container_id: str
    container_name: str
    why: str


@dataclass(frozen=True, slots=True)
class Grouping:
    """The services of one room as one list shows them, and the containers that were left out."""

    services: Mapping[str, Found | Ambiguous]
    ignored: tuple[Ignored, ...] = ()


def is_managed(labels: Mapping[str, str]) -> bool:
    """Say whether a container may be seen at all: it opted in and is no one-off of compose."""
    one_off = labels.get("com.docker.compose.oneoff", "").lower() == "true"
    return labels.get("pointsman.enable") == "true" and not one_off


def room_of(labels: Mapping[str, str]) -> str:
    """Return the room that the labels name, well-formed or not."""
    return labels.get("pointsman.room", "").strip() or DEFAULT_ROOM


def service_name(labels: Mapping[str, str], container_name: str) -> str:
    """Return the name that the container claims, well-formed or not; an empty label is no label."""
    return (
        labels.get("pointsman.service", "").strip()
        or labels.get("com.docker.compose.service", "").strip()
        or container_name
    )


def resolve(listed: Iterable[Listed], room: str, service: str) -> Resolution:
    """Find the container that is `service` of `room` in a list just taken."""
    if not SERVICE_NAME.fullmatch(service):
        return Absent()
    claims = [
        one
        for one in listed
        if service_name(one.labels, one.name) == service
        and room_of(one.labels) == room
        and is_managed(one.labels)
    ]
    return _choose(claims) if claims else Absent()


def group(listed: Iterable[Listed], room: str) -> Grouping:
    """Sort a list into the services of `room`.

    Containers of other rooms are passed over in silence; one whose service or room label breaks the
    contract's pattern is in no room, and every room reports it.
    """
    claims: dict[str, list[Listed]] = {}
    ignored: list[Ignored] = []
    for one in listed:
        if not is_managed(one.labels):
            continue
        its_room = room_of(one.labels)
        if its_room != room:
            if not ROOM_NAME.fullmatch(its_room):
                ignored.append(Ignored(one.id, one.name, f"{its_room[:128]!r} is no room name"))
            continue
        name = service_name(one.labels, one.name)
        if SERVICE_NAME.fullmatch(name):
            claims.setdefault(name, []).append(one)
        else:
            ignored.append(Ignored(one.id, one.name, f"{name[:128]!r} is no service name"))
    return Grouping({name: _choose(found) for name, found in sorted(claims.items())}, tuple(ignored))


def _choose(claims: list[Listed]) -> Found | Ambiguous:
    if len(claims) == 1:
        return Found(claims[0].id)
    running = [one for one in claims if one.running]
    if len(running) == 1:
        return Found(running[0].id)
    return Ambiguous(tuple(sorted(one.id for one in claims)))
