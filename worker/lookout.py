"""Looks at services by name: list and inspect, resolved anew each time."""

from collections.abc import Mapping, Sequence

from worker.core.container import Container, Listed
from worker.core.discovery import Ambiguous, Found, Grouping, group
from worker.core.labels import ServiceLabels
from worker.core.look import Clash, Look, Missing, Present
from worker.ports import Engine
from worker.together import both

#: Containers whose parsed labels are kept; past it all are read anew.
PARSED_KEPT = 10_000


class Lookout:
    """Answers what a service is now. Every method raises `EngineError` when the engine gives no answer.

    `own_id` is the id, or its first 12 characters, of the container that this worker runs in, if any.
    """

    def __init__(self, engine: Engine, room: str, own_id: str | None) -> None:
        self._engine = engine
        self._room = room
        self._own_id = own_id
        self._listed: Sequence[Listed] = ()
        self._grouping = Grouping({})
        self._parsed: dict[str, tuple[Mapping[str, str], ServiceLabels]] = {}

    async def look(self, service: str, near: str | None = None) -> Look:
        """Find the service's container by a list taken now, and inspect it.

        `near` is the id, or its beginning, of the container that it probably is: that one is inspected
        while the list is on its way.
        """
        guessed: Container | None = None
        if near is not None:
            listed, guessed = await both(self._engine.list(), self._engine.inspect(near))
        else:
            listed = await self._engine.list()
        for last in (False, True):  # a container removed between list and inspect: the next list tells
            match self.grouped(listed).services.get(service):
                case Found(id=container_id):
                    if guessed is not None and guessed.id == container_id:
                        return self._present(guessed)
                    present = await self.inspect(container_id)
                    if present is not None:
                        return present
                case Ambiguous(ids=ids):
                    return Clash(ids)
                case None:
                    return Missing(moved=still_runs(listed, near))
            if not last:
                listed = await self._engine.list()
        return Missing()

    async def look_again(self, service: str, container_id: str) -> Look:
        """Inspect the container that the service was a moment ago; by name where it is gone."""
        return await self.inspect(container_id) or await self.look(service)

    async def inspect(self, container_id: str) -> Present | None:
        """Inspect one container; None when it is gone."""
        container = await self._engine.inspect(container_id)
        return None if container is None else self._present(container)

    async def listed(self) -> Sequence[Listed]:
        """Return the list itself."""
        return await self._engine.list()

    def _present(self, container: Container) -> Present:
        own = self._own_id is not None and container.id.startswith(self._own_id)
        return Present(container, self._labels(container), own=own)

    def grouped(self, listed: Sequence[Listed]) -> Grouping:
        """Sort a list into services; callers who were given the same list share the work."""
        if listed is not self._listed:
            self._listed, self._grouping = listed, group(listed, self._room)
        return self._grouping

    def _labels(self, container: Container) -> ServiceLabels:
        """Read the labels, once for a container whose labels are as they were."""
        known = self._parsed.get(container.id)
        if known is not None and known[0] == container.labels:
            return known[1]
        if len(self._parsed) >= PARSED_KEPT:
            self._parsed.clear()
        labels = ServiceLabels.parse(container.labels)
        self._parsed[container.id] = (container.labels, labels)
        return labels


def still_runs(listed: Sequence[Listed], container_id: str | None) -> bool:
    """Say whether the container of this id, or of one that begins so, runs by a list just taken."""
    return container_id is not None and any(one.id.startswith(container_id) and one.running for one in listed)
