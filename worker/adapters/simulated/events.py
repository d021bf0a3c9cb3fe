"""What happened in a simulated engine: events for listeners, effects for whoever counts them."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Final, NamedTuple

from msgspec import Struct

#: As many as Docker keeps for those who come back with `since`.
KEPT_EVENTS: Final = 256


class Effect(NamedTuple):
    """A process that ended (`die`) or began (`start`)."""

    container_id: str
    kind: str
    time_ns: int


class Overlap(NamedTuple):
    """An action that was asked for while another one was at work on the same container."""

    container_id: str
    running: str
    asked: str
    time_ns: int


class Event(Struct, frozen=True):
    """One engine event; `number` grows by one."""

    number: int
    container_id: str
    name: str
    image: str
    labels: Mapping[str, str]
    action: str
    time_ns: int
    attributes: Mapping[str, str]


Listener = Callable[[Event], None]


class EventLog:
    """Number events, keep the newest, tell the listeners."""

    def __init__(self) -> None:
        self.last = 0
        self._kept: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._told: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; return how to stop that."""
        self._told = (*self._told, listener)

        def silence() -> None:
            self._told = tuple(one for one in self._told if one != listener)

        return silence

    def add(self, event: Event) -> None:
        """Keep it and tell everyone."""
        self._kept.append(event)
        for listener in self._told:
            listener(event)

    def after(self, number: int) -> list[Event]:
        """Return the kept events above `number`, oldest first."""
        newest_first: Iterator[Event] = takewhile(lambda event: event.number > number, reversed(self._kept))
        return list(newest_first)[::-1]

    def since(self, time_ns: int) -> list[Event]:
        """Return the kept events from that time on, oldest first."""
        return [event for event in self._kept if event.time_ns >= time_ns]
