"""What an engine says about a container, in our words; no engine library's types pass this point."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct, field

#: How the engine writes "never" in StartedAt and FinishedAt.
NEVER = "0001-01-01T00:00:00Z"
#: The words of the engine's list for containers whose State.Running is true.
RUNNING_STATES = frozenset({"running", "paused", "restarting"})


class Health(StrEnum):
    """The engine's own health words; `NONE` where the container has no health check."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the engine's list: enough to resolve a service's name."""

    id: str
    name: str
    labels: Mapping[str, str]
    state: str

    @property
    def running(self) -> bool:
        """Say what State.Running would: true of a paused and of a restarting container too."""
        return self.state in RUNNING_STATES


class Container(Struct, frozen=True):
    """One inspected container.

    Times are the engine's own strings, `NEVER` where it never happened. `state` is the engine's
    word (created, running, paused, restarting, removing, exited, dead). `running` is State.Running,
    which is true of a paused and of a restarting container too.
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = "created"
    running: bool = False
    paused: bool = False
    restarting: bool = False
    dead: bool = False
    started_at: str = NEVER
    finished_at: str = NEVER
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    health: Health = Health.NONE
    health_output: str = ""
    restart_policy: str = "no"
    engine_restarts: int = 0
    stop_timeout: int | None = None
    addresses: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        """Return the 12 characters that people and snapshots use."""
        return self.id[:12]

    @property
    def ever_started(self) -> bool:
        """Say whether the engine has a StartedAt."""
        return self.started_at not in {NEVER, ""}


@dataclass(frozen=True, slots=True)
class EngineConnected:
    """The event stream is (again) established: list everything, hints may have been missed."""


class EngineHint(Struct, frozen=True):
    """One engine event about a container: a hint to look, never the truth.

    `time_ns` is the engine's stamp in nanoseconds; `action` its word (die, start, oom, destroy,
    rename, health_status: unhealthy ...); `exit_code` is there for `die`.
    """

    container_id: str
    name: str
    action: str
    time_ns: int
    labels: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None


EngineSignal = EngineConnected | EngineHint
