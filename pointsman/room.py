"""The room client: services of a room, through Redis or through a gateway, and what happens to them."""

import asyncio
import os
import uuid
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from contracts.errors import PointsmanError
from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM, Keys
from pointsman.rooms.handlers import Handler, Handlers
from pointsman.rooms.link import Link, Lost, Regained
from pointsman.rooms.services import ServicesClient
from pointsman.rooms.specs import RoomStatus
from publisher import Publisher
from subscriber import Change, Reset, Subscriber

DEFAULT_URL = "redis://localhost:6379/0"
#: Seconds that an action waits until handlers hear what it will cause.
HEARING = 5.0
_TYPE = "pointsman."


class RoomClient:
    """One room; use it as `async with RoomClient(url, room="myroom") as room`.

    `url` is that of Redis (`redis://`, `rediss://`, `unix://`) or of a gateway (`http://`, `https://`).
    `token` is a participant token for a gateway; default POINTSMAN_TOKEN. `issuer` goes with every
    command that is published through Redis; through a gateway it is the token's subject. Connections are
    made when they are needed. Raises ValueError for a room, a prefix or a URL that cannot be.

    `room.services` has the services. `room.on(name, handler)` hears events by the names of their types:
    `service.changed`, `service.discovered`, `service.removed`, `service.exhausted`, `command.started`,
    `command.settled`, `command.dead`, `worker.joined`, `worker.left`, `engine.available`,
    `engine.unavailable` with the contract's `Event`; `room.reset` with a `Reset` where something was
    missed; `room.status` with a `RoomStatus` when the way to the room is lost and regained; `*` with all.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        room: str = DEFAULT_ROOM,
        prefix: str = DEFAULT_PREFIX,
        issuer: str | None = None,
        token: str | None = None,
    ) -> None:
        self.keys = Keys(room, prefix)
        self.session_id = uuid.uuid4().hex
        self.status = RoomStatus(status="closed")
        self._direct: tuple[Publisher, Subscriber] | None = None
        if urlsplit(url).scheme in {"http", "https"}:
            from pointsman.rooms.remote import RemoteLink  # noqa: PLC0415 -- only then an HTTP client is needed

            self._link: Link = RemoteLink(url, room, token or os.environ.get("POINTSMAN_TOKEN") or None)
        else:
            from pointsman.rooms.direct import DirectLink  # noqa: PLC0415 -- the other way

            publisher = Publisher(url, room=room, prefix=prefix, issuer=issuer)
            self._direct = (publisher, Subscriber(url, room=room, prefix=prefix))
            self._link = DirectLink(url, *self._direct)
        self.services = ServicesClient(self._link, self._heard)
        self._handlers = Handlers()
        self._following: asyncio.Task[None] | None = None
        self._hearing = asyncio.Event()

    @property
    def room_name(self) -> str:
        """Return the room's name."""
        return self.keys.room

    @property
    def room_url(self) -> str:
        """Return where the room is, without secrets."""
        return self._link.address

    @property
    def publisher(self) -> Publisher:
        """Return the publisher of a room on Redis. Raises RuntimeError behind a gateway."""
        return self._both[0]

    @property
    def subscriber(self) -> Subscriber:
        """Return the subscriber of a room on Redis. Raises RuntimeError behind a gateway."""
        return self._both[1]

    @property
    def _both(self) -> tuple[Publisher, Subscriber]:
        if self._direct is None:
            raise RuntimeError("behind a gateway there is no publisher and no subscriber: use room.services")
        return self._direct

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and end the handlers."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._handlers.aclose()
        await self._link.aclose()
        if self._direct is not None:
            await self._direct[0].aclose()
            await self._direct[1].aclose()

    def on(self, name: str, handler: Handler) -> None:
        """Let a handler, plain or async, hear the events of a name, in order.

        One that raises is told of in the log `pointsman.room`, and disturbs neither the others nor its
        own next events. Needs a running event loop; the room is followed from now on.
        """
        self._handlers.on(name, handler)
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="pointsman room follow")

    def off(self, name: str, handler: Handler) -> None:
        """Let a handler hear the events of a name no more."""
        self._handlers.off(name, handler)

    def emit(self, name: str, event: Any) -> None:
        """Hand an event of one's own to the handlers of its name, in this client only."""
        self._handlers.emit(name, event)

    async def _heard(self) -> None:
        """Return once handlers hear what comes; at once where nobody listens, and where the way is cut."""
        if self._following is None or self._hearing.is_set():
            return
        try:
            async with asyncio.timeout(HEARING):
                await self._hearing.wait()
        except TimeoutError:  # what cannot be heard can still be done
            return

    async def _follow(self) -> None:
        reconnects = -1
        first = True
        try:
            async for item in self._link.follow():
                match item:
                    case Change(event=event):
                        self._handlers.emit(event.type.removeprefix(_TYPE), event)
                    case Reset():
                        self._hearing.set()
                        if not first:
                            self._handlers.emit("room.reset", item)
                        first = False
                    case Lost(detail=detail):
                        if self.status.status != "reconnecting":
                            self._tell(
                                RoomStatus(
                                    status="reconnecting", detail=detail, reconnects=max(0, reconnects)
                                )
                            )
                    case Regained() if self.status.status != "connected":
                        reconnects += 1
                        self._tell(RoomStatus(status="connected", reconnects=reconnects))
        except PointsmanError as error:  # another try will not mend it: a token, a room that cannot be
            self._hearing.set()
            self._tell(RoomStatus(status="closed", detail=error.message, reconnects=max(0, reconnects)))

    def _tell(self, status: RoomStatus) -> None:
        self.status = status
        self._handlers.emit("room.status", status)
