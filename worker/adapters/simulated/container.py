"""One simulated container: how its process behaves, and the state that an engine keeps of it."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from worker.core.container import NEVER, Container, Health, Listed

#: Exit code of a process that was killed for not leaving within its grace.
KILLED: Final = 137


@dataclass(slots=True)
class Behaviour:
    """How the process and its health check behave. Delays are seconds, 0 is at once.

    `exit_after` lets the process end by itself with `exit_code` that long after each start. `health`
    None: no health check; else what the check finds `health_delay` after a start, "starting" until then.
    `start_error`: the engine's words when it cannot start it.
    """

    stop_delay: float = 0.0
    start_delay: float = 0.0
    exit_after: float | None = None
    exit_code: int = 0
    term_code: int = 0
    ignores_term: bool = False
    health: bool | None = None
    health_delay: float = 0.0
    start_error: str | None = None
    restart_policy: str = "no"
    restart_delay: float = 0.1

    def leave(self, grace: float) -> tuple[float, int]:
        """Return after how many seconds the process is gone when asked to stop, and its exit code."""
        if self.ignores_term or self.stop_delay > grace:
            return float(grace), KILLED
        return self.stop_delay, self.term_code


@dataclass(slots=True)
class SimulatedContainer:
    """The state of one container; whoever changes it calls `changed`."""

    id: str
    name: str
    image: str
    labels: dict[str, str]
    created_ns: int
    behaviour: Behaviour
    addresses: tuple[str, ...] = ()
    stop_timeout: int | None = None
    running: bool = False
    paused: bool = False
    restarting: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    health: Health = Health.NONE
    health_output: str = ""
    engine_restarts: int = 0
    #: Grows with each start, so that a timer of an earlier run knows that it is stale.
    run: int = 0
    removed: bool = False
    manually_stopped: bool = False
    #: The actions that the engine is at.
    at_work: list[str] = field(default_factory=list)
    stopping: "asyncio.Future[None] | None" = None
    starting: "asyncio.Future[None] | None" = None
    _inspected: Container | None = None
    _listed: Listed | None = None

    @property
    def state(self) -> str:
        """Return the engine's word."""
        if self.restarting:
            return "restarting"
        if self.paused:
            return "paused"
        if self.running:
            return "running"
        return "exited" if self.started_ns else "created"

    def changed(self) -> None:
        """Forget what was told of the former state."""
        self._inspected = None

    def listed(self) -> Listed:
        """Return its row in the list; the same while nothing in it changed."""
        row, state = self._listed, self.state
        if row is None or row.state != state or row.name != self.name or row.labels != self.labels:
            row = self._listed = Listed(self.id, self.name, dict(self.labels), state)
        return row

    def inspected(self) -> Container:
        """Return what an inspect shows."""
        if self._inspected is None:
            self._inspected = Container(
                id=self.id,
                name=self.name,
                image=self.image,
                labels=dict(self.labels),
                state=self.state,
                running=self.running,
                paused=self.paused,
                restarting=self.restarting,
                started_at=format_ns(self.started_ns),
                finished_at=format_ns(self.finished_ns),
                exit_code=self.exit_code,
                oom_killed=self.oom_killed,
                error=self.error,
                health=self.health,
                health_output=self.health_output,
                restart_policy=self.behaviour.restart_policy.partition(":")[0],
                engine_restarts=self.engine_restarts,
                stop_timeout=self.stop_timeout,
                addresses=self.addresses if self.running else (),
            )
        return self._inspected

    def successor(self, container_id: str, created_ns: int) -> "SimulatedContainer":
        """Return a new container made from the same recipe."""
        return SimulatedContainer(
            id=container_id,
            name=self.name,
            image=self.image,
            labels=dict(self.labels),
            created_ns=created_ns,
            behaviour=replace(self.behaviour),
            addresses=self.addresses,
            stop_timeout=self.stop_timeout,
        )


def format_ns(time_ns: int) -> str:
    """Write a time as Docker does: RFC 3339 with up to nine digits and no trailing zeros."""
    if time_ns == 0:
        return NEVER
    seconds, rest = divmod(time_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{_second(seconds)}{fraction}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
