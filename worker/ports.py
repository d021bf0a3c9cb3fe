"""The worker's needs of the outside world, named after the caller's need; adapters answer them."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from worker.core.container import Container, EngineSignal, Listed


class EngineError(Exception):
    """Base of all that an engine call may raise."""


class EngineUnavailable(EngineError):
    """The engine gave no answer: not reachable, or the connection broke before one came."""


class EngineBusy(EngineError):
    """The call was still open when its bound ran out; the engine may yet finish it."""


class EngineFailed(EngineError):
    """The engine answered with an error; `message` has its own words."""

    def __init__(self, message: str, http_status: int) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status


class Engine(Protocol):
    """A container engine. Each call is bounded in time and raises nothing but `EngineError`."""

    async def identify(self) -> str:
        """Return the engine's ID."""
        ...

    async def list(self) -> Sequence[Listed]:
        """Return every container labelled `pointsman.enable=true`, running or not."""
        ...

    async def inspect(self, container_id: str) -> Container | None:
        """Return the container, or None when the engine says there is none."""
        ...

    async def start(self, container_id: str) -> None:
        """Start it; a running one is left alone."""
        ...

    async def stop(self, container_id: str, grace: int, bound: float) -> None:
        """Stop it with `grace` seconds before the kill; give up waiting after `bound` seconds."""
        ...

    async def restart(self, container_id: str, grace: int, bound: float) -> None:
        """Stop with `grace` and start the same container, as one engine call; wait up to `bound` seconds."""
        ...

    async def ping(self) -> None:
        """Get any answer from the engine."""
        ...

    def signals(self) -> AsyncIterator[EngineSignal]:
        """Yield hints for ever; `EngineConnected` after each (re)connect, when hints may have been missed."""
        ...

    async def close(self) -> None:
        """Release the connections; end `signals`."""
        ...
