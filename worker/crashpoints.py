"""Named points at which a process dies, freezes, waits or fails: there only when a test asks for them."""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: `<before|after>-<point>:<kill|stop|raise|sleep=SECONDS>[:n]`, several with commas: at the n-th time (1).
VARIABLE: Final = "POINTSMAN_TEST_CRASH"

#: Port -> method -> point. Whatever the call's outcome is; but a take that gives nothing is not one.
_INBOX: Final = {"take": "take", "await_take": "take"}
_LEDGER: Final = {
    "begin": "begin",
    "settle": "settle",
    "renew": "renew",
    "hand_back": "handback",
    "reconcile": "handback",
}
_ENGINE: Final = {"start": "call", "stop": "call", "restart": "call"}
_LOOKOUT: Final = {"look": "first-look", "look_again": "after-look"}
POINTS: Final = tuple(
    dict.fromkeys((*_INBOX.values(), *_LOOKOUT.values(), *_ENGINE.values(), *_LEDGER.values()))
)


class PointReached(Exception):
    """A test asked for a failure here."""


@dataclass(slots=True)
class _Crash:
    """What to do at one point, and how many more times it is passed by first."""

    point: str
    action: str
    passes: int

    async def reach(self) -> None:
        if self.passes > 0:
            self.passes -= 1
            return
        self.passes = -1
        match self.action.partition("="):
            case ("kill", _, _):
                os.kill(os.getpid(), signal.SIGKILL)
            case ("stop", _, _):
                os.kill(os.getpid(), signal.SIGSTOP)
            case ("sleep", _, seconds):
                await asyncio.sleep(float(seconds))
            case _:
                raise PointReached(self.point)


class CrashPoints:
    """The points that one test has asked for, each used once."""

    def __init__(self, text: str) -> None:
        self._crashes = [_read(item) for item in text.split(",")]

    async def reach(self, point: str) -> None:
        """Do what the test asked for at this point, if anything."""
        for crash in self._crashes:
            if crash.point == point and crash.passes >= 0:
                await crash.reach()

    def in_inbox(self, inbox: Any) -> Any:
        """Return the inbox with its points."""
        return _Pointed(inbox, _INBOX, self)

    def in_ledger(self, ledger: Any) -> Any:
        """Return the ledger with its points."""
        return _Pointed(ledger, _LEDGER, self)

    def in_engine(self, engine: Any) -> Any:
        """Return the engine with its points: those of the calls that change something."""
        return _Pointed(engine, _ENGINE, self)

    def in_lookout(self, lookout: Any) -> Any:
        """Return the lookout with its points."""
        return _Pointed(lookout, _LOOKOUT, self)


class _Pointed:
    """Another object, some of whose methods have a point before and one after."""

    def __init__(self, target: Any, points: Mapping[str, str], crashes: CrashPoints) -> None:
        self._target = target
        self._points = points
        self._crashes = crashes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        point = self._points.get(name)
        if point is None:
            return found

        async def pointed(*args: Any, **settings: Any) -> Any:
            if name != "await_take":  # it begins long before there is anything to take
                await self._crashes.reach(f"before-{point}")
            try:
                answer = await found(*args, **settings)
            except Exception:
                if point != "take":
                    await self._crashes.reach(f"after-{point}")
                raise
            if point != "take" or (answer is not None and answer.grants):
                await self._crashes.reach(f"after-{point}")
            return answer

        return pointed


def from_environment() -> CrashPoints | None:
    """Return the points that the environment asks for, or None. Raises ValueError for what is no point."""
    text = os.environ.get(VARIABLE)
    return CrashPoints(text) if text else None


def _read(item: str) -> _Crash:
    point, _, rest = item.partition(":")
    action, _, count = rest.partition(":")
    side, _, name = point.partition("-")
    if (
        side not in {"before", "after"}
        or name not in POINTS
        or action.partition("=")[0] not in {"kill", "stop", "raise", "sleep"}
    ):
        raise ValueError(f"{VARIABLE}: {item!r} is not <before|after>-<point>:<action>[:n]")
    return _Crash(point, action, int(count or 1) - 1)
