"""Two awaitables at once, where the first often need not wait at all."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


@types.coroutine
def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> Generator[Any, Any, tuple[A, B]]:
    """Await both and return both results; the second is a task only while the first has to wait.

    `asyncio.gather` makes two tasks and takes five turns of the loop also where neither waits. Raises what
    either raises, the first before the second; the second is cancelled then, and upon a cancellation.
    """
    try:
        waits_for = first.send(None)
    except StopIteration as ended:
        return ended.value, (yield from second)
    except BaseException:
        second.close()
        raise
    beside = asyncio.ensure_future(second)
    try:
        result = yield from _rest(first, waits_for)
        return result, (yield from beside)
    except BaseException:
        beside.cancel()
        beside.add_done_callback(_look_at)
        raise


def _rest(begun: Coroutine[Any, Any, A], waits_for: Any) -> Generator[Any, Any, A]:
    """Go on with a coroutine that has waited once: what `yield from` does, from the second step on."""
    step: Callable[[Any], Any]
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 -- it is the coroutine's
            step, given = begun.throw, error
        else:
            step, given = begun.send, sent
        try:
            waits_for = step(given)
        except StopIteration as ended:
            result: A = ended.value
            return result


def _look_at(task: "asyncio.Future[Any]") -> None:
    """Take note of an error that nobody waits for, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()
