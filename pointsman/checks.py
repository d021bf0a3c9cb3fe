"""What must be so for a worker to serve, and what a person looks at when something seems wrong."""

import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis.exceptions as theirs
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contracts import CONTRACT_VERSION
from contracts.errors import PointsmanError
from contracts.events import EngineStatus, Meta, WorkerInfo
from contracts.times import parse_ms, to_ms
from pointsman.humane import age, count
from pointsman.pair import Pair
from worker.adapters.docker.engine import DockerEngine
from worker.ports import EngineError

PACKAGES = ("contracts", "publisher", "subscriber", "worker", "gateway", "pointsman")
LIBRARIES = ("redis", "msgspec", "aiodocker", "pydantic", "structlog")
FLOOR = (6, 2)
POLICY = "noeviction"
#: Share of maxmemory from which on it is worth a look.
FULL = 0.9
#: Seconds after which the oldest unsettled command is worth a look.
OLD = 60.0
#: Milliseconds that this machine's clock may be off Redis's.
OFF = 1000


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    status: Verdict
    message: str


class Fitness:
    """Looks at Redis, the engine and the room; no look changes anything."""

    def __init__(self, room: Pair, redis_url: str, engine: DockerEngine | None) -> None:
        self._room = room
        self._url = redis_url
        self._engine = engine

    async def worker(self) -> list[Check]:
        """Say whether a worker could serve the room from here."""
        found, reachable = await self._redis()
        engine, engine_id = await self._identify(Verdict.FAIL)
        found.append(engine)
        if reachable:
            try:
                meta = await self._room.subscriber.meta()
            except PointsmanError as error:
                return [*found, _check("room", Verdict.FAIL, error.message)]
            found.append(_binding(meta, engine_id, self._room.keys.room))
        return found

    async def doctor(self) -> list[Check]:
        """Look at everything."""
        found = [packages(), versions()]
        redis, reachable = await self._redis()
        found += redis
        engine, engine_id = await self._identify(Verdict.WARN)
        found.append(engine)
        if reachable:
            try:
                found += await self._look_at_the_room(engine_id)
            except PointsmanError as error:
                found.append(_check("room", Verdict.FAIL, error.message))
        return found

    async def _look_at_the_room(self, engine_id: str | None) -> list[Check]:
        subscriber = self._room.subscriber
        meta = await subscriber.meta()
        found = [_binding(meta, engine_id, self._room.keys.room), _served(meta)]
        workers = await subscriber.workers()
        found.append(_workers(workers))
        backlog = await subscriber.backlog()
        now = datetime.now(UTC)
        unsettled = count(backlog.commands, "unsettled command")
        waits = _seconds_since(backlog.oldest_at, now) > OLD
        if backlog.commands:
            unsettled += f", {backlog.unread} unread, the oldest added {age(backlog.oldest_at, now)}"
        found.append(_check("backlog", Verdict.WARN if waits else Verdict.OK, unsettled))
        letters = count(backlog.dead, "dead letter")
        hint = "; see `pointsman dlq list`" if backlog.dead else ""
        found.append(_check("dead", Verdict.WARN if backlog.dead else Verdict.OK, letters + hint))
        return found

    async def _redis(self) -> tuple[list[Check], bool]:
        """Ask Redis about itself; also say whether it answers."""
        where = without_password(self._url)
        client = Redis.from_url(
            self._url,
            decode_responses=True,
            protocol=2,
            socket_timeout=5,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with client:
                began = time.monotonic()
                seconds, micros = await client.time()
                took = (time.monotonic() - began) * 1000
                off = to_ms(datetime.now(UTC)) - (seconds * 1000 + micros // 1000)
                try:
                    info: dict[str, Any] = await client.info()
                except theirs.ResponseError:  # a user that may not ask
                    info = {}
        except (theirs.RedisError, OSError) as error:
            return [_check("redis", Verdict.FAIL, f"{where}: {error}")], False
        found = [_server(info, where, took), _policy(info), _persistence(info)]
        if info.get("maxmemory"):
            found.append(_memory(int(info["used_memory"]), int(info["maxmemory"])))
        if abs(off) > OFF:
            found.append(
                _check("clock", Verdict.WARN, f"this machine's clock is {off / 1000:+.1f} s off Redis's")
            )
        return found, True

    async def _identify(self, otherwise: Verdict) -> tuple[Check, str | None]:
        if self._engine is None:
            return _check("engine", otherwise, "its address is of no use"), None
        address = self._engine.endpoint.address
        try:
            engine_id = await self._engine.identify()
        except EngineError as error:
            hint = "" if otherwise is Verdict.FAIL else "; only workers need it"
            return _check("engine", otherwise, f"{address} gives no answer: {error}{hint}"), None
        return _check("engine", Verdict.OK, f"{address}, id {engine_id}"), engine_id


def packages(find: Callable[[str], Any] = importlib.util.find_spec) -> Check:
    """See that the packages, whose names are common words, are all ours and of one installation."""
    places: dict[str, str] = {}
    for name in PACKAGES:
        spec = find(name)
        if spec is None or not spec.submodule_search_locations:
            return _check("packages", Verdict.FAIL, f"package {name} is missing")
        places[name] = str(Path(next(iter(spec.submodule_search_locations))).resolve().parent)
    if len(set(places.values())) > 1:
        told = ", ".join(f"{name} from {place}" for name, place in places.items())
        return _check("packages", Verdict.FAIL, f"not of one place: {told}")
    return _check("packages", Verdict.OK, f"all from {places['pointsman']}")


def versions() -> Check:
    """Name the versions at work."""
    told = [
        f"pointsman {_version('pointsman')}",
        f"contract {CONTRACT_VERSION}",
        f"Python {platform.python_version()}",
    ]
    told += [f"{name} {_version(name)}" for name in LIBRARIES]
    return _check("versions", Verdict.OK, ", ".join(told))


def worst(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict."""
    order = (Verdict.OK, Verdict.WARN, Verdict.FAIL)
    return max((check.status for check in checks), key=order.index, default=Verdict.OK)


def without_password(url: str) -> str:
    """Return a URL that can be shown."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{place}"))


def _check(name: str, status: Verdict, message: str) -> Check:
    return Check(name=name, status=status, message=message)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _server(info: dict[str, Any], where: str, took: float) -> Check:
    said = str(info.get("redis_version", ""))
    if not said:
        return _check(
            "redis", Verdict.WARN, f"{where} answers, but tells nothing of itself (no right to INFO)"
        )
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    if numbers < FLOOR:
        return _check("redis", Verdict.FAIL, f"{where} is Redis {said}: 6.2 or newer is needed")
    if info.get("role") not in {None, "master"}:
        return _check("redis", Verdict.FAIL, f"{where} is a {info['role']}: name the primary")
    return _check("redis", Verdict.OK, f"{where}, Redis {said}, answers in {took:.1f} ms")


def _policy(info: dict[str, Any]) -> Check:
    said = info.get("maxmemory_policy")
    if said is None:
        return _check("policy", Verdict.WARN, f"maxmemory-policy is not told: it must be {POLICY}")
    if said != POLICY:
        return _check("policy", Verdict.FAIL, f"maxmemory-policy is {said}, which evicts: set it to {POLICY}")
    return _check("policy", Verdict.OK, f"maxmemory-policy is {POLICY}")


def _memory(used: int, limit: int) -> Check:
    told = f"{used / 2**20:,.0f} of {limit / 2**20:,.0f} MiB used"
    if used >= limit:
        return _check("memory", Verdict.FAIL, f"{told}: Redis refuses to write")
    return _check("memory", Verdict.WARN if used >= FULL * limit else Verdict.OK, told)


def _persistence(info: dict[str, Any]) -> Check:
    if info.get("aof_enabled") == 1:
        return _check("persistence", Verdict.OK, "the append-only file is on")
    return _check("persistence", Verdict.WARN, "no append-only file: a Redis that restarts forgets commands")


def _binding(meta: Meta, engine_id: str | None, room: str) -> Check:
    if meta.engine_id is None:
        return _check("binding", Verdict.OK, f"room '{room}' belongs to no engine yet")
    if engine_id is None:
        return _check(
            "binding", Verdict.WARN, f"room '{room}' belongs to engine {meta.engine_id}; ours is unknown"
        )
    if meta.engine_id != engine_id:
        return _check(
            "binding",
            Verdict.FAIL,
            f"room '{room}' belongs to engine {meta.engine_id}, this one is {engine_id}: "
            "use another room, or `worker run --adopt-engine` if the room has moved",
        )
    return _check("binding", Verdict.OK, f"room '{room}' belongs to this engine")


def _served(meta: Meta) -> Check:
    if meta.epoch is None:
        return _check("room", Verdict.WARN, "no worker has ever served this room")
    if meta.contract not in {None, CONTRACT_VERSION}:
        return _check(
            "room", Verdict.FAIL, f"the room speaks contract {meta.contract}, this program {CONTRACT_VERSION}"
        )
    if meta.engine_status == EngineStatus.UNAVAILABLE:
        return _check(
            "room", Verdict.FAIL, f"its engine is out of reach, last seen {meta.engine_seen_at or 'never'}"
        )
    return _check("room", Verdict.OK, f"epoch {meta.epoch}, revision {meta.revision}, its engine answers")


def _workers(workers: Sequence[WorkerInfo]) -> Check:
    if not workers:
        return _check("workers", Verdict.FAIL, "none is alive: commands wait until they expire")
    told = f"{count(len(workers), 'worker')} alive: " + ", ".join(
        f"{one.name} ({one.running or 0} of {one.capacity or '?'} busy)" for one in workers
    )
    blind = [one.name for one in workers if one.engine_status == EngineStatus.UNAVAILABLE]
    if blind:
        return _check("workers", Verdict.WARN, f"{told}; without its engine: {', '.join(blind)}")
    if len({one.version for one in workers}) > 1:
        return _check("workers", Verdict.WARN, f"{told}; they are of different versions")
    return _check("workers", Verdict.OK, told)


def _seconds_since(at: str | None, now: datetime) -> float:
    return 0.0 if at is None else (to_ms(now) - parse_ms(at)) / 1000
