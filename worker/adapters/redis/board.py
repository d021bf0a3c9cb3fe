"""The board: the observer's lease, and what it writes under it."""

import asyncio
import json
from collections.abc import Mapping, Sequence

import msgspec

from contracts.codec import decode_receipt, decode_snapshot, encode_snapshot
from contracts.errors import MalformedRecord
from contracts.events import Cause, CauseKind
from contracts.receipts import Receipt
from contracts.services import Snapshot
from worker.adapters.redis.inbox import read_state
from worker.adapters.redis.room import Room
from worker.adapters.redis.telling import body_of, rest_of, tell
from worker.core.delivery import Fenced, Held, ObserveAnswer, Outdated, Stale, Written
from worker.core.state import Memo, ServiceState, differences, memo_from_text, memo_to_text

#: What workers remember for each other after Redis lost it is kept this long, seconds.
RECALL_SECONDS = 120
_OBSERVATION = msgspec.json.encode(Cause(kind=CauseKind.OBSERVATION)).decode()
_HEALING = msgspec.json.encode(Cause(kind=CauseKind.SELF_HEAL)).decode()


class RedisBoard:
    """`worker.ports.Board` on Redis."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._token = ""

    async def claim(self, *, able: bool) -> bool:
        """See `observer.lua`. Raises RedisLost, RoomRefused."""
        room = self._room
        answer = await room.run(
            "observer", room.instance, room.token(), int(room.limits.lease * 1000), int(able)
        )
        if answer[0] != "mine":
            self._token = ""
            return False
        self._token = answer[1]
        room.clock.saw(int(answer[2]))
        return True

    async def ticket(self) -> int:
        """Draw a look's ticket."""
        return int(await self._room.link.command("INCR", self._room.keys.seq))

    async def names(self) -> list[str]:
        """Return the services that have a snapshot."""
        return sorted(await self._room.link.command("SMEMBERS", self._room.keys.services))

    async def states(self, names: Sequence[str]) -> list[ServiceState]:
        """Read snapshot, memo and version of each."""
        link, keys = self._room.link, self._room.keys

        async def read(name: str) -> ServiceState:
            flat, private = await asyncio.gather(
                link.command("HGETALL", keys.service(name)),
                link.command("HMGET", keys.state(name), "ver", "memo"),
            )
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
        heal: bool = False,
    ) -> ObserveAnswer:
        """See `observe.lua`. Raises RedisLost, RoomRefused."""
        room = self._room
        flat = differences(old.snapshot, new[0])
        cause = _HEALING if heal else _OBSERVATION
        told = tell(old.snapshot, new[0], flat, cause, always=republish)
        gone = rest_of([], new[0].status, cause) if exhausted else ""
        body = told.body or (body_of(new[0]) if exhausted else "")
        answer = await room.run(
            "observe",
            self._token,
            name,
            ticket,
            old.ver,
            memo_to_text(new[1]),
            told.kind,
            body,
            told.rest,
            gone,
            *flat,
        )
        match answer[0]:
            case "ok":
                await room.saw_head(room.epoch, int(answer[1]))
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
        """Say whether the engine answers; False when this is no longer the observer. Raises RedisLost, RoomRefused."""
        word = "available" if available else "unavailable"
        answer = await self._room.run("engine", self._token, word, engine_id)
        return bool(answer[0] == "ok")

    async def heartbeat(self) -> None:
        """Publish the room's heartbeat. Raises RedisLost, RoomRefused."""
        await self._room.run("heartbeat", self._token)

    async def relooks(self) -> list[str]:
        """Take the services whose commands settled since."""
        found: list[str] = await self._room.link.command("SPOP", self._room.keys.relook, 500)
        return found

    async def receipt(self, command_id: str) -> Receipt | None:
        """Read a receipt; None when there is none."""
        flat = await self._room.link.command("HGETALL", self._room.keys.command(command_id))
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

    async def remember(self, states: Mapping[str, ServiceState], *, first: bool) -> None:
        """Put down what this worker knows, for whoever observes the new epoch; `first` overrules what others put."""
        link, keys = self._room.link, self._room.keys
        command = "HSET" if first else "HSETNX"
        for name, state in states.items():
            if state.snapshot is not None:
                text = json.dumps(
                    {"snapshot": encode_snapshot(state.snapshot), "memo": memo_to_text(state.memo)}
                )
                await link.command(command, keys.recall, name, text)
        await link.command("EXPIRE", keys.recall, RECALL_SECONDS)

    async def recall(self) -> dict[str, ServiceState]:
        """Return what workers put down."""
        flat = await self._room.link.command("HGETALL", self._room.keys.recall)
        found: dict[str, ServiceState] = {}
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            try:
                held = json.loads(text)
                found[name] = ServiceState(decode_snapshot(held["snapshot"]), memo_from_text(held["memo"]))
            except (ValueError, KeyError, TypeError, MalformedRecord):
                continue
        return found


def _state(flat: list[str], ver: str, memo: str) -> ServiceState:
    try:
        return ServiceState(decode_snapshot(flat) if flat else None, memo_from_text(memo), ver)
    except MalformedRecord:
        return ServiceState(None, memo_from_text(memo), ver)
