"""The way to a room through Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from contracts.commands import Action
from contracts.errors import MalformedRecord, RedisUnavailable, error_for
from contracts.receipts import Receipt
from contracts.services import Snapshot
from pointsman.rooms.link import Asking, Link, Lost, Regained
from publisher import Options, Publisher
from subscriber import Change, Reset, Subscriber

#: Seconds between two looks whether Redis is there: a watch comes back by itself and does not tell.
PROBE = 1.0
#: What waits for a slow caller; behind it the watch waits, and catches up from the log.
AHEAD = 1000
LONGEST_PAUSE = 2.0


class DirectLink(Link):
    """Publish and read with the room's own publisher and subscriber, which it does not close."""

    def __init__(self, url: str, publisher: Publisher, subscriber: Subscriber) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        self._address = f"{parts.scheme}://{host}{port}{parts.path}"

    @property
    def address(self) -> str:
        """Return the address of Redis, without user and password."""
        return self._address

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return the services, by name."""
        return await self._subscriber.list()

    async def ask(self, action: Action, service: str, wait: float, asking: Asking) -> Receipt:
        """Publish where a worker is alive, and wait."""
        options: Options = {
            "id": asking.get("key"),
            "reason": asking.get("reason"),
            "timeout": asking.get("timeout"),
            "expect_container_id": asking.get("expect_container_id"),
            "expect_started_at": asking.get("expect_started_at"),
            "coalesce": asking.get("coalesce", False),
            "require_worker": True,
        }
        if not wait:
            receipt = await self._publisher.send(action, service, **options)
            if (error := error_for(receipt)) is not None:  # a repeat of a key that had failed
                raise error
            return receipt
        return await self._publisher.run(action, service, wait=wait, check=True, **options)

    async def follow(self) -> AsyncIterator[Reset | Change | Lost | Regained]:
        """Follow the room; a probe beside the watch tells of breaks."""
        items: asyncio.Queue[Reset | Change | Lost | Regained] = asyncio.Queue(AHEAD)
        tasks = [
            asyncio.create_task(self._read(items), name="pointsman room watch"),
            asyncio.create_task(self._probe(items), name="pointsman room probe"),
        ]
        try:
            while True:
                yield await items.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Leave the connections to their owner."""

    async def _read(self, items: "asyncio.Queue[Reset | Change | Lost | Regained]") -> None:
        failures = 0
        while True:
            try:
                async with self._subscriber.watch() as watch:
                    async for item in watch:
                        if failures:
                            await items.put(Regained())
                            failures = 0
                        await items.put(item)
            except (RedisUnavailable, MalformedRecord) as error:
                if failures == 0:
                    await items.put(Lost(error.message))
                failures += 1
                await asyncio.sleep(min(LONGEST_PAUSE, 0.1 * 2 ** min(failures, 8)))
            else:
                return  # the subscriber was closed

    async def _probe(self, items: "asyncio.Queue[Reset | Change | Lost | Regained]") -> None:
        there: bool | None = None
        while True:
            try:
                await self._subscriber.meta()
            except (RedisUnavailable, MalformedRecord) as error:
                if there is not False:
                    await items.put(Lost(error.message))
                there = False
            else:
                if not there:
                    await items.put(Regained())
                there = True
            await asyncio.sleep(PROBE)
