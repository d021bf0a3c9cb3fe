"""Every key and channel name of a room, spelled once."""

import re
from dataclasses import dataclass, field

#: The consumer group on the commands stream.
GROUP = "workers"
#: The field of a `changes` entry that holds the event's JSON.
EVENT_FIELD = "event"
DEFAULT_ROOM = "default"
DEFAULT_PREFIX = "pointsman"

ROOM_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
PREFIX_PATTERN = r"[a-z0-9:_-]{1,32}"

_ROOM = re.compile(ROOM_PATTERN)
_PREFIX = re.compile(PREFIX_PATTERN)


@dataclass(frozen=True, slots=True)
class Keys:
    """Name the keys of one room.

    The braces around the room are literal: they are the Redis Cluster hash tag, which keeps a room in
    one slot. Raises ValueError for a room or a prefix that the contract does not allow. Arguments of
    the methods are taken as they are.
    """

    room: str = DEFAULT_ROOM
    prefix: str = DEFAULT_PREFIX
    base: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _ROOM.fullmatch(self.room):
            raise ValueError(
                f"room {self.room!r} is not a room's name: use 1 to 63 of a-z, 0-9 and '-', the first no '-'"
            )
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                f"prefix {self.prefix!r} is not a key prefix: use 1 to 32 of a-z, 0-9, ':', '_' and '-'"
            )
        object.__setattr__(self, "base", f"{self.prefix}:{{{self.room}}}:")

    # Public: the contract's table.

    @property
    def commands(self) -> str:
        """Return the stream of commands; its group is `GROUP`."""
        return self.base + "commands"

    def command(self, command_id: str) -> str:
        """Return the receipt's hash."""
        return f"{self.base}command:{command_id}"

    @property
    def services(self) -> str:
        """Return the set of the names that have a snapshot."""
        return self.base + "services"

    def service(self, name: str) -> str:
        """Return the snapshot's hash."""
        return f"{self.base}service:{name}"

    @property
    def events(self) -> str:
        """Return the pub/sub channel of all events."""
        return self.base + "events"

    @property
    def changes(self) -> str:
        """Return the stream that keeps the events; entry id `<revision>-0`."""
        return self.base + "changes"

    @property
    def meta(self) -> str:
        """Return the hash of epoch, revision and engine."""
        return self.base + "meta"

    @property
    def dead(self) -> str:
        """Return the stream of dead letters."""
        return self.base + "dead"

    @property
    def workers(self) -> str:
        """Return the sorted set of workers by the ms of their last beat."""
        return self.base + "workers"

    def worker(self, name: str) -> str:
        """Return the hash that one worker keeps alive."""
        return f"{self.base}worker:{name}"

    @property
    def rooms(self) -> str:
        """Return the set of the rooms ever served; outside the room's slot, so outside every script."""
        return self.prefix + ":rooms"

    # Private to workers and to the publish scripts: may change with any release.

    def lane(self, service: str) -> str:
        """Return the order of one service's commands."""
        return f"{self.base}lane:{service}"

    def lease(self, service: str) -> str:
        """Return the hash of who holds the service's lane, with which token, for which command."""
        return f"{self.base}lease:{service}"

    @property
    def leases(self) -> str:
        """Return the sorted set of held services by the ms at which the lease lapses."""
        return self.base + "leases"

    @property
    def ready(self) -> str:
        """Return the services whose lane has a head that nobody holds."""
        return self.base + "ready"

    @property
    def scheduled(self) -> str:
        """Return the sorted set of commands by the ms of their `not_before`."""
        return self.base + "scheduled"

    @property
    def expiries(self) -> str:
        """Return the sorted set of unstarted commands by the ms of their `expires_at`."""
        return self.base + "expiries"

    def joiners(self, command_id: str) -> str:
        """Return the commands that were coalesced into this one, the oldest first."""
        return f"{self.base}joiners:{command_id}"

    @property
    def unread(self) -> str:
        """Return the published commands that no worker has read yet."""
        return self.base + "unread"

    def state(self, service: str) -> str:
        """Return the private hash of one service: version, ticket, plans."""
        return f"{self.base}state:{service}"

    @property
    def observer(self) -> str:
        """Return the lease of the room's observer."""
        return self.base + "observer"

    @property
    def wake(self) -> str:
        """Return the stream that wakes waiting workers."""
        return self.base + "wake"

    @property
    def seq(self) -> str:
        """Return the counter behind the lanes' order and the tickets of looks."""
        return self.base + "seq"

    @property
    def requeues(self) -> str:
        """Return the hash that counts the requeues of each dead letter."""
        return self.base + "requeues"

    @property
    def relook(self) -> str:
        """Return the stream of the services whose commands have settled, for the observer to look at."""
        return self.base + "relook"

    @property
    def recall(self) -> str:
        """Return the hash in which workers put what they remember, after Redis lost it."""
        return self.base + "recall"
