"""Read a room: its services, commands, workers and dead letters; follow its events."""

from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from contracts.codec import decode_dead, decode_meta, decode_receipt, decode_worker, event_from_json
from contracts.commands import is_command_id, is_service_name, is_stream_id
from contracts.errors import MalformedRecord, RedisUnavailable, ServiceNotFound, UnknownCommand
from contracts.events import DeadLetter, Event, Meta, WorkerInfo
from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM, EVENT_FIELD, Keys
from contracts.receipts import Receipt
from contracts.services import Snapshot
from subscriber.channel import Channel
from subscriber.commands import Backlog, read_backlog, read_commands, read_receipts
from subscriber.reads import Reads
from subscriber.snapshots import read_snapshots
from subscriber.watching import Watch
from wire.connection import Source, connector, pack

DEFAULT_URL = "redis://localhost:6379/0"


class Subscriber:
    """Read one room; use it as `async with Subscriber(url) as subscriber`.

    `redis` is a URL or a `redis.asyncio.Redis`, whose address and credentials are taken. `alive`:
    seconds within which a worker must have beaten to count. `timeout`: seconds without progress after
    which Redis counts as lost. `silence`: seconds without an event or heartbeat after which a watch
    looks whether it missed something. `patience`: seconds that a watch endures without Redis, None for
    no end.

    Connections are made when they are needed. All methods raise RedisUnavailable when Redis does not
    answer after a bounded number of tries, and MalformedRecord for what the contract does not allow.
    """

    def __init__(
        self,
        redis: Source = DEFAULT_URL,
        *,
        room: str = DEFAULT_ROOM,
        prefix: str = DEFAULT_PREFIX,
        alive: float = 10.0,
        timeout: float = 5.0,
        silence: float = 12.0,
        patience: float | None = None,
    ) -> None:
        self.keys = Keys(room, prefix)
        self._alive = alive
        self._timeout = timeout
        self._silence = silence
        self._patience = patience
        self._connect = connector(redis)
        self._reads = Reads(self._connect, timeout)
        self._watches: set[Watch] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and end every watch."""
        while self._watches:
            await self._watches.pop().aclose()
        await self._reads.aclose()

    async def list(self, category: str | None = None) -> Sequence[Snapshot]:
        """Return the snapshots in the order of their names, all or of one category."""
        snapshots = await read_snapshots(self._reads, self.keys)
        return [s for s in snapshots.values() if category is None or s.category == category]

    async def get(self, name: str) -> Snapshot:
        """Return one service's snapshot. Raises ServiceNotFound."""
        found = await read_snapshots(self._reads, self.keys, [name]) if is_service_name(name) else {}
        if name not in found:
            raise ServiceNotFound(service=name)
        return found[name]

    async def receipt(self, command_id: str) -> Receipt:
        """Return the receipt of a command. Raises UnknownCommand."""
        if is_command_id(command_id) or is_stream_id(command_id):
            (fields,) = await self._reads.read(pack("HGETALL", self.keys.command(command_id)))
            if fields:
                return decode_receipt(fields)
        raise UnknownCommand(id=command_id)

    async def receipts(self, command_ids: Iterable[str]) -> dict[str, Receipt]:
        """Return the receipts that are there, by id."""
        return await read_receipts(self._reads, self.keys, command_ids)

    async def commands(self, limit: int = 50) -> Sequence[Receipt]:
        """Return the receipts of up to `limit` commands, the newest entry first.

        Unsettled ones are found in the stream, settled ones in the events of late: of a busy room's
        settled commands only the latest are shown, and of those that wait coalesced none.
        """
        return await read_commands(self._reads, self.keys, limit)

    async def meta(self) -> Meta:
        """Return the room's own state; everything is absent where no worker has served it."""
        (fields,) = await self._reads.read(pack("HGETALL", self.keys.meta))
        return decode_meta(fields)

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers that are alive by the clock of Redis, by name."""
        (seconds, micros), beats = await self._reads.read(
            pack("TIME"), pack("ZRANGE", self.keys.workers, 0, -1, "WITHSCORES")
        )
        oldest = int(seconds) * 1000 + int(micros) // 1000 - self._alive * 1000
        pairs = zip(beats[::2], beats[1::2], strict=True)
        names = sorted(name.decode() for name, beat in pairs if float(beat) > oldest)
        replies = await self._reads.read(*(pack("HGETALL", self.keys.worker(name)) for name in names))
        return [decode_worker(name, fields) for name, fields in zip(names, replies, strict=True)]

    async def dead(self, count: int = 100) -> Sequence[DeadLetter]:
        """Return the newest `count` dead letters, newest first."""
        (entries,) = await self._reads.read(pack("XREVRANGE", self.keys.dead, "+", "-", "COUNT", count))
        return [decode_dead(dead_id.decode(), fields) for dead_id, fields in entries]

    async def changes(self, after: int = 0, count: int = 100) -> Sequence[Event]:
        """Return up to `count` kept events with revisions above `after`, oldest first.

        About the newest 100,000 are kept: the first that is returned may be later than `after` + 1.
        """
        (entries,) = await self._reads.read(
            pack("XRANGE", self.keys.changes, f"{after + 1}-0", "+", "COUNT", count)
        )
        return [_event(fields) for _, fields in entries]

    async def latest_changes(self, count: int = 100) -> Sequence[Event]:
        """Return the newest `count` events, oldest first."""
        (entries,) = await self._reads.read(pack("XREVRANGE", self.keys.changes, "+", "-", "COUNT", count))
        return [_event(fields) for _, fields in reversed(entries)]

    async def backlog(self) -> Backlog:
        """Count the commands that are not settled, and the dead letters."""
        return await read_backlog(self._reads, self.keys)

    def watch(
        self,
        names: Collection[str] | None = None,
        types: Collection[str] | None = None,
        *,
        on_link: Callable[[str | None], None] = lambda _: None,
    ) -> Watch:
        """Follow the room: `async for item in subscriber.watch()` gives a `Reset`, then `Change`s.

        `names`: only these services and their commands. `types`: only events of these types. `on_link`
        is called with the error's words once Redis is away, and with None once it is back. Each watch has
        a connection of its own.
        """
        if self._reads.closed:
            raise RedisUnavailable(words="this client was closed")
        channel = Channel(
            self._connect,
            self.keys.events,
            timeout=self._timeout,
            silence=self._silence,
            patience=self._patience,
            on_link=on_link,
        )
        watch = Watch(self._reads, self.keys, channel, names, types, self._watches.discard)
        self._watches.add(watch)
        return watch


def _event(fields: Sequence[bytes]) -> Event:
    text = dict(zip(fields[::2], fields[1::2], strict=True)).get(EVENT_FIELD.encode())
    if text is None:
        raise MalformedRecord("an entry of changes has no event")
    return event_from_json(text)
