"""What must be so before a worker serves: a room on a Redis that keeps what it is given, and the room's own engine."""

from typing import NamedTuple

from worker.adapters.redis.link import Link
from worker.adapters.redis.refusals import explain_refusal
from worker.adapters.redis.room import Room
from worker.ports import Engine, EngineError, RedisLost


class Unfit(Exception):
    """The worker cannot serve: Redis, its settings or the engine forbid it; the text says what to do."""


class EngineMismatch(Unfit):
    """The room belongs to another engine."""


class EngineFound(NamedTuple):
    """The engine that a room belongs to, and whether it answers."""

    id: str
    answers: bool


async def find_room(link: Link, room: Room) -> None:
    """Wait for Redis, and for the room on it to be one. Raises RedisLost, Unfit."""
    try:
        await link.ready()
    except RedisLost as error:
        if link.refusal is None:
            raise
        raise Unfit(explain_refusal(link.refusal, room.keys.room)) from error


async def refuse_eviction(room: Room) -> None:
    """Raise Unfit where Redis may evict what it was given."""
    policy = await room.memory_policy()
    if policy is not None and policy != "noeviction":
        raise Unfit(
            f"Redis has maxmemory-policy {policy}, under which it may evict commands and receipts: "
            "set `maxmemory-policy noeviction`"
        )


async def bind_engine(room: Room, engine: Engine, *, adopt: bool) -> EngineFound:
    """Bind the room to this engine; one that does not answer is taken for the room's. Raises Unfit, EngineMismatch."""
    try:
        engine_id = await engine.identify()
    except EngineError as error:
        known = await room.engine_id()
        if known is None:
            raise Unfit(f"the engine does not answer, and the room knows none yet: {error}") from error
        return EngineFound(known, answers=False)
    bound = await room.bind_engine(engine_id, adopt=adopt)
    if bound != engine_id:
        raise EngineMismatch(
            f"room '{room.keys.room}' belongs to engine {bound}, this worker's engine is {engine_id}: "
            "use another room, or --adopt-engine if the room has moved"
        )
    return EngineFound(engine_id, answers=True)
