"""A simulated engine behind the part of Docker's API that the real adapter and `docker ps` speak."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from aiohttp import web

from worker.adapters.simulated import wire
from worker.adapters.simulated.container import SimulatedContainer
from worker.adapters.simulated.engine import SimulatedEngine
from worker.adapters.simulated.events import Event
from worker.adapters.simulated.faults import Change, Faults
from worker.ports import EngineFailed, EngineUnavailable

_FOREVER: Final = float("inf")
_DEFAULT_GRACE: Final = "10"
#: Paths of a container that call the port, with the name that faults know them by.
_ACTIONS: Final = ("start", "stop", "restart")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SimulatedServer:
    """Serve an engine on a unix socket or a loopback port, to be used as `async with`.

    `faults` are this server's own, beside the engine's: an outage breaks connections, a hang accepts and
    never answers, `fail_next` answers with a status, events can be cut, stalled and lost. Several servers
    may stand before one engine.
    """

    def __init__(self, engine: SimulatedEngine, *, socket: Path | None = None, port: int = 0) -> None:
        self._engine = engine
        self._client = engine.client(look_bound=_FOREVER, start_bound=_FOREVER)
        self._socket = socket
        self._port = port
        self._streams: set[_Stream] = set()
        self._runner: web.AppRunner | None = None
        #: How many requests came in, by call; `events` counts streams that were opened.
        self.requests: dict[str, int] = {}

    @property
    def faults(self) -> Faults:
        """Return the faults of this server alone."""
        return self._client.faults

    @property
    def url(self) -> str:
        """Return what DOCKER_HOST should be."""
        return f"unix://{self._socket}" if self._socket else f"tcp://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen; a port 0 becomes one that is free."""
        app = web.Application(middlewares=[self._guard])
        for prefix in ("", r"/{version:v\d+\.\d+}"):
            app.add_routes(self._routes(prefix))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site: web.BaseSite
        if self._socket:
            self._socket.unlink(missing_ok=True)
            site = web.UnixSite(self._runner, str(self._socket))
        else:
            site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        if not self._socket:
            self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, with no request left hanging; the engine lives on."""
        for stream in tuple(self._streams):
            stream.end()
        await self._client.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _routes(self, prefix: str) -> list[web.RouteDef]:
        container = prefix + "/containers/{key}"
        return [
            web.route("*", f"{prefix}/_ping", self._ping),
            web.get(f"{prefix}/version", self._version),
            web.get(f"{prefix}/info", self._info),
            web.get(f"{prefix}/events", self._events),
            web.get(f"{prefix}/containers/json", self._list),
            web.get(f"{container}/json", self._inspect),
            web.delete(container, self._delete),
            *(web.post(f"{container}/{verb}", self._act(verb)) for verb in _ACTIONS),
            *(
                web.post(f"{container}/{verb}", self._disturb)
                for verb in ("kill", "pause", "unpause", "rename")
            ),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn the port's errors into what a client of a real engine would meet."""
        try:
            return await handler(request)
        except EngineFailed as error:
            return _json({"message": error.message}, error.http_status)
        except EngineUnavailable:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable from None  # goes nowhere
        except ValueError as error:
            return _json({"message": str(error)}, 400)
        except web.HTTPException as error:
            return _json({"message": "page not found"}, error.status)

    async def _meet(self, call: str) -> None:
        """Suffer the faults of a call that the port does not make for us."""
        self._count(call)
        await self._client.meet(call)

    def _count(self, call: str) -> None:
        self.requests[call] = self.requests.get(call, 0) + 1

    async def _ping(self, _: web.Request) -> web.Response:
        self._count("ping")
        await self._client.ping()
        return web.Response(text="OK", headers={"Api-Version": wire.API_VERSION, "Ostype": "linux"})

    async def _version(self, _: web.Request) -> web.Response:
        self._count("ping")
        await self._client.ping()
        version = {"Version": "20.10.0-simulated", "ApiVersion": wire.API_VERSION, "MinAPIVersion": "1.12"}
        return _json(version | {"Os": "linux", "Arch": "amd64"})

    async def _info(self, _: web.Request) -> web.Response:
        self._count("identify")
        return _json({"ID": await self._client.identify(), "Name": "simulated", "OSType": "linux"})

    async def _list(self, request: web.Request) -> web.Response:
        filters = wire.read_filters(request.query.get("filters"))
        await self._meet("list")
        every = request.query.get("all", "0").lower() in {"1", "true"} or "status" in filters
        shown = [
            wire.summary(one)
            for one in self._engine.machine.all()
            if (every or one.running) and wire.lists(one, filters)
        ]
        return _json(shown)

    async def _inspect(self, request: web.Request) -> web.Response:
        await self._meet("inspect")
        return _json(wire.details(self._found(request)))

    def _act(self, verb: str) -> Handler:
        async def act(request: web.Request) -> web.Response:
            self._count(verb)
            one = self._found(request)
            before = one.running
            grace = float(request.query.get("t") or one.stop_timeout or _DEFAULT_GRACE)
            match verb:
                case "start":
                    await self._client.start(one.id)
                case "stop":
                    await self._client.stop(one.id, int(grace), _FOREVER)
                case _:
                    await self._client.restart(one.id, int(grace), _FOREVER)
            unchanged = (verb, before) in {("start", True), ("stop", False)}
            return web.Response(status=304 if unchanged else 204)

        return act

    async def _delete(self, request: web.Request) -> web.Response:
        one = self._found(request)
        if one.running and request.query.get("force", "0").lower() not in {"1", "true"}:
            raise EngineFailed(f"You cannot remove a running container {one.id}. Stop it first.", 409)
        self._engine.remove(one.id)
        return web.Response(status=204)

    async def _disturb(self, request: web.Request) -> web.Response:
        key = self._found(request).id
        match request.path.rsplit("/", 1)[-1]:
            case "kill":
                self._engine.kill(key)
            case "pause":
                self._engine.pause(key)
            case "unpause":
                self._engine.unpause(key)
            case _:
                self._engine.rename(key, request.query["name"])
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        filters = wire.read_filters(request.query.get("filters"))
        since, until = (wire.parse_time(request.query.get(name)) for name in ("since", "until"))
        await self._meet("events")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        stream = _Stream(self._engine, (self._engine.faults, self.faults))
        self._streams.add(stream)
        try:
            with suppress(ConnectionResetError):  # the client has gone, which ends its stream
                await response.prepare(request)
                await stream.tell(response, filters, since, until)
        finally:
            stream.end()
            self._streams.discard(stream)
        if stream.broken and request.transport is not None:
            request.transport.abort()
        return response

    def _found(self, request: web.Request) -> SimulatedContainer:
        return self._engine.machine.get(request.match_info["key"])


