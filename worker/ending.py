"""The end of tasks, for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

#: A task that is still there after this long is cancelled again, seconds.
AGAIN = 0.5


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, however they end.

    One cancellation may not do: Python 3.11's `wait_for`, which libraries stand on, loses one that comes just
    as its work is done, and a role that goes on for ever then would hold up the end of the worker.
    """
    ending = list(tasks)
    while left := {task for task in ending if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN)
    for task in ending:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain
