"""What this worker remembers of every service, and what follows from it for their healing."""

from collections.abc import Mapping

from contracts.services import ServiceStatus
from worker.core.heal import due_ms
from worker.core.order import blocked_by
from worker.core.state import ServiceState

#: Of a container's id, as snapshots have it.
_SHORT = 12


class Memory:
    """The states by name, with the few indexes that save a walk through all of them."""

    def __init__(self) -> None:
        self.states: dict[str, ServiceState] = {}
        #: service -> ms of Redis TIME at which its planned heal is due.
        self.plans: dict[str, int] = {}
        #: service -> the services that it needs, where it needs any.
        self.needs: dict[str, tuple[str, ...]] = {}
        self._on: dict[str, set[str]] = {}

    def keep(self, name: str, state: ServiceState) -> None:
        """Remember a service as it is now."""
        self.drop(name)
        if state.snapshot is None:
            return
        self.states[name] = state
        if state.snapshot.container_id is not None:
            self._on.setdefault(state.snapshot.container_id, set()).add(name)
        if (due := due_ms(state.snapshot)) is not None and state.memo.plan is not None:
            self.plans[name] = due
        if state.memo.needs:
            self.needs[name] = state.memo.needs

    def drop(self, name: str) -> None:
        """Forget a service."""
        before = self.states.pop(name, None)
        self.plans.pop(name, None)
        self.needs.pop(name, None)
        if before is None or before.snapshot is None or before.snapshot.container_id is None:
            return
        names = self._on.get(before.snapshot.container_id)
        if names is not None:
            names.discard(name)
            if not names:
                del self._on[before.snapshot.container_id]

    def replace(self, states: Mapping[str, ServiceState]) -> None:
        """Remember these and nothing else."""
        for name in self.states.keys() - states.keys():
            self.drop(name)
        for name, state in states.items():
            self.keep(name, state)

    def names_on(self, container_id: str) -> set[str]:
        """Return the services that were on this container at the last look."""
        return set(self._on.get(container_id[:_SHORT], ()))

    def container_of(self, name: str) -> str | None:
        """Return the container that the service was at the last look, its first 12 characters."""
        state = self.states.get(name)
        return state.snapshot.container_id if state is not None and state.snapshot is not None else None

    def is_well(self, name: str) -> bool:
        """Say whether a needed service stands in nobody's way: it runs, or this room knows of none."""
        state = self.states.get(name)
        if state is None or state.snapshot is None:
            return True
        seen = state.memo.seen
        return (seen[0] if seen is not None else state.snapshot.status) is ServiceStatus.RUNNING

    def blocked(self, name: str) -> str | None:
        """Return a service that this one needs and that is not well."""
        return blocked_by(name, self.needs, self.is_well) if name in self.needs else None

    def waiting_for(self, name: str) -> list[str]:
        """Return the services with a planned heal that need this one."""
        return [one for one in self.plans if name in self.needs.get(one, ())]
