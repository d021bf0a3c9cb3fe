"""A publisher and a subscriber of the same room, for what asks and reads in one place: command line, demo."""

from types import TracebackType
from typing import Self

from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM, Keys
from publisher import Publisher
from subscriber import Subscriber


class Pair:
    """Ask through `publisher`, read through `subscriber`; use it as `async with Pair(url) as room`.

    `issuer` goes with every command that names none. Raises ValueError for a room, a prefix or a URL of
    Redis that cannot be; connections are made when they are needed.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        room: str = DEFAULT_ROOM,
        prefix: str = DEFAULT_PREFIX,
        issuer: str | None = None,
    ) -> None:
        self.keys = Keys(room, prefix)
        self.publisher = Publisher(redis_url, room=room, prefix=prefix, issuer=issuer)
        self.subscriber = Subscriber(redis_url, room=room, prefix=prefix)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close both."""
        await self.publisher.aclose()
        await self.subscriber.aclose()
