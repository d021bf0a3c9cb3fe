"""What can go wrong between a caller and a simulated engine, turned on and off by whoever tests."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.ports import EngineError, EngineFailed, EngineUnavailable

#: Every call there is; `events` is the stream.
CALLS: Final = frozenset({"identify", "list", "inspect", "start", "stop", "restart", "ping", "events"})


class Late(StrEnum):
    """What becomes of an action that is asked for while the engine hangs."""

    NEVER = "never"  # it is dropped
    NOW = "now"  # it is done, only the answer does not come
    AFTER = "after"  # it is done when the engine recovers, whether or not somebody still waits


class Change(StrEnum):
    """What listeners are told of."""

    BROKEN = "broken"  # streams end and connections break
    CUT = "cut"  # streams end
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Failure:
    """One error answer; status 0 breaks the connection instead. `effect`: the action happens all the same."""

    status: int
    message: str
    effect: bool

    def error(self) -> EngineError:
        """Return what the caller gets."""
        if self.status == 0:
            return EngineUnavailable(self.message)
        return EngineFailed(self.message, self.status)


class Faults:
    """The faults that are on. `active` is False when there are none, so that the usual path is short."""

    def __init__(self) -> None:
        self.active = False
        self.down = False
        self.losing = False
        self.stalled = False
        self.hung: dict[str, Late] = {}
        self._failures: dict[str, deque[Failure]] = defaultdict(deque)
        self._released = asyncio.Event()
        self._owed: list[Callable[[], object]] = []
        self._listeners: dict[Callable[[Change], None], None] = {}

    def outage(self) -> None:
        """Let no call through and break the event streams, until `recover`."""
        self.down = self.active = True
        self._tell(Change.BROKEN)

    def hang(self, *calls: str, late: str = Late.NEVER) -> None:
        """Accept calls (all, or the named ones) and answer none, until `recover`; see `Late` for actions."""
        unknown = set(calls) - CALLS
        if unknown:
            raise ValueError(f"no such calls: {sorted(unknown)}")
        self.hung.update(dict.fromkeys(calls or CALLS, Late(late)))
        self.stalled = self.stalled or "events" in self.hung
        self.active = True

    def fail_next(
        self, call: str, status: int = 500, message: str = "boom", *, effect: bool = False, times: int = 1
    ) -> None:
        """Answer the next `times` such calls with an error; status 0 breaks the connection instead."""
        if call not in CALLS:
            raise ValueError(f"no such call: {call}")
        self._failures[call].extend([Failure(status, message, effect)] * times)
        self.active = True

    def lose_events(self) -> None:
        """Let no event be heard, nor replayed later, until `recover`."""
        self.losing = self.active = True

    def stall_events(self) -> None:
        """Keep event streams open and silent, until `recover`."""
        self.stalled = self.active = True

    def cut_events(self) -> None:
        """End the event streams that are open; they may come back at once."""
        self._tell(Change.CUT)

    def recover(self) -> None:
        """Turn everything off; what hung is let go, and what is owed (`Late.AFTER`) is done."""
        self.active = self.down = self.losing = self.stalled = False
        self.hung.clear()
        self._failures.clear()
        released, self._released = self._released, asyncio.Event()
        released.set()
        owed, self._owed = self._owed, []
        for work in owed:
            work()
        self._tell(Change.RECOVERED)

    def take_failure(self, call: str) -> Failure | None:
        """Return the error that this call is to meet, once."""
        waiting = self._failures.get(call)
        if not waiting:
            return None
        failure = waiting.popleft()
        self.active = bool(
            self.down or self.losing or self.stalled or self.hung or any(self._failures.values())
        )
        return failure

    def owe(self, work: Callable[[], object]) -> None:
        """Do it upon recovery."""
        self._owed.append(work)

    async def released(self) -> None:
        """Wait until the engine no longer hangs."""
        await self._released.wait()

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` upon each change that open streams notice; return how to stop that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)
