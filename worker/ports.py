"""The worker's needs of the outside world, named after the caller's need; adapters answer them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from contracts.receipts import Receipt
from contracts.services import Snapshot
from worker.core.container import Container, EngineSignal, Listed
from worker.core.delivery import BeginAnswer, Claim, Grant, ObserveAnswer, SettleAnswer, Taken
from worker.core.labels import Probe
from worker.core.state import Memo, ServiceState


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


class SignalStream(Protocol):
    """Signals for one reader. A wait for the next one may be cancelled and taken up again without loss."""

    def __aiter__(self) -> AsyncIterator[EngineSignal]: ...

    async def __anext__(self) -> EngineSignal: ...

    async def aclose(self) -> None:
        """Stop listening; whoever waits for a signal is let go. A stream that is dropped does so too."""
        ...


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

    def signals(self) -> SignalStream:
        """Yield hints until closed, from now on, each once.

        `EngineConnected` comes first, and again after each break, when hints may have been missed.
        """
        ...

    async def close(self) -> None:
        """Release the connections; end `signals`."""
        ...


class RedisLost(Exception):
    """Redis gave no answer: whether the call was carried out is not known."""


class RoomRefused(Exception):
    """The room's script refused and wrote nothing: out of memory, or a key of a wrong type; the text says which."""


class Inbox(Protocol):
    """Where commands come from."""

    async def take(self, free: int, *, state_only: bool, count: int) -> Taken:
        """Move what is due, read up to `count` new entries into lanes, hold up to `free` lanes."""
        ...

    async def await_take(
        self, position: str, seconds: float, free: int, *, state_only: bool, count: int
    ) -> Taken | None:
        """Take as soon as something was added after `position`, lanes were handed back, or `seconds` went by.

        None when that failed: whether something was taken is not known. So too when the wait is cancelled.
        """
        ...

    def after_lull(self, then: Callable[[], object]) -> None:
        """Call `then` when Redis has answered what it was asked, or after a moment: what was just taken goes first."""
        ...

    async def release(self) -> None:
        """Let `await_take` go on at once."""
        ...


class Ledger(Protocol):
    """Where a held command's course is written; each write is fenced by the grant's token."""

    async def begin(
        self, grant: Grant, snapshot: Snapshot, memo: Memo, evidence: Mapping[str, str]
    ) -> BeginAnswer:
        """Begin it, or renew its evidence under the same attempt."""
        ...

    async def settle(
        self,
        grant: Grant,
        outcome: Mapping[str, str],
        change: tuple[Snapshot, Memo] | None,
        *,
        started: bool = False,
        overdue_only: bool = False,
        want: bool = False,
    ) -> SettleAnswer:
        """End it with `outcome`, write the service's `change`, and take the next lane if `want`."""
        ...

    async def renew(self, grants: Sequence[Grant]) -> None:
        """Prolong the leases; sets `lost` on those that are gone."""
        ...

    async def hand_back(self, grants: Sequence[Grant], *, rest: float = 0) -> None:
        """Give lanes back, to be taken at once or after `rest` seconds; counts nothing."""
        ...

    async def reconcile(self, held: Callable[[], Sequence[Grant]]) -> None:
        """After a lost answer: free what this process was given and never heard of.

        `held` tells what it has at the moment in which the call goes out.
        """
        ...


class Board(Protocol):
    """Where the observer writes what it sees."""

    async def claim(self, *, able: bool, restored: str = "") -> Claim:
        """Become or stay the room's observer; `able` says that the engine answers here.

        `restored` is the epoch in which this observer has published every snapshot anew.
        """
        ...

    async def ticket(self) -> int:
        """Draw the number that orders a look; before the engine is asked."""
        ...

    async def states(self, names: Sequence[str]) -> list[ServiceState]:
        """Read what is known of these services."""
        ...

    async def names(self) -> list[str]:
        """Return the services that have a snapshot."""
        ...

    async def observe(
        self,
        name: str,
        ticket: int,
        old: ServiceState,
        new: tuple[Snapshot, Memo],
        *,
        exhausted: bool = False,
        republish: bool = False,
    ) -> ObserveAnswer:
        """Write what was seen of one service, if nothing newer stands."""
        ...

    async def remove(self, name: str, ver: str) -> bool:
        """Drop the snapshot of a service that is gone; False when it is not as it was."""
        ...

    async def engine(self, *, available: bool, engine_id: str = "") -> bool:
        """Say whether the engine answers; False when this is no longer the observer."""
        ...

    async def heartbeat(self) -> None:
        """Publish the room's heartbeat."""
        ...

    async def settled(self, seconds: float) -> Sequence[str]:
        """Wait at most `seconds` until commands settle; return their services. Begins with the lease."""
        ...

    async def receipt(self, command_id: str) -> Receipt | None:
        """Read a receipt."""
        ...

    async def heal(self, service: str, due: str, ttl: float, fields: Mapping[str, str]) -> str:
        """Publish a due heal; returns the script's word."""
        ...

    async def bury_lost(self) -> Sequence[str]:
        """End commands whose entry vanished before it was read; return their ids."""
        ...

    async def whole(self) -> bool:
        """Say whether every snapshot has been published in the present epoch: nothing is being restored."""
        ...

    async def remember(self, states: Mapping[str, ServiceState], *, first: bool) -> None:
        """Put down what this worker knows, for the observer of a new epoch."""
        ...

    async def rouse(self) -> None:
        """Wake the other workers, so that they notice a new epoch and put down what they know."""
        ...

    async def recall(self) -> Mapping[str, ServiceState]:
        """Return what workers put down."""
        ...


class Asker(Protocol):
    """Asks a service itself whether it is ready."""

    async def ask(self, probe: Probe, addresses: Sequence[str]) -> str | None:
        """Return None when it is ready, else why not. Bounded in time; raises nothing of its own."""
        ...


class Presence(Protocol):
    """Where a worker says that it is there."""

    async def beat(self, info: Mapping[str, str]) -> float | None:
        """Beat; None, or the seconds until the beat of another process of this name lapses."""
        ...

    async def leave(self) -> None:
        """Say goodbye."""
        ...


class Clock(Protocol):
    """Time, injected."""

    def boot(self) -> float:
        """Return seconds of a clock that counts through a suspend (CLOCK_BOOTTIME)."""
        ...

    def redis_ms(self) -> int:
        """Return the best estimate of Redis TIME in ms; deadlines are judged in scripts, not by this."""
        ...

    def saw(self, redis_ms: int) -> None:
        """Take Redis TIME from an answer just received."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Log(Protocol):
    """What happened, for people and machines."""

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the expected."""
        ...

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Tell of what somebody should look at."""
        ...
