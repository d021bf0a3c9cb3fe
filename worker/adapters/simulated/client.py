"""The engine port over a simulated machine, as one worker sees it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from worker.adapters.mailbox import Mailbox, Signals
from worker.adapters.simulated.events import Event
from worker.adapters.simulated.faults import Change, Failure, Faults, Late
from worker.adapters.simulated.machine import Machine, Work
from worker.core.container import Container, EngineConnected, EngineHint, Listed
from worker.ports import EngineBusy, EngineError, EngineUnavailable

#: What the real adapter makes no hint of.
NOISE: Final = frozenset({"kill"})
_ACTIONS: Final = frozenset({"start", "stop", "restart"})
_FOREVER: Final = float("inf")


class SimulatedClient:
    """One worker's way to the machine: it suffers the faults of the machine and faults of its own.

    `look_bound` and `start_bound` are the seconds that the real adapter would wait.
    """

    def __init__(
        self, machine: Machine, shared: Faults, *, look_bound: float = 10.0, start_bound: float = 60.0
    ) -> None:
        self.faults = Faults()
        self._machine = machine
        self._shared = shared
        self._look_bound = look_bound
        self._start_bound = start_bound
        self._streams: set[_Stream] = set()
        self._closed = asyncio.Event()

    async def identify(self) -> str:
        """Return the engine's ID."""
        if self._troubled:
            await self._meet("identify", self._look_bound)
        return self._machine.identity

    async def list(self) -> Sequence[Listed]:
        """Return the containers that opted in."""
        if self._troubled:
            await self._meet("list", self._look_bound)
        return self._machine.managed()

    async def inspect(self, container_id: str) -> Container | None:
        """Return the container as it is now."""
        if self._troubled:
            await self._meet("inspect", self._look_bound)
        found = self._machine.find(container_id)
        return found.inspected() if found else None

    async def start(self, container_id: str) -> None:
        """Start it."""

        def begin() -> Work | None:
            return self._machine.begin_start(self._machine.get(container_id))

        await self._act("start", begin, self._start_bound)

    async def stop(self, container_id: str, grace: int, bound: float) -> None:
        """Stop it."""

        def begin() -> Work | None:
            return self._machine.begin_stop(self._machine.get(container_id), grace)

        await self._act("stop", begin, bound)

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        """Restart it; the machine finishes although the caller goes away."""

        def begin() -> Work | None:
            return self._machine.begin_restart(self._machine.get(container_id), grace)

        await self._act("restart", begin, bound)

    async def ping(self) -> None:
        """Get an answer."""
        if self._troubled:
            await self._meet("ping", self._look_bound)

    def signals(self) -> Signals:
        """Follow the events, through every fault."""
        stream = _Stream(self._machine, (self._shared, self.faults))
        if self._closed.is_set():
            stream.close()
        else:
            self._streams.add(stream)

        def hang_up() -> None:
            stream.close()
            self._streams.discard(stream)

        return Signals(stream.box, hang_up)

    async def meet(self, call: str) -> None:
        """Suffer the faults of a look that the caller takes by itself."""
        if self._troubled:
            await self._meet(call, self._look_bound)

    async def close(self) -> None:
        """End `signals` and the calls under way; what the machine is at goes on."""
        self._closed.set()
        for stream in tuple(self._streams):
            stream.close()
        self._streams.clear()

    @property
    def _troubled(self) -> bool:
        return self._shared.active or self.faults.active or self._closed.is_set()

    async def _act(self, call: str, begin: Callable[[], Work | None], bound: float) -> None:
        if self._troubled:
            failure = await self._meet(call, bound, begin)
            if failure is not None:
                if failure.effect:
                    await self._wait(begin(), bound, call)
                raise failure.error()
        await self._wait(begin(), bound, call)

    async def _wait(self, work: Work | None, bound: float, call: str) -> None:
        if work is None:
            return
        if not await self._in_time(work, bound):
            raise EngineBusy(f"{call}: no answer from the engine in time")
        work.result()

    async def _in_time(self, work: "asyncio.Future[None]", bound: float) -> bool:
        """Wait for the work or the bound; the work goes on in any case. Raises when we are closed."""
        closed: asyncio.Future[Any] = asyncio.ensure_future(self._closed.wait())
        rivals: list[asyncio.Future[Any]] = [closed]
        if bound < _FOREVER:
            rivals.append(asyncio.ensure_future(self._sleep(bound)))
        try:
            await asyncio.wait([work, *rivals], return_when=asyncio.FIRST_COMPLETED)
            if closed.done() and not work.done():
                raise EngineUnavailable("the engine was closed")
            return work.done()
        finally:
            for rival in rivals:
                rival.cancel()

    async def _sleep(self, seconds: float) -> object:
        return await self._machine.sleep(seconds)

    async def _meet(
        self, call: str, bound: float, begin: Callable[[], Work | None] | None = None
    ) -> Failure | None:
        """Suffer the faults that are on: raise, or return the error that an action is to end with."""
        if self._closed.is_set():
            raise EngineUnavailable(f"{call}: the engine was closed")
        for faults in (self._shared, self.faults):
            if faults.down:
                raise EngineUnavailable(f"{call}: cannot connect to the simulated engine")
            failure = faults.take_failure(call)
            if failure is not None:
                if begin is None:
                    raise failure.error()
                return failure
            late = faults.hung.get(call)
            if late is not None:
                await self._hang(call, bound, faults, late, begin)
        return None

    async def _hang(
        self, call: str, bound: float, faults: Faults, late: Late, begin: Callable[[], Work | None] | None
    ) -> None:
        if begin is not None and late is Late.NOW:
            _carry_out(begin)
        elif begin is not None and late is Late.AFTER:
            faults.owe(lambda: _carry_out(begin))
        release = asyncio.ensure_future(faults.released())
        try:
            in_time = await self._in_time(release, bound)
        finally:
            release.cancel()
        if begin is not None and in_time:
            raise EngineUnavailable(f"{call}: the connection broke before an answer came")
        if not in_time:
            kind = EngineUnavailable if begin is None else EngineBusy
            raise kind(f"{call}: no answer from the engine in time")


