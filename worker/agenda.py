"""Which services are to be looked at, and when: first what something has named, then what a survey found."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worker.core.discovery import Found
from worker.core.look import Look
from worker.ports import Clock

#: Services looked at at once; so many of them by a survey, which leaves room for what events name.
AT_ONCE, SURVEYED_AT_ONCE = 12, 8
#: A service whose lane is held is looked at again after this long, seconds, should its settlement go unheard.
HELD = 1.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a survey's list says of a service, and the ticket drawn before that list."""

    ticket: int
    found: Found | Look


class Agenda:
    """The looks to come. `kick` is set whenever there may be something to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._surveyed: deque[tuple[str, Surveyed]] = deque()
        self._busy: set[str] = set()
        #: Services whose lane a command holds: nothing is written of them before it settles.
        self.held: set[str] = set()
        self.kick = asyncio.Event()

    def look_soon(self, names: Iterable[str], after: float = 0.0) -> None:
        """Ask for a look at some services, `after` seconds from now."""
        at = self._clock.boot() + after
        for name in names:
            self._due[name] = min(at, self._due.get(name, at))
        self.kick.set()

    def hold(self, name: str) -> None:
        """Leave a service to the command that holds its lane, for a while."""
        self.held.add(name)
        if name not in self._due:
            self.look_soon([name], after=HELD)

    def survey(self, found: Iterable[tuple[str, Surveyed]]) -> None:
        """Put what a survey found in the place of what an earlier one did."""
        self._surveyed.clear()
        self._surveyed.extend(found)

    def clear(self) -> None:
        """Forget what was to be looked at."""
        self._due.clear()
        self._surveyed.clear()
        self.held.clear()

    def begin(self, now: float) -> Iterator[tuple[str, Surveyed | None]]:
        """Yield what is to be looked at now, no more at once than may be; `end` each."""
        for name in [name for name, at in self._due.items() if at <= now and name not in self._busy]:
            if len(self._busy) >= AT_ONCE:
                return
            del self._due[name]
            self._busy.add(name)
            yield name, None
        while self._surveyed and len(self._busy) < SURVEYED_AT_ONCE:
            name, surveyed = self._surveyed.popleft()
            if name in self._busy:
                self.look_soon([name])
            else:
                self._busy.add(name)
                yield name, surveyed

    def end(self, name: str) -> None:
        """Take note that a look has ended."""
        self._busy.discard(name)
        self.kick.set()

    def next_due(self) -> float | None:
        """Return when the next look may begin, seconds of CLOCK_BOOTTIME; None where only an end can tell."""
        if len(self._busy) >= AT_ONCE:
            return None
        return min((at for name, at in self._due.items() if name not in self._busy), default=None)
