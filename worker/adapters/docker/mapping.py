"""From the engine's JSON to our words. Tolerant: other engines and versions leave fields out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from worker.core.container import NEVER, Container, EngineHint, Health, Listed

#: Where a health check's output is cut; it goes into a snapshot's message.
MOST_OUTPUT: Final = 500
#: What an event's attributes hold beside the labels.
_NO_LABELS: Final = frozenset({"image", "name", "exitCode", "execID", "execDuration", "signal", "oldName"})
#: What an engine says of a container that changes nothing of what we look at.
_NOISE: Final = (
    "exec_",
    "kill",
    "attach",
    "detach",
    "resize",
    "top",
    "copy",
    "export",
    "commit",
    "archive-path",
)
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def to_listed(row: Mapping[str, Any]) -> Listed:
    """Read one row of /containers/json. A container with links has several names; its own has one slash."""
    names = [str(name) for name in row.get("Names") or ()]
    own = next((name for name in names if name.count("/") <= 1), names[0] if names else "")
    return Listed(
        id=_text(row, "Id"),
        name=own.removeprefix("/"),
        labels=_labels(_part(row, "Labels")),
        state=_text(row, "State").lower(),
    )


def to_container(data: Mapping[str, Any]) -> Container:
    """Read the answer of /containers/<id>/json."""
    state, config, host = _part(data, "State"), _part(data, "Config"), _part(data, "HostConfig")
    health = _part(state, "Health") or _part(state, "Healthcheck")
    policy = _part(host, "RestartPolicy")
    running = state.get("Running") is True
    return Container(
        id=_text(data, "Id"),
        name=_text(data, "Name").removeprefix("/"),
        image=_text(config, "Image") or _text(data, "ImageName") or _text(data, "Image"),
        labels=_labels(_part(config, "Labels")),
        state=_text(state, "Status").lower() or ("running" if running else "exited"),
        running=running,
        paused=state.get("Paused") is True,
        restarting=state.get("Restarting") is True,
        dead=state.get("Dead") is True,
        started_at=_text(state, "StartedAt") or NEVER,
        finished_at=_text(state, "FinishedAt") or NEVER,
        exit_code=_whole(state, "ExitCode") or 0,
        oom_killed=state.get("OOMKilled") is True,
        error=_text(state, "Error"),
        health=_health(_text(health, "Status")),
        health_output=_last_output(health),
        restart_policy=_text(policy, "Name") or "no",
        engine_restarts=_whole(data, "RestartCount") or 0,
        stop_timeout=_whole(config, "StopTimeout"),
        addresses=_addresses(_part(data, "NetworkSettings")),
    )


def to_hint(event: Mapping[str, Any]) -> EngineHint | None:
    """Read one line of /events; None for what is no hint about a container."""
    actor = _part(event, "Actor")
    container_id = _text(actor, "ID") or _text(event, "id")
    action = _text(event, "Action") or _text(event, "status")
    kind = _text(event, "Type") or "container"
    if kind != "container" or not container_id or not action or action.startswith(_NOISE):
        return None
    attributes = _labels(_part(actor, "Attributes"))
    exit_code = attributes.get("exitCode", "")
    return EngineHint(
        container_id=container_id,
        name=attributes.get("name", ""),
        action=action,
        time_ns=_whole(event, "timeNano") or (_whole(event, "time") or 0) * 1_000_000_000,
        labels={name: value for name, value in attributes.items() if name not in _NO_LABELS},
        exit_code=int(exit_code) if action == "die" and exit_code.isdecimal() else None,
    )


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else _EMPTY


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _whole(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _labels(part: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): value for name, value in part.items() if isinstance(value, str)}


def _health(word: str) -> Health:
    try:
        return Health(word.lower())
    except ValueError:
        return Health.NONE


def _last_output(health: Mapping[str, Any]) -> str:
    log = health.get("Log")
    last = log[-1] if isinstance(log, list) and log else None
    return _text(last, "Output").strip()[:MOST_OUTPUT] if isinstance(last, Mapping) else ""


def _addresses(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses of all networks, IPv4 first; older engines put the only one beside them."""
    networks = [part for part in _part(settings, "Networks").values() if isinstance(part, Mapping)]
    found = [_text(part, key) for key in ("IPAddress", "GlobalIPv6Address") for part in (*networks, settings)]
    return tuple(dict.fromkeys(address for address in found if address))
