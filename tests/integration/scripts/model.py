"""What a room is, in plain lists: the reference that the scripts are held to.

It knows nothing of Redis: a lane is a list of ids, time is a number, an event is a pair.
"""

from dataclasses import dataclass, field

from tests.support.scripts import LEASE, TTL

MAX_ATTEMPTS = 3
SETTLED = frozenset({"succeeded", "rejected", "failed", "expired", "canceled", "dead"})


@dataclass
class Entry:
    """One entry of the stream as it was added; `fields` is None for garbage."""

    at: str
    fields: dict[str, str] | None
    published: bool = False


@dataclass
class Known:
    """One command with a receipt."""

    id: str
    entry: str
    action: str
    service: str
    expires: int
    due: int = 0
    coalesce: bool = False
    status: str = "queued"
    attempt: int = 0
    handbacks: int = 0
    losses: int = 0
    duplicates: int = 0
    into: str | None = None
    joiners: list[str] = field(default_factory=list)
    settled_by: str = ""
    acknowledged: bool = False

    @property
    def life(self) -> int:
        """Return the ms that it was given to begin."""
        return self.expires - max(order_of(self.entry)[0], self.due)

    @property
    def unstarted(self) -> bool:
        return self.status in {"queued", "scheduled"}


@dataclass
class Hold:
    """A lane's lease, or its rest (no token)."""

    id: str
    token: str
    worker: str
    until: int


def order_of(entry: str) -> tuple[int, int]:
    """Return a stream id as it is ordered."""
    ms, number = entry.split("-")
    return int(ms), int(number)


