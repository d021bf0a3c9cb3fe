"""Calls in flight, gathered into batches over one connection."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import redis.exceptions as theirs

from contracts.errors import PointsmanError, RedisUnavailable
from contracts.scripts import Script
from wire.connection import LOST, PAUSES, Connector, pack, told_by
from wire.line import NOTHING
from wire.line import Line as RedisLine

#: The server is there, but another may serve us in its place.
ELSEWHERE = (theirs.ReadOnlyError, theirs.BusyLoadingError, theirs.MasterDownError)
#: Calls in one batch: enough to be quick, few enough to leave Redis to others in between.
BATCH = 256
#: A connection that was quiet for so many seconds is looked at before it is written to.
QUIET = 1.0
#: Seconds for which the reply to a patient call is left unread. What a command brings about takes longer as a rule,
#: and a producer that wakes for a reply meanwhile takes the core from whoever brings it about.
PATIENCE = 0.005
CLOSED = "this client was closed"


class Line(Protocol):
    """What is used of a connection; see `wire.line.Line`."""

    lost: "asyncio.Future[Exception]"

    async def connect(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Close it at once."""

    def send(self, data: bytes) -> None:
        """Send commands."""

    def pull(self) -> Any:
        """Return the next answer, or NOTHING."""

    def rest(self, seconds: float) -> None:
        """Leave answers unread for a while."""

    def attend(self) -> None:
        """Rest no more."""

    def end(self, error: Exception) -> None:
        """Give no more answers."""


MakeLine = Callable[[Connector, Callable[[Any], None]], Line]


