"""The composition root: settings to one ASGI application."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from contracts.errors import PointsmanError
from contracts.keys import Keys
from gateway import page
from gateway.bodies import Health, Readiness, RoomList
from gateway.calls import Call
from gateway.desk import Desk, Desks
from gateway.guard import Guard
from gateway.handlers.streams import Streams
from gateway.log import LibraryLog, Log
from gateway.openapi import document
from gateway.operations import OPERATIONS, ROOM, SYSTEM, Operation
from gateway.problems import Problem, problem_of
from gateway.rates import Rates
from gateway.settings import GatewaySettings
from gateway.tokens import Caller, Keyring

_encode = msgspec.json.Encoder().encode
EVENT_STREAM = "text/event-stream"


class Gateway:
    """An ASGI application over one Redis; `aclose` ends its streams and connections.

    `log` is whom it tells; the logger `pointsman.gateway` where nobody is named. Raises
    `gateway.tokens.BadKey` for keys that cannot be used.
    """

    def __init__(self, settings: GatewaySettings | None = None, log: Log | None = None) -> None:
        self.settings = settings or GatewaySettings()
        self.journal: Log = log or LibraryLog()
        self.keyring = Keyring.of(self.settings)
        self.rates = Rates(self.settings.rate, self.settings.burst)
        self.streams = Streams(self.settings.max_streams, self.settings.max_streams_per_caller)
        self.desks: Desks | None = None
        self._document = _encode(document(secured=bool(self.keyring)))
        self._app = Starlette(
            routes=[*self._fixed_routes(), *self._routes(SYSTEM), *self._routes(ROOM)],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _plain_error},
        )
        self._app.state.streams = self.streams
        self._guarded = Guard(self._app, self.settings, self.journal, open_to_all=bool(self.keyring))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._guarded(scope, receive, send)

    def end_streams(self) -> None:
        """Let every stream end, so that the server can stop."""
        if self.desks is not None:
            self.desks.closed = True
            self.desks.end_streams()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.desks = Desks(self.settings, self.journal)
        self.desks.start()
        home = self.desks.open(self.settings.room)
        if home is not None:
            home.hub.start()
        try:
            yield
        finally:
            await self.desks.aclose()

    # Routes.

    def _routes(self, base: str) -> list[BaseRoute]:
        """Return the routes of all operations below a base, one for each path."""
        by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
        for operation in OPERATIONS:
            by_path[operation.path][operation.method] = operation
        # The converter lets an id have slashes; a path with a converter is tried after those without.
        return [
            self._route(base + path.replace("/commands/{id}", "/commands/{id:path}"), methods)
            for path, methods in by_path.items()
        ]

    def _route(self, path: str, operations: dict[str, Operation]) -> Route:
        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(request, operations[method])

        return Route(path, endpoint, methods=list(operations))

    def _fixed_routes(self) -> list[BaseRoute]:
        async def openapi(_: Request) -> Response:
            return Response(self._document, media_type="application/json")

        async def healthz(_: Request) -> Response:
            return Response(_encode(Health(status="ok")), media_type="application/json")

        return [
            Route("/openapi.json", openapi),
            Route("/healthz", healthz),
            Route("/readyz", self._readyz),
            Route("/api/rooms", self._rooms),
            *page.routes(),
        ]

    async def _readyz(self, _: Request) -> Response:
        """Say whether requests can be served: Redis answers and the room has been read."""
        try:
            desk = self._desk(self.settings.room)
            pulse = await desk.pulse()
            desk.hub.start()
            await desk.hub.ready(self.settings.redis_timeout)
        except PointsmanError as error:
            return problem_of(error).response()
        except Problem as problem:
            return problem.response()
        ready = Readiness(
            status="ready",
            room=desk.room,
            revision=desk.hub.revision,
            workers=len(pulse.workers),
            engine=pulse.meta.engine_status,
        )
        return Response(_encode(ready), media_type="application/json")

    async def _rooms(self, request: Request) -> Response:
        """List the rooms ever served that the caller may enter."""
        try:
            caller = self._caller(request)
            names = await self._desk(self.settings.room).rooms()
        except PointsmanError as error:
            return problem_of(error).response()
        except Problem as problem:
            return problem.response()
        entered = RoomList(rooms=[name for name in names if caller.enters(name)])
        return Response(_encode(entered), media_type="application/json")

    # One request.

    async def _answer(self, request: Request, operation: Operation) -> Response:
        try:
            caller = self._caller(request)
            desk = self._desk(request.path_params.get("room", self.settings.room))
            base = f"/api/rooms/{desk.room}" if "room" in request.path_params else SYSTEM
            call = Call(request, desk, caller, self.settings, base, self.journal)
            handler = operation.handler
            if operation.stream and EVENT_STREAM in request.headers.get("accept", ""):
                handler = operation.stream
            desk.users += 1
            try:
                if desk.room != self.settings.room:
                    caller.need_room(desk.room)
                    await self._need_served(desk)
                return await handler(call)
            finally:
                desk.users -= 1
        except Problem as problem:
            return problem.response()
        except PointsmanError as error:
            if error.status >= 500:
                self.journal.warning(
                    "request_failed", "A request failed", path=request.url.path, error=error.message
                )
            return problem_of(error).response()
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a problem and the log the rest
            self.journal.defect("defect", "A request met a defect", error, path=request.url.path)
            return Problem(500, "internal_error", "Internal server error").response()

    async def _need_served(self, desk: Desk) -> None:
        """Raise 404 for a room that no worker has ever served; our own room is one all the same."""
        if (await desk.pulse()).meta.epoch is None:
            desk.used_at = 0.0  # the next sweep closes it
            raise Problem(404, "room_not_found", f"Room '{desk.room}' was never served")

    def _caller(self, request: Request) -> Caller:
        """Return who asks. Raises 401, and 429 for one who asks too often."""
        address = request.client.host if request.client else "unknown"
        caller = Caller(key="local", issuer=self.settings.issuer, everything=True)
        counted = f"address:{address}"
        if self.keyring:
            try:
                caller = self.keyring.check(request.headers.get("authorization"))
                counted = caller.key
            except Problem:
                self._count(counted)  # guessing has a limit too
                raise
        request.scope["state"]["caller"] = counted
        self._count(counted)
        return caller

    def _count(self, caller: str) -> None:
        seconds = self.rates.take(caller)
        if seconds:
            raise Problem(
                429,
                "too_many_requests",
                f"Too many requests: at most {self.settings.rate:g} a second",
                headers={"retry-after": str(max(1, round(seconds)))},
            )

    def _desk(self, room: str) -> Desk:
        try:
            Keys(room)
        except ValueError:
            raise Problem(404, "room_not_found", f"{room[:63]!a} is not a room's name") from None
        if self.desks is None or self.desks.closed:
            raise Problem(503, "stopping", "The gateway is stopping", headers={"retry-after": "2"})
        desk = self.desks.open(room)
        if desk is None:
            raise Problem(
                503, "too_many_rooms", "Too many rooms are followed here", headers={"retry-after": "5"}
            )
        return desk


def create_app(settings: GatewaySettings | None = None) -> Gateway:
    """Return the ASGI application; settings come from the environment where none are given."""
    return Gateway(settings)


async def _plain_error(request: Request, error: Exception) -> Response:
    """Answer for an address that there is not, or a method that it has not."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        detail = f"{request.method} is not for this address: use {headers.get('Allow', 'another')}"
        return Problem(405, "method_not_allowed", detail, headers=headers).response()
    return Problem(404, "not_found", "There is nothing at this address").response()
