"""Wait for a condition with a bound, never for a time.

A condition is a callable without arguments, plain or async. It holds when it returns something true;
something false or an `AssertionError` means "not yet"; any other exception passes through.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.05


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, within: float = ..., what: str = ...) -> T: ...


@overload
async def eventually(condition: Callable[[], T], *, within: float = ..., what: str = ...) -> T: ...


async def eventually(
    condition: Callable[[], Any], *, within: float = 5.0, what: str = "the condition"
) -> Any:
    """Return what the condition returns as soon as that is true; fail after `within` seconds.

    A condition still being awaited when the time is up is cancelled.
    """
    wait = _Wait(within, what)
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    value = condition()
                    if isawaitable(value):
                        value = await value
                    if value:
                        return value
                    wait.saw(value)
                except AssertionError as error:
                    wait.saw(error)
                await asyncio.sleep(wait.pause())
    except TimeoutError as error:
        if wait.left() > 0:  # the condition's own
            raise
        raise wait.failure() from error


def eventually_sync(condition: Callable[[], T], *, within: float = 5.0, what: str = "the condition") -> T:
    """Do as `eventually` does, where there is no event loop."""
    wait = _Wait(within, what)
    while True:
        try:
            value = condition()
            if value:
                return value
            wait.saw(value)
        except AssertionError as error:
            wait.saw(error)
        if wait.left() <= 0:
            raise wait.failure()
        time.sleep(wait.pause())


async def holds(
    condition: Callable[[], object | Awaitable[object]], *, during: float, what: str = "the condition"
) -> None:
    """Fail as soon as the condition is false within the next `during` seconds: for "and nothing happens"."""
    wait = _Wait(during, what)
    while True:
        value = condition()
        if isawaitable(value):
            value = await value
        if not value:
            raise AssertionError(f"{what}: held for {wait.passed():.2f} s, then was {value!r}")
        if wait.left() <= 0:
            return
        await asyncio.sleep(wait.pause())


class _Wait:
    """One wait: its deadline, its growing pause, and what was seen last."""

    def __init__(self, within: float, what: str) -> None:
        self._within = within
        self._what = what
        self._began = time.monotonic()
        self._pause = FIRST_PAUSE
        self._looks = 0
        self._last: object = None

    def saw(self, value: object) -> None:
        self._looks += 1
        self._last = value

    def passed(self) -> float:
        return time.monotonic() - self._began

    def left(self) -> float:
        return self._within - self.passed()

    def pause(self) -> float:
        pause = min(self._pause, max(self.left(), 0.0))
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
        return pause

    def failure(self) -> AssertionError:
        if self._looks == 0:
            last = "the first look did not come back"
        elif isinstance(self._last, AssertionError):
            last = f"last look failed: {self._last}"
        else:
            last = f"last look: {self._last!r}"
        return AssertionError(f"{self._what}: not within {self._within:g} s ({self._looks} looks; {last})")
