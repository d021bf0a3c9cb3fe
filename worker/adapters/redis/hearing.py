"""Hears which services' commands have settled, over a connection of its own."""

import asyncio

from redis.exceptions import RedisError

from worker.adapters.redis.blocking import Blocking

#: Hints read at once.
_COUNT = 1000
#: Beyond the time that it may block, how long a read may take to answer, seconds.
_ANSWER = 5.0


class Hearing:
    """Reads a stream of hints from where it was told to begin; a wait that is cut short loses nothing.

    A hint's fields are named after services. `most` seconds bound one wait.
    """

    def __init__(self, url: str, stream: str, most: float) -> None:
        self._stream = stream
        self._most = most
        self._position = "0-0"
        self._blocking = Blocking(url)

    def begin_at(self, position: str) -> None:
        """Hear what comes after this entry."""
        self._position = position

    async def services(self, seconds: float) -> list[str]:
        """Return the services named since the last call, each once; empty after `seconds` or in an outage."""
        block = max(1, int(min(seconds, self._most) * 1000))
        try:
            async with asyncio.timeout(block / 1000 + _ANSWER):
                answer = await self._blocking.ask(
                    "XREAD", "COUNT", _COUNT, "BLOCK", block, "STREAMS", self._stream, self._position
                )
        except (RedisError, OSError, TimeoutError):
            # The link sees the outage and says so; here it only must not spin.
            await asyncio.sleep(min(seconds, 0.2))
            return []
        names: dict[str, None] = {}
        for _, entries in answer or ():
            for entry, fields in entries:
                self._position = entry
                names.update(dict.fromkeys(fields[::2]))
        return list(names)

    async def close(self) -> None:
        """Close the connection."""
        await self._blocking.close()
