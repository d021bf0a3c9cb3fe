"""Real containers for the demo, on the engine that Docker's own tools would find."""

import asyncio
import io
import shutil
import tarfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiodocker import Docker, DockerError

from pointsman.demo.containers import LABEL, Containers, NoEngineError, Wanted
from worker.adapters.docker.connection import Connection
from worker.adapters.docker.endpoint import EngineAddressError, find_endpoint
from worker.adapters.docker.timing import Timing
from worker.ports import EngineError

IMPORTED = "pointsman-demo/busybox"
#: What is pulled where no busybox is on the engine and none that is static on this machine.
PULLED = "busybox:1.36"
PULL_SECONDS = 25.0
CALL_SECONDS = 20.0
TOOLS = ("sh", "sleep", "true")
ERRORS = (EngineError, DockerError, aiohttp.ClientError, TimeoutError)


class Real(Containers):
    """Containers made, watched and removed by the demo. Raises NoEngineError for an address of no use."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        try:
            self._endpoint = find_endpoint()
        except EngineAddressError as error:
            raise NoEngineError(str(error)) from error
        self._connection = Connection(self._endpoint, Timing())
        self._image = f"{IMPORTED}:{self.mark}"
        self._imported = False
        self._version = ""
        self._there = False
        self._stream = AsyncExitStack()
        self._listener: asyncio.Task[None] | None = None

    @property
    def host(self) -> str | None:
        """Return nothing: the workers find it as we have found it, contexts and certificates too."""
        return None

    @property
    def words(self) -> str:
        """Say which engine this is."""
        return f"the Docker engine {self._version} at {self._endpoint.address}, containers of {self._image}"

    async def open(self, wanted: tuple[Wanted, ...]) -> None:
        """Have an image, make and start the containers. Raises NoEngineError; call `close` in any case."""
        try:
            async with self._connection.look("version", CALL_SECONDS) as docker:
                self._version = str((await docker.version())["Version"])
            self._there = True
            await self._find_image()
            await self._listen()
            await asyncio.gather(*(self._make(one) for one in wanted))
        except ERRORS as error:
            raise NoEngineError(f"{self._endpoint.address}: {error}") from error

    async def close(self) -> None:
        """Remove what was made."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await self._stream.aclose()
        if self._there:
            with suppress(*ERRORS):  # an engine that has gone has nothing of ours any more
                await self._remove()
        await self._connection.close()

    async def _remove(self) -> None:
        async with self._connection.look("remove", CALL_SECONDS) as docker:
            mine = await docker.containers.list(all=True, filters={"label": [f"{LABEL}={self.mark}"]})
            await asyncio.gather(*(one.delete(force=True, v=True) for one in mine))
            if self._imported:
                await docker.images.delete(self._image, force=True)

    async def _make(self, wanted: Wanted) -> None:
        leave = f"sleep {wanted.stops_after:g}; exit 0" if wanted.stops_after else "exit 0"
        config: dict[str, Any] = {
            "Image": self._image,
            "Cmd": ["sh", "-c", f"trap '{leave}' TERM; while :; do sleep 3600 & wait $!; done"],
            "Labels": self.labels(wanted),
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "no"}},
        }
        if wanted.healthy_after is not None:
            every = int(wanted.healthy_after * 1e9)
            config["Healthcheck"] = {"Test": ["CMD", "true"], "Interval": every, "Retries": 3}
        async with self._connection.look("create", CALL_SECONDS) as docker:
            made = await docker.containers.create(config, name=f"{self.room}-{wanted.service}")
            await made.start()

    async def _listen(self) -> None:
        """Hear of our containers from the first on: the mark is ours alone, so any past will do."""
        filters = {"label": [f"{LABEL}={self.mark}"], "event": ["kill", "die", "start"]}
        query = {"since": str(int(time.time()) - 3600), "filters": msgspec.json.encode(filters).decode()}
        response = await self._stream.enter_async_context(self._connection.get("/events", query))
        self._listener = asyncio.create_task(self._hear(response), name="demo-engine-events")

    async def _hear(self, response: aiohttp.ClientResponse) -> None:
        async for line in response.content:
            event = msgspec.json.decode(line)
            service = event["Actor"]["Attributes"].get("pointsman.service", "")
            self.note(service, event["Action"], event["timeNano"])

    async def _find_image(self) -> None:
        """Have a busybox: one that is there, one made of this machine's, or one from the registry."""
        async with self._connection.look("image", CALL_SECONDS + PULL_SECONDS) as docker:
            there = await docker.images.list(filters={"reference": ["busybox"]})
            tags = [tag for image in there for tag in image.get("RepoTags") or ()]
            files = None if tags else _busybox()
            if tags:
                self._image = tags[0]
            elif files is not None:
                await self._import(docker, files)
            else:
                await self._pull(docker)

    async def _import(self, docker: Docker, files: bytes) -> None:
        query = {"fromSrc": "-", "repo": IMPORTED, "tag": self.mark}
        headers = {"Content-Type": "application/x-tar"}
        address = f"{docker.docker_host}/images/create"
        async with docker.session.post(address, params=query, data=files, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()
        self._imported = True

    async def _pull(self, docker: Docker) -> None:
        try:
            async with asyncio.timeout(PULL_SECONDS):
                await docker.images.pull(PULLED)
        except ERRORS as error:
            raise NoEngineError(
                "the engine has no busybox image, this machine has no static busybox to make one of "
                f"(Debian: busybox-static), and {PULLED} cannot be pulled: {error}"
            ) from error
        self._image = PULLED


def _busybox() -> bytes | None:
    """Return a root file system of this machine's busybox; None where there is none that stands alone."""
    found = shutil.which("busybox")
    if found is None or b"/ld-" in Path(found).read_bytes()[:4096]:
        return None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("bin")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        tar.add(found, "bin/busybox")
        for tool in TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return packed.getvalue()
