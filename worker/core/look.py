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
    """No container claims the name."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Several containers claim the name and not exactly one of them runs."""

    ids: tuple[str, ...]


Look = Present | Missing | Clash
