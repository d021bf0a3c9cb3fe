"""What passes between the roles and the scripts: grants, and the scripts' answers."""

from dataclasses import dataclass, field

from contracts.receipts import Receipt
from worker.core.state import ServiceState


@dataclass(slots=True)
class Grant:
    """One lane's head, held under a lease.

    `deadline` is when the lease lapses, in seconds of CLOCK_BOOTTIME counted from when the granting or
    renewing call was sent, so it is never later than Redis's. `lost` is set once the lease is known to be gone.
    """

    service: str
    id: str
    token: str
    takeover: bool
    receipt: Receipt
    state: ServiceState
    deadline: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What one take gave: times in ms of Redis TIME, `due_ms` 0 when nothing is due ever."""

    now_ms: int
    epoch: str
    revision: int
    position: str
    due_ms: int
    more: bool
    grants: list[Grant] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Begun:
    """The command runs and its evidence is stored; `called_at` is the evidence's time."""

    ver: str
    called_at: str


@dataclass(frozen=True, slots=True)
class Fenced:
    """The lease is another's or lapsed: write nothing, call nothing."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The command ended (expired) in the very step that was to begin or settle it."""


@dataclass(frozen=True, slots=True)
class Early:
    """It may not be settled so yet: its deadline has not come."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The service changed since it was decided on; decide again on this."""

    state: ServiceState


@dataclass(frozen=True, slots=True)
class Settled:
    """Settled now, or by this token before; `next` is the lane given in the same step."""

    next: Grant | None = None


BeginAnswer = Begun | Fenced | Ended | Stale
SettleAnswer = Settled | Fenced | Ended | Early | Stale


@dataclass(frozen=True, slots=True)
class Written:
    """What was seen is written; the private version is now `ver`."""

    ver: str


@dataclass(frozen=True, slots=True)
class Held:
    """A command holds the lane: look again after it settles."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """A newer look stands."""


ObserveAnswer = Written | Held | Outdated | Stale | Fenced


@dataclass(frozen=True, slots=True)
class Claim:
    """Who observes the room: `mine` this worker; else `wait` seconds until the lease can be had.

    `restore`: nobody has yet published every snapshot in the room's present epoch.
    """

    mine: bool
    wait: float = 0.0
    restore: bool = False