class Call:
    """One command or script call on its way; `tries` tells how often it was sent."""

    __slots__ = ("_short", "future", "patient", "repeatable", "script", "tries", "whole", "words")

    def __init__(
        self,
        *words: bytes | str | int,
        script: Script | None = None,
        repeatable: bool = True,
        patient: bool = False,
    ) -> None:
        self.words = words
        self.script = script
        self.repeatable = repeatable
        self.patient = patient
        self.tries = 0
        #: Whether the script's text goes along, which lets Redis know it from then on.
        self.whole = False
        # Packed here, so that a word that cannot be is its caller's fault alone.
        self._short = pack(*words) if script is None else pack("EVALSHA", script.sha, 1, *words)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def data(self) -> bytes:
        """Return what is sent."""
        if self.script is None or not self.whole:
            return self._short
        return pack("EVAL", self.script.text, 1, *self.words)

    def answer(self, value: Any) -> None:
        """Hand the reply to whoever still waits for it."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: PointsmanError) -> None:
        """Hand the error to whoever still waits."""
        if not self.future.done():
            self.future.set_exception(error)


class Calls:
    """Send calls in the order in which they come, many at a time when many are in flight.

    While one batch is in flight the next gathers. `timeout` is seconds for one exchange. A call that may
    be repeated is, at most `len(PAUSES)` times and for at most twice the timeout.
    """

    def __init__(self, connect: Connector, timeout: float, line: MakeLine = RedisLine) -> None:
        self._connector = connect
        self._make_line = line
        self._timeout = timeout
        self._queue: deque[Call] = deque()
        self._flight: deque[Call] = deque()
        #: Of the batch in flight: calls whose script Redis does not know, and whether another server is to be asked.
        self._missing: list[Call] = []
        self._elsewhere = False
        self._bound: asyncio.TimerHandle | None = None
        #: The connection; one that broke and is to be closed; and who sees to both.
        self._line: Line | None = None
        self._broken: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._since = self._used = 0.0
        self._closed = False

    def command(self, *arguments: bytes | str | int) -> Call:
        """Send a command that may be repeated; await the call's `future`."""
        return self._submit(Call(*arguments))

    def script(
        self, script: Script, key: str, *arguments: str | int, repeatable: bool = True, patient: bool = False
    ) -> Call:
        """Call a script with one key; await the call's `future`. `patient`: its reply may wait, see PATIENCE."""
        return self._submit(Call(key, *arguments, script=script, repeatable=repeatable, patient=patient))

    def attend(self) -> None:
        """Read replies at once: somebody wants one now."""
        if self._line is not None:
            self._line.attend()

    async def aclose(self) -> None:
        """Stop; what is in flight fails."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        line, self._line = self._line, None
        self._end_batch()
        self._fail_all(CLOSED)
        for one in (line, self._broken):
            if one is not None:
                await one.close()
        await asyncio.sleep(0)  # lets the transport say goodbye

    def _submit(self, call: Call) -> Call:
        if self._closed:
            raise RedisUnavailable(words=CLOSED)
        self._queue.append(call)
        if self._flight:
            self.attend()
        elif self._task is None:
            line, quiet = self._line, asyncio.get_running_loop().time() - self._used
            if line is None or line.lost.done() or quiet > QUIET:
                self._see_to_line()
            else:
                self._send(line)
        return call

    def _send(self, line: Line) -> None:
        """Send what has gathered, but what was given up meanwhile."""
        batch: list[Call] = []
        while self._queue and len(batch) < BATCH:
            call = self._queue.popleft()
            if not call.future.done():
                call.tries += 1
                batch.append(call)
        if not batch:
            self._failures = 0  # of calls that nobody waits for any more
            return
        line.send(b"".join([call.data() for call in batch]))
        self._flight.extend(batch)
        loop = asyncio.get_running_loop()
        if not self._failures:
            self._since = loop.time()
        self._bound = loop.call_later(self._timeout, line.end, theirs.TimeoutError("no answer in time"))
        if not self._queue and all(call.patient for call in batch):
            line.rest(PATIENCE)

    def _hear(self, line: Line) -> None:
        """Hand out replies."""
        while line is self._line and (answer := line.pull()) is not NOTHING:
            if isinstance(answer, LOST):  # a server that loads its data says so in place of an answer
                self._drop(line, answer)
            elif not self._flight:
                self._drop(line, theirs.InvalidResponse("Redis answered what nobody asked"))
            else:
                self._take(self._flight.popleft(), answer)
                if not self._flight:
                    self._go_on(line)

    def _take(self, call: Call, answer: Any) -> None:
        if isinstance(answer, theirs.NoScriptError) and call.script is not None and not call.whole:
            self._missing.append(call)
        elif isinstance(answer, theirs.ResponseError):
            call.fail(told_by(answer))
            self._elsewhere = self._elsewhere or points_elsewhere(answer)
        else:
            call.answer(answer)

    def _go_on(self, line: Line) -> None:
        """After a batch: first repeat the calls whose script Redis did not know, then send what has gathered."""
        missing, elsewhere = self._missing, self._elsewhere
        self._end_batch()
        self._failures, self._used = 0, asyncio.get_running_loop().time()
        told: set[Script | None] = set()
        for call in missing:
            call.whole = call.script not in told  # one of them tells Redis the text
            told.add(call.script)
        self._queue.extendleft(reversed(missing))
        if elsewhere:
            self._drop(line, theirs.ReadOnlyError("another server may serve us"))
        elif self._queue:
            self._send(line)

    def _end_batch(self) -> None:
        if self._bound is not None:
            self._bound.cancel()
            self._bound = None
        self._missing, self._elsewhere = [], False

    def _lost(self, reason: "asyncio.Future[Exception]") -> None:
        if self._line is not None and self._line.lost is reason:
            self._drop(self._line, reason.result())

    def _drop(self, line: Line, error: Exception) -> None:
        """Use a connection no more. What is in flight and may be repeated comes first on the next."""
        words = str(error) or "the connection broke"
        unanswered = [*self._missing, *self._flight]
        self._line, self._broken = None, line
        for call in self._flight:
            if not call.repeatable:
                call.fail(RedisUnavailable(words=words))
        self._queue.extendleft(reversed(unanswered))
        self._flight.clear()
        self._end_batch()
        if unanswered:
            self._count_failure(words)
        self._see_to_line()

    def _count_failure(self, words: str) -> None:
        """Give up after a number of them: all that waits is told, for it would meet the same."""
        self._failures += 1
        waited = asyncio.get_running_loop().time() - self._since
        if self._failures > len(PAUSES) or waited >= 2 * self._timeout:
            self._fail_all(words)

    def _fail_all(self, words: str, *, plain: bool = False) -> None:
        self._failures = 0
        for call in (*self._flight, *self._queue):
            call.fail(RedisUnavailable(words) if plain else RedisUnavailable(words=words))
        self._flight.clear()
        self._queue.clear()

    def _see_to_line(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._have_line(), name="pointsman publisher connects")

    async def _have_line(self) -> None:
        """Close what broke; have a live connection, and send, where something is to be sent."""
        try:
            if self._line is not None:
                # It was quiet for long: two turns of the loop tell whether the server closed it.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            broken, self._broken = self._broken, None
            if broken is not None:
                await broken.close()
            while self._queue and self._line is None:
                self._line = await self._connect()
        except BaseException as error:
            self._fail_all(CLOSED if self._closed else repr(error))
            raise
        finally:
            self._task = None
        line = self._line
        if line is not None and not line.lost.done():  # else its loss is about to be seen to
            self._send(line)

    async def _connect(self) -> Line | None:
        """Return a new connection, None where the try failed."""
        if self._failures:
            await asyncio.sleep(PAUSES[self._failures - 1])
        else:
            self._since = asyncio.get_running_loop().time()
        line = self._make_line(self._connector, self._hear)
        connected = False
        try:
            async with asyncio.timeout(self._timeout):
                await line.connect()
            connected = True
        except LOST as error:
            self._count_failure(str(error) or "no answer in time")
        except theirs.RedisError as error:  # refused before any call: access, database, protocol
            self._fail_all(f"Redis refuses: {error}", plain=True)
        finally:
            if not connected:
                await line.close()
        if not connected:
            return None
        line.lost.add_done_callback(self._lost)
        return line


def points_elsewhere(error: theirs.ResponseError) -> bool:
    """Tell whether another server may serve us, as when a leader became a replica."""
    return isinstance(error, ELSEWHERE) or "-READONLY" in str(error)  # so 6.2 tells of a script
