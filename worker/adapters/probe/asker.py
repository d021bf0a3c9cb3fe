"""Asks a service over the network whether it is ready: a 2xx to one GET, or a connection that opens."""

import asyncio
from collections.abc import Sequence

import aiohttp

from worker.core.labels import Probe

#: Where a container has no address of its own it shares the host's.
_HOST = "127.0.0.1"


class NetworkAsker:
    """`worker.ports.Asker` over aiohttp and plain sockets. `deadline` seconds bound one question.

    Nothing is kept open between questions: a service is asked as a stranger would find it. Redirects are
    not followed, proxies of the environment not used, and a certificate is not judged, since it cannot be
    for a container's address.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, probe: Probe, addresses: Sequence[str]) -> str | None:
        """Return None when the service is ready, else why not, in a few words."""
        host = probe.host or (addresses[0] if addresses else _HOST)
        try:
            async with asyncio.timeout(self._deadline):
                if probe.scheme != "tcp":
                    return await self._get(probe, host)
                await self._connect(host, probe.port)
                return None
        except TimeoutError:
            return f"no answer within {self._deadline:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error) or type(error).__name__

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _connect(self, host: str, port: int) -> None:
        _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()

    async def _get(self, probe: Probe, host: str) -> str | None:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=False)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=None)
            )
        shown = f"[{host}]" if ":" in host else host
        url = f"{probe.scheme}://{shown}:{probe.port}{probe.path}"
        async with self._session.get(url, allow_redirects=False) as response:
            return None if 200 <= response.status < 300 else f"HTTP {response.status}"
