"""The answers to "what is this service now?"; no answer at all is an exception, never a look."""

from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from contracts.times import format_ms, parse_ms
from worker.core.container import Container, Health
from worker.core.labels import ServiceLabels


class Present(Struct, frozen=True):
    """One container is the service; `own` says that the worker itself runs in it."""

    container: Container
    labels: ServiceLabels
    own: bool = False

    @property
    def protected(self) -> bool:
        """Say whether nothing may be done to it."""
        return self.labels.protected or self.own

    @property
    def answers_probes(self) -> bool:
        """Say whether the label's probe decides: it runs, and the engine has no health check of its own."""
        container = self.container
        runs = container.running and not container.paused and not container.restarting
        return self.labels.probe is not None and container.health is Health.NONE and runs


@dataclass(frozen=True, slots=True)
class Missing:
    """No container claims the name; `moved` says that the one that did runs on under another name."""

    moved: bool = False


@dataclass(frozen=True, slots=True)
class Clash:
    """Several containers claim the name and not exactly one of them runs."""

    ids: tuple[str, ...]


Look = Present | Missing | Clash


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process ended, as an engine event told: for a run that no look has caught dead.

    `time_ns` is the engine's stamp; `exit_code` None where the event had none; `oom`: memory ran out in it.
    """

    time_ns: int
    exit_code: int | None
    oom: bool = False

    @property
    def stamp(self) -> str:
        """Return the time as the engine writes times."""
        return f"{format_ms(self.time_ns // 1_000_000)[:-1]}{self.time_ns % 1_000_000:06d}Z"


def after_end(look: Present, ended: Ended) -> Present | None:
    """Return what a look will show once the engine lets one look: it keeps a container locked while it clears up.

    None where that cannot be told: the engine's restart policy may bring it back, memory ran out, or what
    ended was an earlier run.
    """
    container = look.container
    runs = container.running and not container.restarting and not container.paused
    if not runs or container.restart_policy not in {"no", ""} or ended.oom or ended.exit_code is None:
        return None
    try:
        if ended.time_ns // 1_000_000 < parse_ms(container.started_at):
            return None
    except ValueError:
        return None
    dead = replace(
        container,
        state="exited",
        running=False,
        exit_code=ended.exit_code,
        finished_at=ended.stamp,
        health=Health.NONE if container.health is Health.NONE else Health.UNHEALTHY,
        health_output="",
        addresses=(),
    )
    return replace(look, container=dead)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a label's probe makes of one run ("<12 of container id> <StartedAt>"); `why` it is not ready."""

    run: str
    ready: bool
    why: str = ""
