"""The engine port on Docker, through aiodocker; its dicts and exceptions end in this package."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiodocker.containers import DockerContainer

from worker.adapters.docker.connection import Connection
from worker.adapters.docker.endpoint import Endpoint, find_endpoint
from worker.adapters.docker.events import EventReader
from worker.adapters.docker.mapping import to_container, to_listed
from worker.adapters.docker.sharing import Shared
from worker.adapters.docker.timing import Timing
from worker.adapters.mailbox import Mailbox, Signals
from worker.core.container import Container, Listed
from worker.ports import EngineFailed

_ENABLED: Final[Mapping[str, Any]] = {"label": ["pointsman.enable=true"]}
_ROW: Final = ("Id", "Names", "Labels", "State")
_NOT_FOUND: Final = 404


class DockerEngine:
    """A Docker engine at `url`, or where Docker's own tools would find one.

    Nothing is opened before the first call, which must come from a running loop. Raises
    `EngineAddressError` at once for an address of no use, later nothing but `EngineError`.
    """

    def __init__(self, url: str | None = None, *, timing: Timing | None = None) -> None:
        self.endpoint: Endpoint = find_endpoint(url)
        self._timing = timing or Timing()
        self._connection = Connection(self.endpoint, self._timing)
        self._lists = Shared(self._fetch_list)
        self._readers: set[asyncio.Task[None]] = set()

    async def identify(self) -> str:
        """Return the engine's ID; an engine without one is known by its name."""
        async with self._connection.look("identify") as docker:
            info = await docker.system.info()
        identity = info.get("ID") or info.get("Name")
        if not isinstance(identity, str) or not identity:
            raise EngineFailed("the engine tells neither ID nor name", 500)
        return identity

    async def list(self) -> Sequence[Listed]:
        """Return every container that opted in; callers who ask at the same time share a request."""
        return await self._lists.get()

    async def inspect(self, container_id: str) -> Container | None:
        """Return the container as it is now, or None when there is none."""
        try:
            async with self._connection.look("inspect") as docker:
                found: Mapping[str, Any] = await docker.containers.container(container_id).show()
                return to_container(found)
        except EngineFailed as error:
            if error.http_status == _NOT_FOUND:
                return None
            raise

    async def start(self, container_id: str) -> None:
        """Start it; the engine's "not modified" is success."""
        async with self._connection.act("start", self._timing.start) as docker:
            await docker.containers.container(container_id).start()

    async def stop(self, container_id: str, grace: int, bound: float) -> None:
        """Stop it with `grace` seconds before the kill; `bound` seconds for the whole call."""
        async with self._connection.act("stop", bound) as docker:
            await docker.containers.container(container_id).stop(t=grace)

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        """Restart it in one engine call, which the engine finishes even if we do not wait for it."""
        async with self._connection.act("restart", bound) as docker:
            await docker.containers.container(container_id).restart(t=grace)

    async def ping(self) -> None:
        """Get any answer that is the engine's own."""
        await self._connection.ping()

    def signals(self) -> Signals:
        """Follow the engine's events from now on, through every break, until closed."""
        box = Mailbox()
        if self._connection.closed:
            box.end()
            return Signals(box, bool)
        task = asyncio.get_running_loop().create_task(
            EventReader(self._connection, self._timing, box).run(), name="engine-events"
        )
        self._readers.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._readers.discard(task)
            box.end(None if task.cancelled() else task.exception())

        task.add_done_callback(ended)
        return Signals(box, task.cancel, task)

    async def close(self) -> None:
        """End `signals` and every call under way, and release the connections; may be called twice."""
        readers = list(self._readers)
        for task in readers:
            task.cancel()
        if readers:
            await asyncio.wait(readers)
        await self._lists.close()
        await self._connection.close()

    async def _fetch_list(self) -> Sequence[Listed]:
        async with self._connection.look("list") as docker:
            rows = await docker.containers.list(all=True, filters=_ENABLED)
            return tuple(to_listed(_fields(row)) for row in rows)


def _fields(row: DockerContainer) -> dict[str, Any]:
    return {name: row[name] for name in _ROW if name in row}
