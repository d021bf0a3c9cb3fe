"""Learn that commands settle, by listening: one subscription for all waits of a publisher."""

import asyncio
from collections.abc import Iterable

import redis.exceptions as theirs

from contracts.codec import decode_receipt, event_from_json
from contracts.commands import is_stream_id
from contracts.errors import MalformedRecord, PointsmanError, RedisUnavailable, UnknownCommand
from contracts.events import CommandData, EventType
from contracts.keys import Keys
from contracts.receipts import Receipt
from publisher.calls import CLOSED, Calls
from wire.connection import LOST, Connector, pack
from wire.line import NOTHING, Line

#: How an event of ours begins its subject; an escaped quote inside a string does not look like this.
SUBJECT = b'"subject":"'
#: Seconds without a message, heartbeats among them, after which the connection is asked whether it lives.
SILENCE = 10.0
#: Tries to subscribe before those who wait for the first confirmation are told that Redis is not there.
TRIES = 4
LONGEST_PAUSE = 1.0
ENDS = frozenset({EventType.COMMAND_SETTLED.value, EventType.COMMAND_DEAD.value})

Waiter = asyncio.Future[Receipt]


class Settlements:
    """Hand settled receipts to those who expect them.

    The connection is made when the first one asks for `ready`, and comes back by itself when it is
    lost; then every receipt that is waited for is read again, because its event may have been missed.
    """

    def __init__(self, connect: Connector, keys: Keys, calls: Calls, timeout: float) -> None:
        self._connect = connect
        self._keys = keys
        self._calls = calls
        self._timeout = timeout
        self._waiting: dict[bytes, set[Waiter]] = {}
        self._confirmed: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._line: Line | None = None
        #: Something is to be done: the line is lost, an event may have been missed, or what was asked for came.
        self._stir = asyncio.Event()
        self._doubt = self._asked = False
        #: Whether nothing came since this was set.
        self._silent = True
        self._closed = False

    async def ready(self) -> None:
        """Return when events arrive here. Raises RedisUnavailable when a few tries did not bring them."""
        if self._closed:
            raise RedisUnavailable(words=CLOSED)
        if self._task is None or self._task.done():
            self._confirmed = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._listen(self._confirmed), name="pointsman publisher events")
        if self._confirmed is not None:
            await asyncio.shield(self._confirmed)

    def expect(self, command_id: str) -> Waiter:
        """Return a future of the settled receipt; give it back to `forget`."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(command_id.encode(), set()).add(waiter)
        return waiter

    def forget(self, command_id: str, waiter: Waiter) -> None:
        """Wait no more."""
        if not waiter.cancel() and not waiter.cancelled():
            waiter.exception()  # seen, also where the wait ran out in the same moment
        waiters = self._waiting.get(command_id.encode(), set())
        waiters.discard(waiter)
        if not waiters:
            self._waiting.pop(command_id.encode(), None)

    async def look(self, command_id: str) -> Receipt | None:
        """Read a receipt; None for an entry that no worker has seen yet. Raises UnknownCommand."""
        entry = None
        if is_stream_id(command_id):  # asked first: once the entry is gone, its receipt is there
            entry = self._calls.command("XRANGE", self._keys.commands, command_id, command_id)
        fields = await self._calls.command("HGETALL", self._keys.command(command_id)).future
        if fields:
            return decode_receipt(fields)
        if entry is not None and await entry.future:
            return None
        raise UnknownCommand(id=command_id)

    async def aclose(self) -> None:
        """Stop listening; who still waits is told so."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._confirmed is not None and not self._confirmed.done():  # the task had no turn yet
            _refuse(self._confirmed, CLOSED)
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(RedisUnavailable(words=CLOSED))

    async def _listen(self, confirmed: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        failures, began = 0, loop.time()
        try:
            while True:
                line = Line(self._connect, self._hear)
                try:
                    await self._subscribe(line)
                    failures = 0
                    if not confirmed.done():
                        confirmed.set_result(None)
                    await self._follow(line)
                except (*LOST, theirs.RedisError, PointsmanError) as error:
                    failures += 1
                    enough = failures >= TRIES or loop.time() - began >= 2 * self._timeout
                    if enough and not confirmed.done():
                        _refuse(confirmed, str(error) or "no answer in time")
                        return
                finally:
                    self._line = None
                    await line.close()
                await asyncio.sleep(min(LONGEST_PAUSE, 0.05 * 2 ** min(failures, 10)))
        finally:
            if not confirmed.done():
                _refuse(confirmed, CLOSED)

    async def _subscribe(self, line: Line) -> None:
        async with asyncio.timeout(self._timeout):
            await line.connect()
            self._line, self._doubt = line, True  # what settled while we were away is asked for
            self._stir.clear()
            line.lost.add_done_callback(lambda _: self._stir.set())
            line.send(pack("SUBSCRIBE", self._keys.events))
            await self._something(line)

    async def _follow(self, line: Line) -> None:
        """Raise when the line is lost; one that is silent too long must answer or counts as lost."""
        while True:
            if self._doubt:
                self._doubt = False
                await self._look_again(self._waiting)
            self._silent = True
            try:
                async with asyncio.timeout(SILENCE):
                    await self._stirred(line)
            except TimeoutError:
                if self._silent:
                    line.send(pack("PING"))
                    async with asyncio.timeout(self._timeout):
                        await self._something(line)

    async def _something(self, line: Line) -> None:
        """Wait until something comes. Raises what the line is lost for."""
        self._asked = True
        try:
            await self._stirred(line)
        finally:
            self._asked = False

    async def _stirred(self, line: Line) -> None:
        """Wait until something is to be done. Raises what the line is lost for."""
        await self._stir.wait()
        self._stir.clear()
        if line.lost.done():
            raise line.lost.result()

    def _hear(self, line: Line) -> None:
        while line is self._line and (message := line.pull()) is not NOTHING:
            self._silent = False
            if isinstance(message, Exception):
                line.end(message)
            elif message[0] == b"message":
                self._learn(message[2])
            if self._asked:
                self._stir.set()

    def _learn(self, data: bytes) -> None:
        """Settle what an event settles; nearly all events are passed over on their raw bytes."""
        if not self._waiting:
            return
        start = data.find(SUBJECT)
        if start >= 0:
            start += len(SUBJECT)
            subject = data[start : data.find(b'"', start)]
            if subject not in self._waiting and b"\\" not in subject:
                return
        try:
            event = event_from_json(data)
        except MalformedRecord:  # not from us, and no reason to miss anything: the receipt is the truth
            self._doubt = True
            self._stir.set()
            return
        if event.type in ENDS and isinstance(event.data, CommandData):
            self._settle(event.data.command)

    def _settle(self, receipt: Receipt) -> None:
        for waiter in self._waiting.get(receipt.id.encode(), ()):
            if not waiter.done():
                waiter.set_result(receipt)

    async def _look_again(self, command_ids: Iterable[bytes]) -> None:
        """Read the receipts of those commands in one go; one that is not there may still come."""
        reads = [self._calls.command("HGETALL", self._keys.command(i.decode())) for i in tuple(command_ids)]
        for fields in await asyncio.gather(*(read.future for read in reads)):
            if not fields:
                continue
            try:
                receipt = decode_receipt(fields)
            except MalformedRecord:  # whoever waits for it finds this out at the latest with the last look
                continue
            if receipt.settled:
                self._settle(receipt)


def _refuse(confirmed: asyncio.Future[None], words: str) -> None:
    confirmed.set_exception(RedisUnavailable(words=words))
    confirmed.exception()  # seen, also where nobody waits any more
