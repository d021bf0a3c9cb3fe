"""Signals on their way from whoever hears the engine to the one who follows them."""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from worker.core.container import EngineConnected, EngineSignal

#: So many unread hints are more than a new list: they give way to one "list everything".
MOST_UNREAD = 10_000


class Mailbox:
    """Hold signals for one reader; putting never waits, because an engine skips a slow listener silently."""

    def __init__(self, most: int = MOST_UNREAD) -> None:
        self._most = most
        self._signals: deque[EngineSignal] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    def put(self, signal: EngineSignal) -> None:
        """Leave a signal; when too many are unread they are replaced by one `EngineConnected`."""
        if self._ended:
            return
        if len(self._signals) >= self._most:
            self._signals.clear()
            signal = EngineConnected()
        self._signals.append(signal)
        if not self._wake.is_set():
            self._wake.set()

    def end(self, error: BaseException | None = None) -> None:
        """Let the reader stop at once, with what is unread dropped; `error` is raised there."""
        self._ended = True
        self._error = error
        self._signals.clear()
        self._wake.set()

    async def get(self) -> EngineSignal:
        """Wait for the next signal; raise `StopAsyncIteration` after the end. Cancelling loses nothing."""
        while not self._signals:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._signals.popleft()


class Signals:
    """The reader's end: iterate, stop waiting and go on later, drop it or `aclose` it when done.

    `hang_up` is called once, when the reader closes or is forgotten; it must not keep a reference to it.
    `task` fills the box and is awaited upon close.
    """

    def __init__(
        self, box: Mailbox, hang_up: Callable[[], object], task: "asyncio.Task[None] | None" = None
    ) -> None:
        self._box = box
        self._task = task
        self._finalizer = weakref.finalize(self, hang_up)
        self._finalizer.atexit = False

    def __aiter__(self) -> "Signals":
        return self

    def __anext__(self) -> Coroutine[Any, Any, EngineSignal]:
        return self._box.get()

    async def aclose(self) -> None:
        """Stop listening; whoever waits for a signal is let go."""
        self._box.end()
        self._finalizer()
        if self._task is not None:
            await asyncio.wait({self._task})
