"""Simulated containers and events as Docker's API writes them (1.41), and its filters."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from worker.adapters.simulated.container import SimulatedContainer, format_ns
from worker.adapters.simulated.events import Event
from worker.core.container import Health

API_VERSION: Final = "1.41"
_SECOND: Final = 1_000_000_000

Filters = Mapping[str, list[str]]


def read_filters(text: str | None) -> Filters:
    """Read the `filters` parameter, in both forms that Docker takes. Raises `ValueError`."""
    given = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]]) if text else {}
    return {name: list(values) for name, values in given.items()}


def summary(one: SimulatedContainer) -> dict[str, Any]:
    """Return a row of /containers/json."""
    return {
        "Id": one.id,
        "Names": [f"/{one.name}"],
        "Image": one.image,
        "ImageID": "sha256:" + one.id,
        "Command": "simulated",
        "Created": one.created_ns // _SECOND,
        "Ports": [],
        "Labels": one.labels,
        "State": one.state,
        "Status": _status(one),
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": _networks(one)},
        "Mounts": [],
    }


def details(one: SimulatedContainer) -> dict[str, Any]:
    """Return what /containers/<id>/json shows."""
    state: dict[str, Any] = {
        "Status": one.state,
        "Running": one.running,
        "Paused": one.paused,
        "Restarting": one.restarting,
        "OOMKilled": one.oom_killed,
        "Dead": False,
        "Pid": 1 if one.running else 0,
        "ExitCode": one.exit_code,
        "Error": one.error,
        "StartedAt": format_ns(one.started_ns),
        "FinishedAt": format_ns(one.finished_ns),
    }
    if one.health is not Health.NONE:
        log = [{"ExitCode": 0 if one.health is Health.HEALTHY else 1, "Output": one.health_output}]
        state["Health"] = {"Status": one.health.value, "FailingStreak": 0, "Log": log}
    policy, _, most = one.behaviour.restart_policy.partition(":")
    return {
        "Id": one.id,
        "Created": format_ns(one.created_ns),
        "Path": "simulated",
        "Args": [],
        "State": state,
        "Image": "sha256:" + one.id,
        "Name": f"/{one.name}",
        "RestartCount": one.engine_restarts,
        "HostConfig": {
            "NetworkMode": "default",
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(most or 0)},
        },
        "Config": {
            "Image": one.image,
            "Labels": one.labels,
            "StopTimeout": one.stop_timeout,
            "Cmd": ["simulated"],
            "Env": [],
        },
        "NetworkSettings": {"Networks": _networks(one)},
        "Mounts": [],
    }


def message(event: Event) -> dict[str, Any]:
    """Return a line of /events."""
    attributes = {**event.labels, "image": event.image, "name": event.name, **event.attributes}
    return {
        "status": event.action,
        "id": event.container_id,
        "from": event.image,
        "Type": "container",
        "Action": event.action,
        "Actor": {"ID": event.container_id, "Attributes": attributes},
        "scope": "local",
        "time": event.time_ns // _SECOND,
        "timeNano": event.time_ns,
    }


def lists(one: SimulatedContainer, filters: Filters) -> bool:
    """Say whether a list with these filters shows the container."""
    tests: dict[str, Callable[[str], bool]] = {
        "label": lambda value: _has_label(one.labels, value),
        "name": lambda value: value.strip("^$/") in one.name,
        "id": one.id.startswith,
        "status": one.state.__eq__,
        "health": one.health.value.__eq__,
    }
    return _passes(filters, tests)


def tells(event: Event, filters: Filters) -> bool:
    """Say whether an event stream with these filters has the event."""
    tests: dict[str, Callable[[str], bool]] = {
        "type": "container".__eq__,
        "label": lambda value: _has_label(event.labels, value),
        "event": lambda value: event.action == value or event.action.startswith(f"{value}:"),
        "container": lambda value: event.container_id.startswith(value) or event.name == value,
        "image": event.image.__eq__,
    }
    return _passes(filters, tests)


def parse_time(text: str | None) -> int | None:
    """Read `since` or `until` (seconds with a fraction) as nanoseconds. Raises `ValueError`."""
    if not text:
        return None
    seconds, _, fraction = text.partition(".")
    return int(seconds) * _SECOND + int((fraction + "0" * 9)[:9])


def _passes(filters: Filters, tests: Mapping[str, Callable[[str], bool]]) -> bool:
    for name, values in filters.items():
        if name not in tests:
            raise ValueError(f"invalid filter '{name}'")
        every = all if name == "label" else any
        if values and not every(tests[name](value) for value in values):
            return False
    return True


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, separator, value = wanted.partition("=")
    return name in labels and (not separator or labels[name] == value)


def _networks(one: SimulatedContainer) -> dict[str, Any]:
    addresses = one.addresses if one.running else ("",)
    return {f"net{number}": {"IPAddress": address} for number, address in enumerate(addresses)}


def _status(one: SimulatedContainer) -> str:
    words = {"running": "Up", "paused": "Up (Paused)", "created": "Created", "restarting": "Restarting"}
    word = words.get(one.state, f"Exited ({one.exit_code})")
    return f"{word} ({one.health.value})" if one.running and one.health is not Health.NONE else word
