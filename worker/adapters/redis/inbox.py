"""The inbox: take lanes, and be woken when there is something to take."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.codec import decode_receipt, decode_snapshot
from contracts.errors import MalformedRecord
from worker.adapters.redis.room import Room
from worker.core.delivery import Grant, Taken
from worker.core.state import ServiceState, memo_from_text

#: Beyond the time that it may block, how long the blocking read may take to answer, seconds.
ANSWER = 5.0


def read_state(snapshot: list[str], ver: str, memo: str) -> ServiceState:
    """Return a service's state from a script's answer."""
    return ServiceState(decode_snapshot(snapshot) if snapshot else None, memo_from_text(memo), ver)


def read_grants(rows: list[Any], deadline: float) -> list[Grant]:
    """Return the grants of an answer; one whose hashes are unreadable is left to lapse."""
    grants: list[Grant] = []
    for service, command_id, token, takeover, receipt, snapshot, ver, memo in rows:
        try:
            state = read_state(snapshot, ver, memo)
            grants.append(
                Grant(service, command_id, token, takeover == "1", decode_receipt(receipt), state, deadline)
            )
        except MalformedRecord:
            continue
    return grants


class RedisInbox:
    """`worker.ports.Inbox` on Redis."""

    def __init__(self, room: Room, url: str) -> None:
        self._room = room
        limits = room.limits
        self._block = limits.idle
        # A connection of its own: a blocked read must not hold up scripts, and must never be retried unseen.
        self._pool = ConnectionPool.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
            socket_timeout=None,  # `wait` has a bound of its own
            socket_connect_timeout=ANSWER,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._connection: Any = None
        self._wake_seen = ""

    async def take(self, free: int, *, state_only: bool, count: int) -> Taken:
        """Take lanes; see `take.lua`. Raises RedisLost, RoomRefused."""
        room, limits = self._room, self._room.limits
        sent = room.clock.boot()
        answer = await room.run(
            "take",
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
        )
        now, epoch, revision, position, due, more, rows = answer
        room.clock.saw(int(now))
        await room.saw_head(epoch, int(revision))
        grants = read_grants(rows, sent + limits.lease)
        return Taken(int(now), epoch, int(revision), position, int(due), more == "1", grants)

    async def wait(self, position: str, seconds: float) -> None:
        """Block on the commands after `position` and on the wake stream, at most `seconds` (and the idle time)."""
        block = max(1, int(min(seconds, self._block) * 1000))
        commands, wake = self._room.keys.commands, self._room.keys.wake
        try:
            async with asyncio.timeout(block / 1000 + ANSWER):
                if not self._wake_seen:
                    last = await self._ask("XREVRANGE", wake, "+", "-", "COUNT", 1)
                    self._wake_seen = last[0][0] if last else "0-0"
                answer = await self._ask(
                    *("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", commands, wake),
                    *(position, self._wake_seen),
                )
        except (RedisError, OSError, TimeoutError):
            # The link sees the outage and says so; here it only must not spin.
            await asyncio.sleep(min(seconds, 0.2))
            return
        for name, entries in answer or ():
            if name == wake:
                self._wake_seen = entries[-1][0]

    async def _ask(self, *words: str | int) -> Any:
        """Send one command and return its answer. A connection on which one was given up is not used again."""
        connection, self._connection = self._connection, None
        if connection is None:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_packed_command(hiredis.pack_command(words), check_health=False)  # type: ignore[arg-type]
            answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except BaseException:
            await self._hang_up(connection)
            raise
        self._connection = connection
        return answer

    @staticmethod
    async def _hang_up(connection: Any) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the blocking connection."""
        if self._connection is not None:
            await self._hang_up(self._connection)
        await self._pool.disconnect()
