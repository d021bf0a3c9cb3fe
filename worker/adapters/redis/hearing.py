"""Hears which services' commands have settled, over a connection of its own."""

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: Settlements read at once.
_COUNT = 1000


class Hearing:
    """Reads a stream of hints from where it was told to begin; a wait that is cut short loses nothing.

    A blocked read must not hold up scripts, and must never be repeated unseen: hence a client with one
    connection and without retries. `most` seconds bound one wait.
    """

    def __init__(self, url: str, stream: str, most: float) -> None:
        self._stream = stream
        self._most = most
        self._position = "0-0"
        self._client: Redis = Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
            socket_timeout=most + 5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            health_check_interval=0,
            max_connections=1,
        )

    def begin_at(self, position: str) -> None:
        """Hear what comes after this entry."""
        self._position = position

    async def services(self, seconds: float) -> list[str]:
        """Return the services named since the last call, each once; empty after `seconds` or in an outage."""
        block = max(1, int(min(seconds, self._most) * 1000))
        streams: dict[Any, Any] = {self._stream: self._position}
        try:
            answer: Any = await self._client.xread(streams, count=_COUNT, block=block)
        except (RedisError, OSError, TimeoutError):
            # The link sees the outage and says so; here it only must not spin.
            await asyncio.sleep(min(seconds, 0.2))
            return []
        names: dict[str, None] = {}
        for _, entries in answer or ():
            for entry, fields in entries:
                self._position = entry
                if (name := fields.get("s")) is not None:
                    names[name] = None
        return list(names)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
