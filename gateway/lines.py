"""The connection under a request, where the server lets one reach it: to cut it, and to keep it narrow."""

import asyncio
import socket
from dataclasses import dataclass

from starlette.types import Scope

_NAME = "line"


@dataclass(frozen=True, slots=True)
class Line:
    """One client's connection."""

    transport: asyncio.Transport

    def cut(self) -> None:
        """Close it at once, whatever still waits to be sent."""
        self.transport.abort()

    def narrow(self, size: int) -> None:
        """Let the kernel hold no more than about `size` bytes for a client that does not read."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def put_line(scope: Scope, transport: asyncio.Transport) -> None:
    """Let whoever serves the request reach its connection."""
    scope.setdefault("state", {})[_NAME] = Line(transport)


def line_of(scope: Scope) -> Line | None:
    """Return the connection under a request; None under a server of another make."""
    line = scope.get("state", {}).get(_NAME)
    return line if isinstance(line, Line) else None
