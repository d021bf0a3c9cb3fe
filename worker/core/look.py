"""The answers to "what is this service now?"; no answer at all is an exception, never a look."""

from dataclasses import dataclass

from worker.core.container import Container
from worker.core.labels import ServiceLabels


@dataclass(frozen=True, slots=True)
class Present:
    """One container is the service; `own` says that the worker itself runs in it."""

    container: Container
    labels: ServiceLabels
    own: bool = False

    @property
    def protected(self) -> bool:
        """Say whether nothing may be done to it."""
        return self.labels.protected or self.own


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a label's probe makes of one run ("<12 of container id> <StartedAt>"); `why` it is not ready."""

    run: str
    ready: bool
    why: str = ""
