"""aiodocker's client over connectors of our own, opened upon first use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiodocker import Docker

from worker.adapters.docker.endpoint import Endpoint
from worker.adapters.docker.errors import answered, mapped
from worker.adapters.docker.timing import Timing
from worker.ports import EngineBusy, EngineUnavailable

#: aiodocker's word for "ask the engine before the first call".
_ASK = "auto"


class Connection:
    """Two clients of one engine: `looks` keeps its connections, `acts` opens one for each call.

    No connection is ever waited for: aiohttp's usual limit of 100 would queue restarts behind each other
    and behind the event stream. An action never goes out over a connection that has idled, because the
    engine may just have closed it, and then nobody knows whether the action was begun.
    """

    def __init__(self, endpoint: Endpoint, timing: Timing) -> None:
        self._endpoint = endpoint
        self._timing = timing
        self._looks: Docker | None = None
        self._acts: Docker | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Say whether `close` was called."""
        return self._closed

    @asynccontextmanager
    async def look(self, what: str, bound: float | None = None) -> AsyncIterator[Docker]:
        """Bound a question and map its errors; one that comes late is no answer at all."""
        async with self._call(what, self._timing.look if bound is None else bound, EngineUnavailable):
            yield await self._ready()

    @asynccontextmanager
    async def act(self, what: str, bound: float) -> AsyncIterator[Docker]:
        """Bound a changing call and map its errors; a late one may still be at work."""
        async with self.look(what, min(bound, self._timing.look)) as looks:
            version = looks.api_version
        async with self._call(what, bound, EngineBusy):
            if self._acts is None:
                self._acts = self._open(force_close=True)
            self._acts.api_version = version
            yield self._acts

    @asynccontextmanager
    async def get(
        self, path: str, params: dict[str, str] | None = None, *, bound: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a path that aiodocker has no safe call for; `bound` is until the headers are there.

        Errors while the body is read are not mapped here.
        """
        what = path.lstrip("/_")
        response: aiohttp.ClientResponse | None = None
        try:
            async with self._call(what, self._timing.look if bound is None else bound, EngineUnavailable):
                looks = self._client()
                response = await looks.session.get(
                    f"{looks.docker_host}{path}", params=params, allow_redirects=False
                )
                if response.status >= 400:
                    raise answered(what, response.status, await response.text(), late=EngineUnavailable)
            yield response
        finally:
            if response is not None:
                response.close()

    async def ping(self) -> str:
        """Get an answer from the engine; return the Date that it carries, empty where there is none."""
        async with self.get("/_ping", bound=self._timing.ping) as response:
            with mapped("ping", late=EngineUnavailable):
                async with asyncio.timeout(self._timing.ping):
                    await response.read()
            return response.headers.get("Date", "")

    async def close(self) -> None:
        """Close every connection; calls under way end as `EngineUnavailable`."""
        self._closed = True
        for docker in (self._looks, self._acts):
            if docker is not None:
                await docker.close()
                await docker.connector.close()  # aiodocker leaves alone what it was given

    @asynccontextmanager
    async def _call(
        self, what: str, bound: float, late: type[EngineBusy] | type[EngineUnavailable]
    ) -> AsyncIterator[None]:
        if self._closed:
            raise EngineUnavailable(f"{what}: the engine was closed")
        try:
            with mapped(what, late=late):
                async with asyncio.timeout(bound):
                    yield
        except EngineUnavailable:
            self._forget_version()
            raise
        except RuntimeError as error:  # aiohttp's way to say that the session was closed
            if not self._closed:
                raise
            raise EngineUnavailable(f"{what}: the engine was closed") from error

    async def _ready(self) -> Docker:
        looks = self._client()
        if looks.api_version == _ASK:
            # One public call makes aiodocker settle the version before a changing call is under way.
            await looks.version()
        return looks

    def _client(self) -> Docker:
        if self._looks is None:
            self._looks = self._open(force_close=False)
        return self._looks

    def _forget_version(self) -> None:
        """After an engine was out of reach another version may answer in its place."""
        if self._looks is not None:
            self._looks.api_version = _ASK

    def _open(self, *, force_close: bool) -> Docker:
        connector: aiohttp.BaseConnector
        if self._endpoint.socket is not None:
            connector = aiohttp.UnixConnector(self._endpoint.socket, limit=0, force_close=force_close)
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=force_close, ssl=self._endpoint.tls or True)
        return Docker(
            url=self._endpoint.base,
            connector=connector,
            timeout=aiohttp.ClientTimeout(sock_connect=self._timing.connect),
        )
