"""The engine's event stream, kept alive: aiodocker's own never comes back once it has ended."""

import asyncio
import logging
import random
import time
from collections import deque
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import msgspec

from worker.adapters.docker.connection import Connection
from worker.adapters.docker.errors import mapped
from worker.adapters.docker.mapping import to_hint
from worker.adapters.docker.timing import Timing
from worker.adapters.mailbox import Mailbox
from worker.core.container import EngineConnected
from worker.ports import EngineError, EngineUnavailable

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000_000
#: Events are stamped before they are sent, and two may be sent in the other order.
_OVERLAP: Final = _SECOND
#: The engine keeps 256 events for those who come back; so many are remembered to know them again.
_REMEMBERED: Final = 1024
_FILTERS: Final = '{"type":["container"],"label":["pointsman.enable=true"]}'


class EventReader:
    """Read events into a mailbox until cancelled, whatever happens to engine and connection.

    `EngineConnected` comes after every connect that follows a break. Events since the last one are asked
    for again, and known ones are dropped, so a break loses nothing that the engine still has.
    """

    def __init__(self, connection: Connection, timing: Timing, box: Mailbox) -> None:
        self._connection = connection
        self._timing = timing
        self._box = box
        self._since: int | None = None
        self._seen: set[tuple[int, str, str]] = set()
        self._order: deque[tuple[int, str, str]] = deque()
        self._broken = True

    async def run(self) -> None:
        """Follow the stream for ever, with a growing pause between attempts that fail."""
        pause = self._timing.backoff_first
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except EngineError as error:
                self._broken = True
                _log.info("event stream broken: %s", error, extra={"action": "engine_events_broken"})
            else:
                continue  # renewed, not broken
            if time.monotonic() - began > self._timing.backoff_most:
                pause = self._timing.backoff_first
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret
            pause = min(pause * 2, self._timing.backoff_most)

    async def _follow(self) -> None:
        """Connect and read; return when a silent stream is due for renewal, raise when it is broken."""
        if self._since is None:
            self._since = await self._engine_time()
        params = {"since": f"{self._since // _SECOND}.{self._since % _SECOND:09d}", "filters": _FILTERS}
        async with self._connection.get("/events", params) as response:
            if self._broken:
                self._broken = False
                self._box.put(EngineConnected())
            last_heard = time.monotonic()
            lines = _Lines(response)
            while True:
                try:
                    async with asyncio.timeout(self._timing.idle):
                        line = await lines.next()
                except TimeoutError:
                    await self._connection.ping()
                    if time.monotonic() - last_heard >= self._timing.renew:
                        return
                    continue
                last_heard = time.monotonic()
                self._hear(line)

    async def _engine_time(self) -> int:
        """Return the engine's own clock in nanoseconds, never later than now.

        The stream's headers are sent before the engine subscribes us, so even the first connect must say
        from when on it wants to hear.
        """
        date = await self._connection.ping()
        try:
            return int(parsedate_to_datetime(date).timestamp()) * _SECOND
        except ValueError:
            return time.time_ns() - _OVERLAP

    def _hear(self, line: bytes) -> None:
        try:
            event: Any = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            _log.warning("unreadable event: %s", error, extra={"action": "engine_event_unreadable"})
            return
        hint = to_hint(event) if isinstance(event, dict) else None
        if hint is None:
            return
        self._since = max(self._since or 0, hint.time_ns - _OVERLAP)
        key = (hint.time_ns, hint.container_id, hint.action)
        if key in self._seen:
            return
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft())
        self._box.put(hint)


class _Lines:
    """Cut a stream into lines of any length; a wait may be cancelled without loss."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._lines: deque[bytes] = deque()
        self._rest = b""

    async def next(self) -> bytes:
        while not self._lines:
            with mapped("events", late=EngineUnavailable):
                chunk = await self._read()
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(line for line in whole if line.strip())
        return self._lines.popleft()

    async def _read(self) -> bytes:
        chunk = await self._response.content.readany()
        if not chunk:
            raise EngineUnavailable("events: the engine ended the stream")
        return chunk
