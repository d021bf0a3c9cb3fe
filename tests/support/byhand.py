"""A worker made by hand: what the contract says a worker leaves behind, without lanes, leases and engine.

For tests of those who publish and read: nothing here depends on how workers do it.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import redis.asyncio
from msgspec.structs import replace

from contracts.codec import (
    decode_command,
    decode_receipt,
    decode_snapshot,
    encode_dead,
    encode_receipt,
    encode_snapshot,
    event_to_json,
)
from contracts.errors import InvalidCommand
from contracts.events import (
    CommandData,
    DeadKind,
    DeadLetter,
    EventData,
    EventType,
    HeartbeatData,
    ServiceData,
    event_of,
)
from contracts.keys import GROUP, Keys
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import ServiceStatus, Snapshot
from contracts.times import format_ms

WINDOW_MS = 86_400_000
_S = ReceiptStatus

#: KEYS 1 meta 2 changes 3 the hash that changes  ARGV 1 revision 2 channel 3 event 4.. field, value
#: Writes nothing and answers 0 when that revision is taken; without fields the hash is deleted.
_WRITE = """
if redis.call('HGET', KEYS[1], 'revision') ~= tostring(ARGV[1] - 1) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1])
redis.call('DEL', KEYS[3])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('XADD', KEYS[2], ARGV[1] .. '-0', 'event', ARGV[3])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
"""


class HandWorker:
    """Serve one room step by step. `client` answers in text."""

    def __init__(self, client: "redis.asyncio.Redis", keys: Keys, name: str = "w1") -> None:
        self.client: Any = client
        self.keys = keys
        self.name = name
        self._epochs = itertools.count(1)

    async def now(self) -> int:
        """Return the ms of Redis TIME."""
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def open(self) -> str:
        """Make a new epoch and return it; the revision goes on."""
        epoch = f"{await self.now():013}-{next(self._epochs):08x}"
        await self.client.hset(self.keys.meta, mapping={"contract": "1", "epoch": epoch})
        await self.client.hsetnx(self.keys.meta, "revision", "0")
        if not await self.client.exists(self.keys.commands):
            await self.client.xgroup_create(self.keys.commands, GROUP, "0", mkstream=True)
        return epoch

    async def beat(self, **fields: object) -> None:
        """Say that this worker is alive."""
        if fields:
            await self.client.hset(self.keys.worker(self.name), mapping=fields)
        await self.client.zadd(self.keys.workers, {self.name: await self.now()})

    async def heartbeat(self) -> None:
        """Tell the channel how far the room is."""
        epoch, revision = await self.client.hmget(self.keys.meta, "epoch", "revision")
        event = event_of(
            EventType.ROOM_HEARTBEAT,
            HeartbeatData(),
            room=self.keys.room,
            epoch=epoch,
            revision=int(revision),
            time=format_ms(await self.now()),
        )
        await self.client.publish(self.keys.events, event_to_json(event))

    async def take(self) -> list[Receipt]:
        """Read the new entries and return their receipts; what is malformed ends dead."""
        reply = await self.client.xreadgroup(GROUP, self.name, {self.keys.commands: ">"}, count=10_000)
        receipts = []
        for entry, fields in reply[0][1] if reply else ():
            receipt = await self._accept(entry, fields)
            if receipt is not None:
                receipts.append(receipt)
        return receipts

    async def begin(self, receipt: Receipt) -> Receipt:
        """Begin a command: the first attempt."""
        begun = replace(receipt, status=ReceiptStatus.RUNNING, attempt=1, worker=self.name)
        await self._write(
            EventType.COMMAND_STARTED,
            receipt.id,
            self.keys.command(receipt.id),
            lambda _: (CommandData(command=begun), encode_receipt(begun)),
        )
        return begun

    async def settle(
        self,
        receipt: Receipt,
        status: ReceiptStatus = ReceiptStatus.SUCCEEDED,
        code: int = 200,
        **fields: Any,
    ) -> Receipt:
        """Settle a command, with its one event, and remove its entry."""
        fields = {"attempt": 1, "worker": self.name, "finished_at": format_ms(await self.now())} | fields
        settled = replace(receipt, status=status, code=code, **fields)
        dead = status is ReceiptStatus.DEAD
        revision = await self._write(
            EventType.COMMAND_DEAD if dead else EventType.COMMAND_SETTLED,
            receipt.id,
            self.keys.command(receipt.id),
            lambda number: (
                CommandData(command=replace(settled, revision=number)),
                encode_receipt(replace(settled, revision=number)),
            ),
        )
        await self.client.pexpire(self.keys.command(receipt.id), WINDOW_MS)
        await self.client.xack(self.keys.commands, GROUP, receipt.entry)
        await self.client.xdel(self.keys.commands, receipt.entry)
        return replace(settled, revision=revision)

    async def work(self) -> list[str]:
        """Take all there is and let it succeed; return the ids."""
        return [(await self.settle(receipt)).id for receipt in await self.take()]

    async def observe(self, name: str, status: str = "running", *, heard: bool = True, **fields: Any) -> int:
        """Write a snapshot and its event; return the revision. Not `heard`: the channel does not carry it."""
        known = await self.client.hgetall(self.keys.service(name))
        snapshot = Snapshot(name=name, status=ServiceStatus(status), **fields)

        def write(number: int) -> tuple[EventData, Mapping[str, str]]:
            written = replace(snapshot, revision=number)
            return ServiceData(service=written, changed=("status",)), encode_snapshot(written)

        await self.client.sadd(self.keys.services, name)
        kind = EventType.SERVICE_CHANGED if known else EventType.SERVICE_DISCOVERED
        return await self._write(kind, name, self.keys.service(name), write, heard=heard)

    async def remove(self, name: str) -> int:
        """Remove a snapshot, with its event; return the revision."""
        snapshot = decode_snapshot(await self.client.hgetall(self.keys.service(name)))
        await self.client.srem(self.keys.services, name)
        return await self._write(
            EventType.SERVICE_REMOVED,
            name,
            self.keys.service(name),
            lambda number: (ServiceData(service=replace(snapshot, revision=number)), {}),
        )

    async def _accept(self, entry: str, fields: Mapping[str, str]) -> Receipt | None:
        try:
            command = decode_command(fields)
        except InvalidCommand as error:
            letter = DeadLetter(
                dead_id="",
                kind=DeadKind.MALFORMED,
                entry=entry,
                error=error.code,
                detail=error.message,
                body=json.dumps(fields),
            )
            await self.client.xadd(self.keys.dead, encode_dead(letter))
            refused = Receipt(id=entry, entry=entry, status=ReceiptStatus.QUEUED, duplicates=0)
            await self.settle(refused, ReceiptStatus.DEAD, 400, error=error.code, message=error.message)
            return None
        known = await self.client.hgetall(self.keys.command(command.id or entry))
        if known:
            return decode_receipt(known)
        receipt = Receipt(
            id=command.id or entry,
            entry=entry,
            status=ReceiptStatus.QUEUED,
            action=command.action,
            service=command.service,
            duplicates=0,
        )
        await self.client.hset(self.keys.command(receipt.id), mapping=encode_receipt(receipt))
        return receipt

    async def _write(
        self,
        kind: EventType,
        subject: str,
        key: str,
        make: Callable[[int], tuple[EventData, Mapping[str, str]]],
        *,
        heard: bool = True,
    ) -> int:
        """Write a hash and its event under the next revision, in one step."""
        while True:
            epoch, revision = await self.client.hmget(self.keys.meta, "epoch", "revision")
            number = int(revision) + 1
            data, fields = make(number)
            event = event_of(
                kind,
                data,
                room=self.keys.room,
                epoch=epoch,
                revision=number,
                time=format_ms(await self.now()),
                subject=subject,
            )
            flat = [text for pair in fields.items() for text in pair]
            names = (self.keys.meta, self.keys.changes, key)
            channel = self.keys.events if heard else f"{self.keys.events}:unheard"
            if await self.client.eval(_WRITE, 3, *names, number, channel, event_to_json(event), *flat):
                return number