class Model:
    """Lanes, receipts, leases and the schedule of one room."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.known: dict[str, Known] = {}
        self.unread: list[Entry] = []
        self.lanes: dict[str, list[str]] = {}
        self.ready: list[str] = []
        self.holds: dict[str, Hold] = {}
        self.letters = 0
        self.events: list[tuple[str, str]] = []

    # What producers do

    def publish(self, fields: dict[str, str], entry: str) -> None:
        """A publish that was accepted: receipt and entry at once."""
        known = self._receipt(fields, entry)
        known.status = "scheduled" if known.due > self.now else "queued"
        self.unread.append(Entry(entry, fields, published=True))

    def add(self, entry: str, fields: dict[str, str] | None) -> None:
        self.unread.append(Entry(entry, fields))

    def lose(self, entry: Entry) -> None:
        """A published entry vanished and was missed."""
        assert entry.fields is not None
        self.unread.remove(entry)
        self.letters += 1
        self._settle(self.known[entry.fields["id"]], "dead")

    def forget(self, command_id: str) -> None:
        """The window of a settled command is over."""
        del self.known[command_id]

    def is_same(self, fields: dict[str, str]) -> bool:
        known = self.known[fields["id"]]
        return (known.action, known.service) == (fields["action"], fields["service"])

    def cancel(self, name: str) -> str:
        """Cancel by id or by stream id; return the word that is answered."""
        if name not in self.known:
            unread = next((entry for entry in self.unread if entry.at == name), None)
            if unread is None:
                owner = next(
                    (one for one in self.known.values() if one.entry == name and self._in_stream(one)), None
                )
                return self.cancel(owner.id) if owner else "unknown"
            if unread.fields is None:
                self._read(unread)
                return "refused"
            own = self.known.get(unread.fields.get("id", name))
            if own is not None and own.entry != name:
                self._read(unread)
                return "refused"
            name = own.id if own else self._receipt(unread.fields, name).id
        known = self.known[name]
        if not known.unstarted or (known.into and self.known[known.into].status != "queued"):
            return "refused"
        self._end_unstarted(known, "canceled")
        return "ok"

    # What workers do

    def holds_it(self, service: str, command_id: str, token: str) -> bool:
        hold = self.holds.get(service)
        return bool(hold and (hold.id, hold.token) == (command_id, token) and hold.until > self.now)

    def take(self, worker: str, token: str, free: int) -> list[tuple[str, str, bool]]:
        """Return (id, token, takeover) of each grant."""
        for service, hold in self._due_holds():
            known = self.known[hold.id]
            if known.status == "running":
                del self.holds[service]
                self._make_ready(service)
                continue
            if hold.token:
                known.losses += 1
            if known.losses >= MAX_ATTEMPTS:
                self._bury(known)
            else:
                self._release(service)
        for known in sorted(self._expiring(), key=lambda one: (one.expires, one.id.encode())):
            if known.expires <= self.now and known.unstarted:
                self._end_unstarted(known, "expired")
        due = [one for one in self.scheduled() if one.due <= self.now]
        for known in due:
            self._enter(known)
        for entry in list(self.unread):
            self._read(entry)
        grants: list[tuple[str, str, bool]] = []
        while self.ready and len(grants) < free:
            service = self.ready.pop(0)
            known = self.known[self.lanes[service][0]]
            takeover = known.status == "running"
            if takeover:
                known.attempt += 1
                if known.attempt - known.handbacks > MAX_ATTEMPTS:
                    known.attempt -= 1
                    self._bury(known)
                    continue
            grants.append(self._grant(service, worker, f"{token}:{len(grants) + 1}"))
        return grants

    def begin(self, service: str, command_id: str, token: str) -> str:
        known = self.known.get(command_id)
        if known is None or known.status in SETTLED or not self.holds_it(service, command_id, token):
            return "fenced"
        if known.status == "queued":
            if known.expires <= self.now:
                self._end_unstarted(known, "expired")
                return "ended"
            known.status, known.attempt, known.losses = "running", 1, 0
            self.events.append(("command.started", known.id))
        return "ok"

    def settle(self, service: str, command_id: str, token: str, status: str, *, at_once: bool) -> str:
        known = self.known.get(command_id)
        if known is not None and known.status in SETTLED:
            return "done" if known.settled_by == token else "fenced"
        if known is None or not self.holds_it(service, command_id, token):
            return "fenced"
        if known.status == "queued":
            if known.expires <= self.now:
                self._end_unstarted(known, "expired")
                return "ended"
            if at_once:
                known.attempt = 1
                self.events.append(("command.started", known.id))
        known.settled_by = token
        self.lanes[service].remove(known.id)
        self._settle(known, status)
        self._settle_joiners(known)
        self._release(service)
        return "ok"

    def next_after_settle(self, worker: str, token: str) -> list[tuple[str, str, bool]]:
        """The lane that a settle gives out: the longest waiting, if its head has not begun."""
        if not self.ready or self.known[self.lanes[self.ready[0]][0]].status != "queued":
            return []
        return [self._grant(self.ready.pop(0), worker, f"{token}:1")]

    def renew(self, service: str, command_id: str, token: str) -> bool:
        if not self.holds_it(service, command_id, token):
            return False
        self.holds[service].until = self.now + LEASE
        return True

    def hand_back(self, service: str, command_id: str, token: str, rest: int) -> bool:
        if not self.holds_it(service, command_id, token):
            return False
        self._give_back(service, rest)
        return True

    def reconcile(self, worker: str, tokens: set[str]) -> list[str]:
        unknown = [
            service
            for service, hold in sorted(self.holds.items(), key=lambda item: (item[1].until, item[0]))
            if hold.worker == worker and hold.token and hold.token not in tokens
        ]
        for service in unknown:
            self._give_back(service, 0)
        return unknown

    # What can be seen

    def scheduled(self) -> list[Known]:
        read = [one for one in self.known.values() if one.status == "scheduled" and not self._is_unread(one)]
        return sorted(read, key=lambda one: (one.due, order_of(one.entry)))

    def expiries(self) -> dict[str, int]:
        return {one.id: one.expires for one in self._expiring()}

    def pending(self) -> list[str]:
        """Return the entries that are read and not acknowledged."""
        return [one.entry for one in self.known.values() if self._in_stream(one) and not self._is_unread(one)]

    def next_deadline(self) -> int:
        times = [hold.until for hold in self.holds.values()]
        times += self.expiries().values()
        times += [one.due for one in self.scheduled()]
        return min(times, default=0)

    # How it is done

    def _receipt(self, fields: dict[str, str], entry: str) -> Known:
        at = order_of(entry)[0]
        due = int(fields.get("due", 0))
        expires = int(fields.get("expires", 0)) or max(min(at, self.now), due) + TTL
        command_id = fields.get("id", entry)
        coalesce = fields.get("coalesce") == "1"
        known = Known(command_id, entry, fields["action"], fields["service"], expires, due, coalesce)
        self.known[command_id] = known
        return known

    def _read(self, entry: Entry) -> None:
        self.unread.remove(entry)
        if entry.fields is None:
            self._refuse(entry, "dead")
            return
        known = self.known.get(entry.fields.get("id", entry.at))
        if known is not None and known.entry != entry.at:
            if self.is_same(entry.fields):
                known.duplicates += 1
            else:
                self._refuse(entry, "rejected")
            return
        if known is None:
            known = self._receipt(entry.fields, entry.at)
        if known.expires <= self.now:
            self._settle(known, "expired")
        elif known.due > self.now:
            known.status = "scheduled"
        else:
            self._enter(known)

    def _refuse(self, entry: Entry, status: str) -> None:
        self.letters += 1
        refused = Known(entry.at, entry.at, "", "", 0)
        self.known[entry.at] = refused
        self._settle(refused, status)

    def _enter(self, known: Known) -> None:
        known.status = "queued"
        lane = self.lanes.setdefault(known.service, [])
        last = self.known[lane[-1]] if lane else None
        alike = last is not None and last.status == "queued" and last.action == known.action
        lives = last is not None and (last.expires >= known.expires or last.life == known.life)
        if known.coalesce and last and alike and lives:
            known.into = last.id
            last.joiners.append(known.id)
            known.acknowledged = True
            return
        lane.append(known.id)
        if known.service not in self.holds:
            self._make_ready(known.service)

    def _end_unstarted(self, known: Known, status: str) -> None:
        lane = self.lanes.get(known.service, [])
        if known.into:
            self.known[known.into].joiners.remove(known.id)
        elif known.id in lane:
            if known.joiners:
                heir = self.known[known.joiners.pop(0)]
                lane[lane.index(known.id)], heir.into, heir.joiners = heir.id, None, known.joiners
                for other in heir.joiners:
                    self.known[other].into = heir.id
                known.joiners = []
            else:
                lane.remove(known.id)
            if not lane and known.service in self.ready:
                self.ready.remove(known.service)
            hold = self.holds.get(known.service)
            if hold and hold.id == known.id:
                self._release(known.service)
        self.unread = [entry for entry in self.unread if entry.at != known.entry]
        self._settle(known, status)

    def _settle(self, known: Known, status: str) -> None:
        known.status = status
        self.events.append(("command.dead" if status == "dead" else "command.settled", known.id))

    def _settle_joiners(self, target: Known) -> None:
        for name in target.joiners:
            self.known[name].status = target.status
            self.events.append(("command.settled", name))
        target.joiners = []

    def _bury(self, known: Known) -> None:
        self.letters += 1
        self._settle(known, "dead")
        self._settle_joiners(known)
        self.lanes[known.service].remove(known.id)
        self._release(known.service)

    def _give_back(self, service: str, rest: int) -> None:
        known = self.known[self.holds[service].id]
        if known.status == "running":
            known.handbacks += 1
        else:
            known.losses = 0
        if rest:
            self.holds[service] = Hold(known.id, "", "", self.now + rest)
        else:
            self._release(service)

    def _grant(self, service: str, worker: str, token: str) -> tuple[str, str, bool]:
        head = self.lanes[service][0]
        self.holds[service] = Hold(head, token, worker, self.now + LEASE)
        return head, token, self.known[head].status == "running"

    def _release(self, service: str) -> None:
        self.holds.pop(service, None)
        if self.lanes[service]:
            self._make_ready(service)

    def _make_ready(self, service: str) -> None:
        if service not in self.ready:
            self.ready.append(service)

    def _due_holds(self) -> list[tuple[str, Hold]]:
        due = [(service, hold) for service, hold in self.holds.items() if hold.until <= self.now]
        return sorted(due, key=lambda item: (item[1].until, item[0]))

    def _expiring(self) -> list[Known]:
        return [
            one
            for one in self.known.values()
            if one.unstarted
            and not self._is_unread(one)
            and not (one.into and self.known[one.into].status != "queued")
        ]

    def _is_unread(self, known: Known) -> bool:
        return any(entry.at == known.entry for entry in self.unread)

    def _in_stream(self, known: Known) -> bool:
        return known.status not in SETTLED and not known.acknowledged
