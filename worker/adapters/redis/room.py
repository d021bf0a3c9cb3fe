"""One room's scripts over one link: epochs, presence, and how refusals are told."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import OutOfMemoryError, ResponseError

from contracts.keys import GROUP, Keys
from contracts.scripts import Script, load
from worker.adapters.redis.joined import Arg, Joined
from worker.adapters.redis.known import Known
from worker.adapters.redis.link import Link
from worker.limits import Limits
from worker.ports import Clock, Log, RedisLost, RoomRefused

_PACKAGE = "worker.adapters.redis"


def script(name: str, overrides: Mapping[str, str] | None = None) -> Script:
    """Load one of the worker's scripts."""
    return load(_PACKAGE, name, overrides)


class Room:
    """The room as this worker process sees it: its epoch, its highest revision, its way to the scripts.

    `on_epoch` is called with (epoch, why) when a new epoch was made or noticed. `instance` is unique for this process.
    """

    def __init__(self, link: Link, keys: Keys, *, name: str, limits: Limits, clock: Clock, log: Log) -> None:
        self.link = link
        self.keys = keys
        self.name = name
        self.limits = limits
        self.clock = clock
        self.log = log
        self.instance = secrets.token_hex(8)
        self.epoch = ""
        #: Whether this process knew another epoch before the present one.
        self.known_before = False
        self.revision = 0
        self.known = Known()
        self.on_epoch: Callable[[str, str], None] | None = None
        self._serial = 0
        self._scripts: dict[str, Script] = {}
        link.greet = self.greet

    def token(self) -> str:
        """Return a token that no other call of any process has."""
        self._serial += 1
        return f"{self.instance}:{self._serial}"

    async def run(self, name: str, *args: Arg, greeting: bool = False) -> Any:
        """Run one of the worker's scripts on this room; a room without epoch or group gets one, then it is run again.

        Raises RedisLost (outcome unknown) or RoomRefused (nothing was written).
        """
        found = self._script(name)
        for last in (False, True):
            try:
                return await self.link.call(found, self.keys.commands, *args, greeting=greeting)
            except OutOfMemoryError as error:
                raise RoomRefused(f"Redis is out of memory: {error}") from error
            except ResponseError as error:
                self._unless_remediable(str(error), last)
            await self.ensure_epoch(greeting=greeting)
        raise AssertionError

    async def load(self, name: str) -> None:
        """See to it that the server has a script. Raises RedisLost, RoomRefused."""
        try:
            await self.link.command("SCRIPT", "LOAD", self._script(name).text)
        except ResponseError as error:
            raise RoomRefused(str(error)) from error

    def _script(self, name: str) -> Script:
        found = self._scripts.get(name)
        if found is None:
            found = self._scripts[name] = script(name)
        return found

    def joined(self, name: str, *shared: Arg) -> Joined:
        """Return one of the worker's scripts that takes a batch, for `run_joined`."""
        return self.link.joined(script(name), self.keys.commands, *shared)

    async def run_joined(self, joined: Joined, *args: Arg) -> Any:
        """Run one call of a batch, as `run` does."""
        for last in (False, True):
            try:
                answer = await joined.call(*args)
            except ResponseError as error:
                self._unless_remediable(str(error), last)
            else:
                if answer[0] != "refused":
                    return answer
                self._unless_remediable(answer[1], last)
            await self.ensure_epoch()
        raise AssertionError

    @staticmethod
    def _unless_remediable(refusal: str, last: bool) -> None:
        """Raise what a script's refusal means, but for the want of an epoch or a group, which can be made."""
        if "NOEPOCH" not in refusal and "NOGROUP" not in refusal:
            raise RoomRefused("Redis is out of memory" if "OOM command not allowed" in refusal else refusal)
        if last:
            raise RedisLost(refusal)

    def saw(self, epoch: str, revision: int, why: str = "noticed in an answer") -> bool:
        """Take note of an answer's head. False when it is lower than was seen before: the server lost writes."""
        if epoch != self.epoch:
            self.known_before = bool(self.epoch)
            self.epoch, self.revision = epoch, revision
            self.known.forget()
            if self.on_epoch is not None:
                self.on_epoch(epoch, why)
            return True
        if revision < self.revision:
            return False
        self.revision = revision
        return True

    async def saw_head(self, epoch: str, revision: int) -> None:
        """Take note of an answer's head; make a new epoch where the server has lost writes."""
        if not self.saw(epoch, revision):
            await self.ensure_epoch()

    async def ensure_epoch(self, *, greeting: bool = False, forced: bool = False) -> None:
        """Make a new epoch if the room needs one."""
        answer = await self.run_epoch(forced=forced, greeting=greeting)
        epoch, revision, made, why = answer
        if made == "1":
            self.log.warning("epoch_made", f"A new epoch began: {why}", epoch=epoch, revision=int(revision))
        self.saw(epoch, int(revision), why)

    async def run_epoch(self, *, forced: bool, greeting: bool) -> Any:
        """Call the epoch script; apart from `run`, whose own remedy it is."""
        try:
            return await self.link.call(
                script("epoch"),
                self.keys.commands,
                secrets.token_hex(4),
                self.epoch,
                self.revision,
                int(forced),
                greeting=greeting,
            )
        except ResponseError as error:
            raise RoomRefused(str(error)) from error

    async def greet(self) -> None:
        """Look at a new connection: whether it is the Redis that we knew."""
        await self.ensure_epoch(greeting=True)

    async def memory_policy(self) -> str | None:
        """Return the server's maxmemory-policy, None where it does not tell (a managed service)."""
        try:
            pairs = await self.link.command("CONFIG", "GET", "maxmemory-policy")
        except ResponseError:
            return None
        return pairs[1] if pairs else None

    async def beat(self, info: Mapping[str, str]) -> float | None:
        """Say that this worker is alive, under its name; see `Presence.beat`."""
        flat = [item for pair in info.items() for item in pair]
        answer = await self.run("beat", self.name, self.instance, int(self.limits.alive * 1000), *flat)
        if answer[0] == "taken":
            return int(answer[1]) / 1000
        self.clock.saw(int(answer[1]))
        await self.saw_head(answer[2], int(answer[3]))
        return None

    async def leave(self) -> None:
        """Say goodbye."""
        await self.run("leave", self.name, self.instance)

    async def engine_id(self) -> str | None:
        """Return the ID of the engine that the room belongs to."""
        value: str | None = await self.link.command("HGET", self.keys.meta, "engine_id")
        return value

    async def bind_engine(self, engine_id: str, *, adopt: bool) -> str:
        """Bind the room to this engine if it is free, or at all events when `adopt`; return whose it is now."""
        if adopt:
            before = await self.engine_id()
            await self.link.command("HSET", self.keys.meta, "engine_id", engine_id)
            if before not in {None, engine_id}:
                await self.ensure_epoch(forced=True)
            return engine_id
        await self.link.command("HSETNX", self.keys.meta, "engine_id", engine_id)
        return await self.engine_id() or engine_id

    async def register(self) -> None:
        """Add the room to the rooms ever served."""
        await self.link.command("SADD", self.keys.rooms, self.keys.room)

    async def forget_consumer(self) -> None:
        """Remove this worker's consumer from the group where nothing is pending on it."""
        pending = await self.link.command("XPENDING", self.keys.commands, GROUP, "-", "+", 1, self.name)
        if not pending:
            await self.link.command("XGROUP", "DELCONSUMER", self.keys.commands, GROUP, self.name)
