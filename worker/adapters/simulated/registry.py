"""What a simulated engine knows: its containers, its events, what happened to whom, and the time."""

import hashlib
from collections.abc import Callable, Mapping

from worker.adapters.simulated.container import Behaviour, SimulatedContainer
from worker.adapters.simulated.events import Effect, Event, EventLog, Overlap
from worker.core.container import Listed
from worker.ports import EngineFailed

Clock = Callable[[], int]

#: Characters by which ids are known for short.
SHORT = 12


class Registry:
    """Containers by id and name, and the records of what happens to them. `clock` returns nanoseconds."""

    def __init__(self, identity: str, clock: Clock, *, journaled: bool) -> None:
        self.identity = identity
        self.journal: list[Effect] = []
        self.overlaps: list[Overlap] = []
        self.events = EventLog()
        #: Asked before an event is told: while it says yes, events are lost for everyone.
        self.losing: Callable[[], bool] = bool
        self._clock = clock
        self._journaled = journaled
        self._last_ns = 0
        self._made = 0
        self._containers: dict[str, SimulatedContainer] = {}
        self._by_name: dict[str, SimulatedContainer] = {}
        self._by_short: dict[str, list[SimulatedContainer]] = {}
        self._listed: tuple[Listed, ...] = ()
        self._rows: dict[str, Listed] = {}
        self._changed: dict[str, SimulatedContainer] = {}

    def find(self, key: str) -> SimulatedContainer | None:
        """Find a container by id, by name, or by an id's beginning that only one has."""
        found = self._containers.get(key) or self._by_name.get(key)
        if found is not None or not key:
            return found
        among = self._by_short.get(key[:SHORT], ()) if len(key) >= SHORT else self._containers.values()
        beginning = [one for one in among if one.id.startswith(key)]
        return beginning[0] if len(beginning) == 1 else None

    def get(self, key: str) -> SimulatedContainer:
        """Find a container; raises `EngineFailed` with 404 in the engine's words when there is none."""
        found = self.find(key)
        if found is None:
            raise EngineFailed(f"No such container: {key}", 404)
        return found

    def all(self) -> list[SimulatedContainer]:
        """Return every container, the newest first."""
        return list(self._containers.values())[::-1]

    def managed(self) -> tuple[Listed, ...]:
        """Return the rows of the containers that opted in, the newest first; the same tuple while no row changed."""
        changed, self._changed = self._changed, {}
        stale = False
        for one in changed.values():
            row = None if one.removed or one.labels.get("pointsman.enable") != "true" else one.listed()
            stale = stale or row is not self._rows.get(one.id)
            if row is None:
                self._rows.pop(one.id, None)
            else:
                self._rows[one.id] = row
        if stale:
            self._listed = tuple(self._rows[one.id] for one in self.all() if one.id in self._rows)
        return self._listed

    def now(self) -> int:
        """Return the time; no two answers are the same."""
        now = self._clock()
        if now <= self._last_ns:
            now = self._last_ns + 1
        self._last_ns = now
        return now

    def create(
        self,
        name: str,
        image: str,
        labels: Mapping[str, str],
        behaviour: Behaviour,
        *,
        addresses: tuple[str, ...] = (),
        stop_timeout: int | None = None,
    ) -> SimulatedContainer:
        """Make a container that was never started. Raises `EngineFailed` with 409 when the name is taken."""
        self._claim(name)
        made = SimulatedContainer(
            self._new_id(), name, image, dict(labels), self.now(), behaviour, addresses, stop_timeout
        )
        return self.enter(made)

    def rename(self, one: SimulatedContainer, name: str) -> None:
        """Give it another name. Raises `EngineFailed` with 409 when the name is taken."""
        self._claim(name)
        old = one.name
        del self._by_name[old]
        one.name = name
        self._by_name[name] = one
        self.touch(one, "rename", oldName=f"/{old}")

    def succeed(self, old: SimulatedContainer) -> SimulatedContainer:
        """Make another by the same recipe as one that was removed: same name, new id, never started."""
        return self.enter(old.successor(self._new_id(), self.now()))

    def enter(self, made: SimulatedContainer) -> SimulatedContainer:
        """Let it be there."""
        self._containers[made.id] = self._by_name[made.name] = made
        self._by_short.setdefault(made.id[:SHORT], []).append(made)
        self.touch(made, "create")
        return made

    def leave(self, one: SimulatedContainer) -> None:
        """Let it be gone."""
        one.removed = True
        self._containers.pop(one.id, None)
        self._by_name.pop(one.name, None)
        self._by_short[one.id[:SHORT]].remove(one)
        self.touch(one, "destroy")

    def touch(self, one: SimulatedContainer, action: str, **attributes: str) -> None:
        """Tell of a change that was made to the container's state."""
        self.changed(one)
        self.emit(one, action, **attributes)

    def emit(self, one: SimulatedContainer, action: str, **attributes: str) -> None:
        """Tell the listeners, unless events are being lost."""
        log = self.events
        log.last += 1
        if not self.losing():
            log.add(Event(log.last, one.id, one.name, one.image, one.labels, action, self.now(), attributes))

    def note(self, one: SimulatedContainer, kind: str, time_ns: int) -> None:
        """Put an effect into the journal."""
        if self._journaled:
            self.journal.append(Effect(one.id, kind, time_ns))

    def note_overlap(self, one: SimulatedContainer, action: str) -> None:
        """Put down that an action is asked for while another is at work."""
        if one.at_work:
            self.overlaps.append(Overlap(one.id, one.at_work[0], action, self.now()))

    def changed(self, one: SimulatedContainer) -> None:
        """Forget what was told of its former state."""
        one.changed()
        self._changed[one.id] = one

    def _claim(self, name: str) -> None:
        if name in self._by_name:
            raise EngineFailed(f'Conflict. The container name "/{name}" is already in use', 409)

    def _new_id(self) -> str:
        self._made += 1
        return hashlib.sha256(f"{self.identity}/{self._made}".encode()).hexdigest()
