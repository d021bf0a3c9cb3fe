"""One request for many callers who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from worker.ports import EngineError, EngineUnavailable

T = TypeVar("T")


class Shared(Generic[T]):
    """Answer callers from a request that was sent after each of them asked.

    A request under way is too old for a newcomer: what he did before asking may not be in it. So at most
    one request runs and one more waits for it to end, however many ask; a caller who gives up takes
    nothing from the others.
    """

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._running: asyncio.Task[T | EngineError] | None = None
        self._next: asyncio.Task[T | EngineError] | None = None

    async def get(self) -> T:
        """Return the answer of a request sent from now on. Raises what the request raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._turn(self._running))
        turn = self._next
        try:
            outcome = await asyncio.shield(turn)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if turn.cancelled() and not (me and me.cancelling()):
                raise EngineUnavailable("the engine was closed") from None
            raise
        if isinstance(outcome, EngineError):
            raise outcome.with_traceback(None)
        return outcome

    async def close(self) -> None:
        """Drop what is under way; whoever waits for it gets `EngineUnavailable`."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _turn(self, before: asyncio.Task[T | EngineError] | None) -> T | EngineError:
        try:
            if before is not None:
                await asyncio.wait({before})
            self._running, self._next = self._next, None
            return await self._fetch()
        except EngineError as error:  # returned, so that nobody has to be there to hear it
            return error
        finally:
            me = asyncio.current_task()
            if self._running is me:
                self._running = None
            if self._next is me:
                self._next = None
