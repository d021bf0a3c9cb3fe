"""A connection that redis-py made, taken over: bytes go to its transport, and answers are pulled as they come."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse, RedisError

from wire.pump import Pump

#: What `pull` returns while no answer is there whole.
NOTHING: Final = object()


class Line(asyncio.Protocol):
    """One connection. redis-py makes it (address, TLS, access, database) and ends it; what is between is done here.

    Its own way to an answer leads through a stream, a parser and five coroutines, which is much of what a program
    that slept does before it acts on one. `heard` is called when answers may be there; `lost` gets the reason
    when no more will come, while those that came can still be pulled. Text in answers is bytes, or str where
    `encoding` says how to read it.
    """

    def __init__(
        self, connect: Callable[[], Any], heard: Callable[["Line"], None], *, encoding: str | None = None
    ) -> None:
        self._connection = connect()
        self._heard = heard
        self._reader: Any = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            encoding=encoding,
            errors="replace",
            notEnoughData=NOTHING,
        )
        self._transport: Any = None
        self._resting: asyncio.TimerHandle | None = None
        self._mute = False
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        """Connect. Raises redis's errors, OSError."""
        await self._connection.connect()
        # All that was asked for on the way here has been answered, so nothing is left behind in the stream.
        self._transport = self._connection._writer.transport  # noqa: SLF001 -- there is no other way to it
        if hasattr(self._transport, "set_protocol"):
            self._transport.set_protocol(self)
        else:
            self._transport = self._reader = Pump(self._connection, self, NOTHING)

    async def close(self) -> None:
        """Close the connection at once, whatever the server does."""
        if self._transport is not None:
            self._transport.abort()  # over TLS to close it would mean to wait for the server's word
        with suppress(RedisError, OSError, TimeoutError):
            await self._connection.disconnect(nowait=True)

    def send(self, data: bytes) -> None:
        """Send commands that are packed already."""
        self._transport.write(data)

    def pull(self) -> Any:
        """Return the next answer, an error as an exception; NOTHING where none is there whole."""
        if self._mute:
            return NOTHING
        try:
            return self._reader.gets()
        except InvalidResponse as error:
            self.end(error)
            return NOTHING

    def rest(self, seconds: float) -> None:
        """Leave what comes unread until `attend`, at most for so long: who sleeps leaves the core to others."""
        if self._resting is None:
            self._transport.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(seconds, self.attend)

    def attend(self) -> None:
        """Rest no more."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
            self._transport.resume_reading()

    def end(self, error: Exception) -> None:
        """Give no more answers; `lost` gets this reason unless there is one."""
        self._mute = True
        self._lose(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._reader.feed(data)
        self._heard(self)

    def answers_came(self) -> None:
        """Say that there is something to pull."""
        self._heard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._lose(ConnectionLost(str(exc or "the server closed the connection")))

    def eof_received(self) -> None:
        """See asyncio.Protocol: the transport closes itself."""
        self.connection_lost(None)

    def _lose(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(error)
