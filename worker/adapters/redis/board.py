"""The board: the observer's lease, and what it writes under it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from contracts.codec import decode_receipt, decode_snapshot, encode_snapshot, snapshot_body
from contracts.errors import MalformedRecord
from contracts.events import Cause, CauseKind
from contracts.receipts import Receipt
from contracts.services import Snapshot
from worker.adapters.redis.hearing import Hearing
from worker.adapters.redis.inbox import read_state
from worker.adapters.redis.joined import Arg
from worker.adapters.redis.room import Room
from worker.adapters.redis.telling import rest_of, tell
from worker.core.delivery import Claim, Fenced, Held, ObserveAnswer, Outdated, Stale, Written
from worker.core.state import Memo, ServiceState, differences, memo_from_text, memo_to_text, split
from worker.ports import RoomRefused

#: What workers remember for each other after Redis lost it is kept this long, seconds.
RECALL_SECONDS = 120
_OBSERVATION = msgspec.json.encode(Cause(kind=CauseKind.OBSERVATION)).decode()


class RedisBoard:
    """`worker.ports.Board` on Redis."""

    def __init__(self, room: Room, url: str) -> None:
        self._room = room
        self._token = ""
        self._hearing = Hearing(url, room.keys.relook, room.limits.idle)

    async def claim(self, *, able: bool, restored: str = "") -> Claim:
        """See `observer.lua`. Raises RedisLost, RoomRefused."""
        room = self._room
        answer = await room.run(
            "observer", room.instance, room.token(), int(room.limits.lease * 1000), int(able), restored
        )
        if answer[0] != "mine":
            self._token = ""
            return Claim(mine=False, wait=int(answer[1]) / 1000)
        room.clock.saw(int(answer[2]))
        if self._token != answer[1]:
            # From here on, before anything is looked at: what settles later is heard.
            last = await self._command("XREVRANGE", room.keys.relook, "+", "-", "COUNT", 1)
            self._hearing.begin_at(last[0][0] if last else "0-0")
        self._token = answer[1]
        return Claim(mine=True, restore=answer[3] == "1")

    async def settled(self, seconds: float) -> list[str]:
        """Wait until commands settle; return their services."""
        return await self._hearing.services(seconds)

    async def close(self) -> None:
        """Close the connection of its own."""
        await self._hearing.close()

    async def _command(self, *args: Arg) -> Any:
        """Send one command. Raises RedisLost, RoomRefused (a key of a wrong type)."""
        try:
            return await self._room.link.command(*args)
        except ResponseError as error:
            raise RoomRefused(str(error)) from error

    async def ticket(self) -> int:
        """Draw a look's ticket."""
        return int(await self._command("INCR", self._room.keys.seq))

    async def names(self) -> list[str]:
        """Return the services that have a snapshot."""
        return sorted(await self._command("SMEMBERS", self._room.keys.services))

    async def states(self, names: Sequence[str]) -> list[ServiceState]:
        """Read snapshot, memo and version of each; one whose keys are of a wrong type is unknown."""
        keys = self._room.keys

        async def read(name: str) -> ServiceState:
            try:
                flat, private = await asyncio.gather(
                    self._command("HGETALL", keys.service(name)),
                    self._command("HMGET", keys.state(name), "ver", "memo"),
                )
            except RoomRefused:
                return ServiceState(None, Memo())
            return _state(flat, private[0] or "0", private[1] or "")

        return list(await asyncio.gather(*map(read, names)))

    async def observe(
        self,
        name: str,
        ticket: int,
        old: ServiceState,
        new: tuple[Snapshot, Memo],
        *,
        exhausted: bool = False,
        republish: bool = False,
    ) -> ObserveAnswer:
        """See `observe.lua`. Raises RedisLost, RoomRefused."""
        room = self._room
        flat = differences(old.snapshot, new[0])
        sets, drops = split(flat)
        told = tell(old.snapshot, new[0], flat, _OBSERVATION, always=republish)
        gone = rest_of([], new[0].status, _OBSERVATION) if exhausted else ""
        body = told.body or (snapshot_body(new[0]) if exhausted else b"")
        memo = memo_to_text(new[1])
        answer = await room.run(
            "observe",
            self._token,
            name,
            ticket,
            old.ver,
            memo,
            told.kind,
            body,
            told.rest,
            gone,
            len(sets),
            *sets,
            *drops,
        )
        match answer[0]:
            case "ok":
                await room.saw_head(room.epoch, int(answer[1]))
                room.known.keep(name, ServiceState(*new, answer[2]), memo)
                return Written(answer[2])
            case "held":
                return Held()
            case "old":
                return Outdated()
            case "stale":
                return Stale(read_state(answer[1], answer[2], answer[3]))
            case _:
                return Fenced()

    async def remove(self, name: str, ver: str) -> bool:
        """See `remove.lua`. Raises RedisLost, RoomRefused."""
        answer = await self._room.run("remove", self._token, name, ver, _OBSERVATION)
        return bool(answer[0] == "ok")

    async def engine(self, *, available: bool, engine_id: str = "") -> bool:
        """Say whether the engine answers; False when this is no longer the observer."""
        word = "available" if available else "unavailable"
        answer = await self._room.run("engine", self._token, word, engine_id)
        return bool(answer[0] == "ok")

    async def heartbeat(self) -> None:
        """Publish the room's heartbeat. Raises RedisLost, RoomRefused."""
        await self._room.run("heartbeat", self._token)

    async def receipt(self, command_id: str) -> Receipt | None:
        """Read a receipt; None when there is none."""
        flat = await self._command("HGETALL", self._room.keys.command(command_id))
        try:
            return decode_receipt(flat) if flat else None
        except MalformedRecord:
            return None

    async def heal(self, service: str, due: str, ttl: float, fields: Mapping[str, str]) -> str:
        """Publish a due heal; see `heal.lua` for the words answered. Raises RedisLost, RoomRefused."""
        flat = [item for pair in fields.items() for item in pair]
        answer = await self._room.run("heal", service, due, int(ttl * 1000), *flat)
        return str(answer[0])

    async def bury_lost(self) -> list[str]:
        """End commands whose entry vanished unread; see `lost.lua`. Raises RedisLost, RoomRefused."""
        buried: list[str] = []
        after = "0"
        while after:
            answer = await self._room.run("lost", int(self._room.limits.window * 1000), after, 500)
            after = answer[0]
            buried += answer[1:]
        return buried

    async def whole(self) -> bool:
        """Say whether every snapshot has been published in the present epoch."""
        keys = self._room.keys
        epoch, restored = await asyncio.gather(
            self._command("HGET", keys.meta, "epoch"), self._command("HGET", keys.observer, "restored")
        )
        return epoch is not None and epoch == restored

    async def rouse(self) -> None:
        """Wake the other workers."""
        await self._command("XADD", self._room.keys.wake, "MAXLEN", 1, "*", "w", "1")

    async def remember(self, states: Mapping[str, ServiceState], *, first: bool) -> None:
        """Put down what this worker knows, for the observer of a new epoch; `first` overrules the others."""
        recall = self._room.keys.recall
        command = "HSET" if first else "HSETNX"

        async def put(name: str, snapshot: Snapshot, state: ServiceState) -> None:
            held = {"snapshot": encode_snapshot(snapshot), "memo": memo_to_text(state.memo), "ver": state.ver}
            await self._command(command, recall, name, json.dumps(held))

        known = [(name, state.snapshot, state) for name, state in states.items()]
        await asyncio.gather(*(put(name, one, state) for name, one, state in known if one is not None))
        await self._command("EXPIRE", recall, RECALL_SECONDS)

    async def recall(self) -> dict[str, ServiceState]:
        """Return what workers put down."""
        flat = await self._command("HGETALL", self._room.keys.recall)
        found: dict[str, ServiceState] = {}
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            try:
                held = json.loads(text)
                found[name] = ServiceState(
                    decode_snapshot(held["snapshot"]), memo_from_text(held["memo"]), str(held["ver"])
                )
            except (ValueError, KeyError, TypeError, MalformedRecord):
                continue
        return found


def _state(flat: list[str], ver: str, memo: str) -> ServiceState:
    try:
        return ServiceState(decode_snapshot(flat) if flat else None, memo_from_text(memo), ver)
    except MalformedRecord:
        return ServiceState(None, memo_from_text(memo), ver)
