"""`room.services`: list, look, ask, follow."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Unpack

from contracts.commands import Action, is_service_name
from contracts.errors import ServiceNotFound
from contracts.receipts import Receipt
from pointsman.rooms.link import Asking, Link
from pointsman.rooms.specs import ListServicesResult, ServiceSpec, spec_of, state_of
from subscriber import Change, Reset

#: Seconds that an action waits for its outcome unless it is told another time.
WAIT = 30.0


class ServicesClient:
    """The services of a room.

    Actions publish a command and wait `wait` seconds for its outcome; with `wait=0` they return at once.
    They return the receipt, and raise the contract's errors (`contracts.errors`, each with its `code`):
    ServiceNotFound, AlreadyRunning, ServiceDisabled and the like, WaitTimeout where the time was not
    enough (the command goes on), NoWorker, RedisUnavailable. See `Asking` for what else may be said.
    """

    def __init__(self, link: Link, heard: Callable[[], Awaitable[None]]) -> None:
        self._link = link
        #: Returns once handlers hear what an action causes.
        self._heard = heard

    async def list(self) -> Sequence[ServiceSpec]:
        """Return the services of the room, by name."""
        return [spec_of(snapshot) for snapshot in await self._link.snapshots()]

    async def list_with_state(self) -> ListServicesResult:
        """Return the services and how they run."""
        snapshots = await self._link.snapshots()
        return ListServicesResult(
            services=[spec_of(snapshot) for snapshot in snapshots],
            service_states={snapshot.name: state_of(snapshot) for snapshot in snapshots},
        )

    async def restart(self, *, service_id: str, wait: float = WAIT, **asking: Unpack[Asking]) -> Receipt:
        """Restart a service."""
        return await self._ask(Action.RESTART, service_id, wait, asking)

    async def start(self, *, service_id: str, wait: float = WAIT, **asking: Unpack[Asking]) -> Receipt:
        """Start a stopped service."""
        return await self._ask(Action.START, service_id, wait, asking)

    async def stop(self, *, service_id: str, wait: float = WAIT, **asking: Unpack[Asking]) -> Receipt:
        """Stop a service; it is left alone until it is started, restarted or enabled."""
        return await self._ask(Action.STOP, service_id, wait, asking)

    async def enable(self, *, service_id: str, wait: float = WAIT, **asking: Unpack[Asking]) -> Receipt:
        """Enable a service again."""
        return await self._ask(Action.ENABLE, service_id, wait, asking)

    async def disable(self, *, service_id: str, wait: float = WAIT, **asking: Unpack[Asking]) -> Receipt:
        """Disable a service: no self-healing; the container is left as it is."""
        return await self._ask(Action.DISABLE, service_id, wait, asking)

    async def watch(self) -> AsyncIterator[Reset | Change]:
        """Follow the room: a `Reset` with all snapshots, then a `Change` for every event, without a gap.

        Breaks of the way are mended behind it; where something was missed for good, another `Reset` says
        so. Close the iterator (`contextlib.aclosing`) when it is left early.
        """
        follow = self._link.follow()
        try:
            async for item in follow:
                if isinstance(item, Reset | Change):
                    yield item
        finally:
            await follow.aclose()  # type: ignore[attr-defined] # both are generators

    async def _ask(self, action: Action, service_id: str, wait: float, asking: Asking) -> Receipt:
        if not is_service_name(service_id):
            raise ServiceNotFound(service=service_id)
        await self._heard()
        return await self._link.ask(action, service_id, wait, asking)
