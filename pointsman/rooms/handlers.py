"""Handlers of a room's events: each for itself, so that one that fails or dawdles disturbs nobody."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

#: Takes the event; what it returns is awaited if it can be.
Handler = Callable[[Any], Awaitable[object] | object]

#: Events that may wait for one slow handler; beyond it the oldest are dropped.
MOST_WAITING = 10_000

_log = logging.getLogger("pointsman.room")


class _Hearing:
    """One handler with its own queue and task: its events come one after the other, in order."""

    def __init__(self, name: str, handler: Handler) -> None:
        self.handler = handler
        self._name = name
        self._waiting: asyncio.Queue[Any] = asyncio.Queue(MOST_WAITING)
        self._task = asyncio.create_task(self._run(), name=f"pointsman room handler {name}")

    def push(self, event: Any) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
            _log.error("a handler of %s is too slow: an event was dropped", self._name)
        self._waiting.put_nowait(event)

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def cancel(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                result = self.handler(event)
                if isawaitable(result):
                    await result
            except Exception:  # noqa: BLE001 -- whatever a handler raises is its own, and told
                _log.exception("a handler of %s failed; the others and its next events go on", self._name)


class Handlers:
    """Who hears what; `*` hears everything."""

    def __init__(self) -> None:
        self._hearings: dict[str, list[_Hearing]] = {}

    def on(self, name: str, handler: Handler) -> None:
        """Let a handler hear the events of a name."""
        self._hearings.setdefault(name, []).append(_Hearing(name, handler))

    def off(self, name: str, handler: Handler) -> None:
        """Let it hear them no more; what waits for it is dropped."""
        for hearing in self._hearings.get(name, ()):
            if hearing.handler == handler:
                hearing.cancel()
        self._hearings[name] = [one for one in self._hearings.get(name, ()) if one.handler != handler]

    def emit(self, name: str, event: Any) -> None:
        """Hand an event to those who hear its name."""
        for hearing in (*self._hearings.get(name, ()), *self._hearings.get("*", ())):
            hearing.push(event)

    async def aclose(self) -> None:
        """End all."""
        await asyncio.gather(*(one.aclose() for some in self._hearings.values() for one in some))
        self._hearings.clear()
