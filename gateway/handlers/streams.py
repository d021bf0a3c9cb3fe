"""Server-sent events: the room's events as they happen, from where the reader was."""

import asyncio
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.errors import PointsmanError
from gateway.calls import Call
from gateway.desk import Desk
from gateway.handlers.services import known_form
from gateway.lines import Line, line_of
from gateway.problems import Problem
from gateway.readers import Reader

#: What a browser waits before it comes back, in ms.
RETRY = b"retry: 1000\n\n"
#: What the kernel may hold for a reader, beside what waits here.
KERNEL_BYTES = 131_072
#: Seconds that a client has to take the rest of a stream that ends.
LAST_MOMENT = 1.0
_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx hands on what comes, when it comes
}


class Streams:
    """The open streams, counted in all and by caller."""

    def __init__(self, most: int, most_per_caller: int) -> None:
        self._most = most
        self._most_per_caller = most_per_caller
        self._callers: dict[str, int] = {}

    @property
    def open(self) -> int:
        """Return how many are open."""
        return sum(self._callers.values())

    def enter(self, caller: str) -> None:
        """Count one more. Raises 429 for a caller with too many, 503 where there are too many in all."""
        if self._callers.get(caller, 0) >= self._most_per_caller:
            raise Problem(
                429,
                "too_many_streams",
                f"Close a stream first: a caller may have {self._most_per_caller} open",
                headers={"retry-after": "5"},
            )
        if self.open >= self._most:
            raise Problem(503, "too_many_streams", "Too many streams are open", headers={"retry-after": "5"})
        self._callers[caller] = self._callers.get(caller, 0) + 1

    def leave(self, caller: str) -> None:
        """Count one less."""
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]


async def stream_events(call: Call) -> Response:
    """Answer with the events of the room."""
    return await _stream(call, None)


async def stream_service_events(call: Call) -> Response:
    """Answer with the events of one service and its commands."""
    return await _stream(call, known_form(call.path("name")))


async def _stream(call: Call, name: str | None) -> Response:
    call.caller.need_list(call.room)
    snapshots = call.flag("snapshots")
    reader = Reader(
        None if name is None else [name],
        most_events=call.settings.stream_events,
        most_bytes=call.settings.stream_bytes,
        snapshots=snapshots and name is None,
    )
    desk = call.desk
    desk.hub.start()
    await desk.hub.ready(2 * call.settings.redis_timeout)
    streams: Streams = call.request.app.state.streams
    last_id = call.request.headers.get("last-event-id") or call.query("last_event_id")
    streams.enter(call.caller.key)
    desk.start_beats()
    return EventStream(reader, desk, streams, call, last_id or None)


class EventStream(Response):
    """The answer that does not end by itself."""

    media_type = "text/event-stream"

    def __init__(self, reader: Reader, desk: Desk, streams: Streams, call: Call, last_id: str | None) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers(_HEADERS)
        self._reader = reader
        self._last_id = last_id
        self._desk = desk
        self._streams = streams
        self._caller = call.caller
        self._log = call.log
        self._later: asyncio.TimerHandle | None = None
        desk.users += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes until the client goes, is cut, or the token expires."""
        reader = self._reader
        line = line_of(scope)
        if line is not None:
            line.narrow(KERNEL_BYTES)
            reader.on_cut = line.cut
            reader.on_end = lambda: self._cut_later(line)
        gone = asyncio.create_task(self._watch(receive), name="pointsman stream watch")
        try:
            headers = [(k, v) for k, v in self.raw_headers if k != b"content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] == "HEAD":
                return
            await send({"type": "http.response.body", "body": RETRY, "more_body": True})
            async for piece in self._desk.hub.admit(reader, self._last_id):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if reader.ended:
                    return
            while chunk := await reader.take():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if self._caller.expires is not None and time.time() >= self._caller.expires:
                    break
            if reader.cut:
                self._log.warning(
                    "reader_cut", "A slow reader was cut; it may come back", caller=self._caller.key
                )
        except PointsmanError as error:
            self._log.warning("stream_ended", "A reader could not be brought up to date", error=error.message)
        finally:
            gone.cancel()
            self._desk.hub.leave(reader)
            self._desk.users -= 1
            self._streams.leave(self._caller.key)
            if self._later is not None:
                self._later.cancel()
            if not reader.cut:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _cut_later(self, line: Line) -> None:
        """Give the client a moment to take the rest."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(LAST_MOMENT, line.cut)

    async def _watch(self, receive: Receive) -> None:
        """End the stream when the client goes."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reader.end()