def _carry_out(begin: Callable[[], Work | None]) -> None:
    """Do what is owed; an error has nobody to go to."""
    with contextlib.suppress(EngineError):
        begin()


class _Stream:
    """Events on their way to one reader; it behaves as the real adapter's reader does."""

    def __init__(self, machine: Machine, faults: tuple[Faults, Faults]) -> None:
        self.box = Mailbox()
        self._machine = machine
        self._faults = faults
        self._heard = machine.events.last
        self._silences = [
            machine.events.listen(self._hear),
            *(fault.listen(self._notice) for fault in faults),
        ]
        self._broken = True
        self._connect()

    def close(self) -> None:
        """Hear no more."""
        for silence in self._silences:
            silence()
        self.box.end()

    def _hear(self, event: Event) -> None:
        shared, own = self._faults
        if shared.active or own.active:
            if shared.losing or own.losing:
                self._heard = event.number
            if shared.stalled or own.stalled:
                return
        if self._broken:
            return
        if self._heard == event.number - 1:
            self._take(event)
        else:
            self._catch_up()

    def _notice(self, change: Change) -> None:
        if change is not Change.RECOVERED:
            self._broken = True
        self._connect()

    def _connect(self) -> None:
        if any(fault.down or fault.stalled for fault in self._faults):
            return
        if self._broken:
            self._broken = False
            self.box.put(EngineConnected())
        self._catch_up()

    def _catch_up(self) -> None:
        for event in self._machine.events.after(self._heard):
            self._take(event)

    def _take(self, event: Event) -> None:
        self._heard = event.number
        action, labels = event.action, event.labels
        if action not in NOISE and labels.get("pointsman.enable") == "true":
            code = int(event.attributes["exitCode"]) if action == "die" else None
            self.box.put(EngineHint(event.container_id, event.name, action, event.time_ns, labels, code))