class _Stream:
    """One open event stream."""

    def __init__(self, engine: SimulatedEngine, faults: tuple[Faults, Faults]) -> None:
        self.broken = False
        self._engine = engine
        self._faults = faults
        self._ended = False
        self._wake = asyncio.Event()
        self._waiting: list[Event] = []
        self._silences = [engine.events.listen(self._hear), *(one.listen(self._notice) for one in faults)]

    def end(self) -> None:
        """Let `tell` return."""
        self._ended = True
        self._wake.set()
        for silence in self._silences:
            silence()

    async def tell(
        self, response: web.StreamResponse, filters: wire.Filters, since: int | None, until: int | None
    ) -> None:
        """Write the kept events since then, and all further ones, until ended or until the time is up."""
        if since is not None:
            told = {event.number for event in self._waiting}
            kept = self._engine.events.since(since)
            self._waiting[:0] = [event for event in kept if event.number not in told]
            self._wake.set()
        while not self._ended:
            await self._wait(until)
            self._wake.clear()
            if any(one.stalled for one in self._faults):
                continue
            events, self._waiting = self._waiting, []
            for event in events:
                if wire.tells(event, filters):
                    await response.write(msgspec.json.encode(wire.message(event)) + b"\n")

    async def _wait(self, until: int | None) -> None:
        if until is None:
            await self._wake.wait()
            return
        left = (until - self._engine.machine.now()) / 1e9
        try:
            async with asyncio.timeout(max(left, 0)):
                await self._wake.wait()
        except TimeoutError:
            self._ended = True

    def _hear(self, event: Event) -> None:
        if not any(one.losing for one in self._faults):
            self._waiting.append(event)
            self._wake.set()

    def _notice(self, change: Change) -> None:
        match change:
            case Change.RECOVERED:
                self._wake.set()
            case Change.CUT:
                self.end()
            case Change.BROKEN:
                self.broken = True
                self.end()


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
