"""The inbox: take lanes, and be woken when there is something to take."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from contracts.codec import decode_receipt, decode_snapshot
from contracts.errors import MalformedRecord
from worker.adapters.redis.blocking import Blocking
from worker.adapters.redis.joined import Arg
from worker.adapters.redis.room import Room, script
from worker.core.delivery import Grant, Taken
from worker.core.state import ServiceState, memo_from_text
from worker.ports import RedisLost, RoomRefused

#: Beyond the time that it may block, how long the blocking read may take to answer, seconds.
ANSWER = 5.0
#: A waiting take gives no lanes to a worker that has missed so many beats: it may be frozen.
BEATS = 2.5
#: Seconds, at most, for what was taken to have its calls answered, before the next take is set up to wait.
LULL = 0.005


def read_state(snapshot: list[str], ver: str, memo: str) -> ServiceState:
    """Return a service's state from a script's answer."""
    return ServiceState(decode_snapshot(snapshot) if snapshot else None, memo_from_text(memo), ver)


async def read_grants(room: Room, rows: list[Any], deadline: float) -> list[Grant]:
    """Return the grants of an answer; one whose hashes are unreadable is left to lapse. Raises RedisLost."""
    grants: list[Grant] = []
    for service, command_id, token, takeover, receipt, snapshot, ver, memo in rows:
        try:
            state = room.known.find(service, ver, memo)
            if state is None:
                state = await _state_of(room, service, snapshot, ver, memo)
            grants.append(
                Grant(service, command_id, token, takeover == "1", decode_receipt(receipt), state, deadline)
            )
        except (MalformedRecord, ResponseError):
            continue
    return grants


async def _state_of(room: Room, service: str, snapshot: list[str] | str, ver: str, memo: str) -> ServiceState:
    """Read what an answer brings of a service, or what it left out (''): its lane is held, nobody writes it."""
    flat: Any = snapshot
    if flat == "":
        flat = await room.link.command("HGETALL", room.keys.service(service))
    state = read_state(flat, ver, memo)
    room.known.keep(service, state, memo)
    return state


class RedisInbox:
    """`worker.ports.Inbox` on Redis."""

    def __init__(self, room: Room, url: str) -> None:
        self._room = room
        limits = room.limits
        self._block = limits.idle
        self._blocking = Blocking(url)
        self._take = script("take")
        self._wake_seen = ""

    async def take(self, free: int, *, state_only: bool, count: int) -> Taken:
        """Take lanes; see `take.lua`. Raises RedisLost, RoomRefused."""
        sent = self._room.clock.boot()
        return await self._taken(await self._room.run("take", *self._asked(free, state_only, count, 0)), sent)

    def _asked(self, free: int, state_only: bool, count: int, beaten: float) -> tuple[Arg, ...]:
        room, limits = self._room, self._room.limits
        return (
            room.name,
            room.instance,
            room.token(),
            free,
            int(state_only),
            count,
            int(limits.lease * 1000),
            int(limits.window * 1000),
            int(limits.ttl * 1000),
            limits.max_attempts,
            int(beaten * 1000),
        )

    async def _taken(self, answer: Any, sent: float) -> Taken:
        now, epoch, revision, position, due, more, rows = answer
        self._room.clock.saw(int(now))
        await self._room.saw_head(epoch, int(revision))
        grants = await read_grants(self._room, rows, sent + self._room.limits.lease)
        return Taken(int(now), epoch, int(revision), position, int(due), more == "1", grants)

    async def await_take(
        self, position: str, seconds: float, free: int, *, state_only: bool, count: int
    ) -> Taken | None:
        """See `Inbox.await_take`.

        The take stands behind a blocking read on one connection, so that Redis goes from the one to the
        other by itself: what is taken arrives with the news of it.
        """
        block = max(1, int(min(seconds, self._block) * 1000))
        commands, wake = self._room.keys.commands, self._room.keys.wake
        sent, beaten = self._room.clock.boot(), BEATS * self._room.limits.beat
        try:
            async with asyncio.timeout(block / 1000 + ANSWER):
                if not self._wake_seen:
                    last = await self._blocking.ask("XREVRANGE", wake, "+", "-", "COUNT", 1)
                    self._wake_seen = last[0][0] if last else "0-0"
                found, taken = await self._blocking.ask_all(
                    (
                        "XREAD",
                        "COUNT",
                        1,
                        "BLOCK",
                        block,
                        "STREAMS",
                        commands,
                        wake,
                        position,
                        self._wake_seen,
                    ),
                    ("EVALSHA", self._take.sha, 1, commands, *self._asked(free, state_only, count, beaten)),
                )
        except (RedisError, OSError, TimeoutError):
            # The link sees the outage and says so; here it only must not spin.
            await self._room.clock.sleep(min(seconds, 0.2))
            return None
        if isinstance(found, ResponseError) or isinstance(taken, ResponseError):
            return None  # a plain take meets the same, and knows what to do
        for name, entries in found or ():
            if name == wake:
                self._wake_seen = entries[-1][0]
        try:
            return await self._taken(taken, sent)
        except (RedisLost, RoomRefused):
            return None

    def after_lull(self, then: Callable[[], object]) -> None:
        """See `Inbox.after_lull`."""
        self._room.link.after_lull(LULL, then)

    async def release(self) -> None:
        """Let `await_take` go on at once. Raises RedisLost, RoomRefused (the server does not let us)."""
        if self._blocking.client_id is not None:
            try:
                await self._room.link.command("CLIENT", "UNBLOCK", self._blocking.client_id)
            except ResponseError as error:
                raise RoomRefused(str(error)) from error

    async def close(self) -> None:
        """Close the blocking connection."""
        await self._blocking.close()
