"""The services of a room, kept warm and half encoded, so that a list of ten thousand is a join of bytes."""

import bisect
from collections import Counter
from collections.abc import Iterable

import msgspec

from contracts.services import Category, ServiceStatus, Snapshot, uptime_seconds
from contracts.times import format_ms, parse_ms, to_datetime
from gateway.bodies import CategorySummary, Service, ServiceDetail

_encode = msgspec.json.Encoder().encode
_UPTIME = b',"uptime_seconds":'


class Row:
    """One service, encoded on demand up to its uptime, which is all that time changes."""

    __slots__ = ("_brief", "_full", "snapshot", "started")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.started = _running_since(snapshot)
        self._brief: bytes | None = None
        self._full: bytes | None = None

    def head(self, *, full: bool) -> bytes:
        """Return the JSON up to the value of `uptime_seconds`."""
        if full:
            if self._full is None:
                self._full = _head(detail_of(self.snapshot, None))
            return self._full
        if self._brief is None:
            self._brief = _head(service_of(self.snapshot, None))
        return self._brief


def service_of(snapshot: Snapshot, now_ms: int | None) -> Service:
    """Return a snapshot as the Services API shows it, its uptime at `now_ms`."""
    return Service(
        name=snapshot.name,
        display_name=snapshot.display_name or snapshot.name,
        category=snapshot.category,
        status=snapshot.status,
        enabled=snapshot.enabled,
        container_id=snapshot.container_id,
        image=snapshot.image,
        port=snapshot.port,
        failure_count=snapshot.failure_count,
        restart_count=snapshot.restart_count,
        last_restart_at=snapshot.last_restart_at,
        uptime_seconds=None if now_ms is None else uptime_seconds(snapshot, to_datetime(now_ms)),
    )


def detail_of(snapshot: Snapshot, now_ms: int | None) -> ServiceDetail:
    """Return a snapshot with its uptime at `now_ms`."""
    fields = msgspec.structs.asdict(snapshot)
    fields["display_name"] = snapshot.display_name or snapshot.name
    uptime = None if now_ms is None else uptime_seconds(snapshot, to_datetime(now_ms))
    return ServiceDetail(**fields, uptime_seconds=uptime)


class Model:
    """The snapshots of one room at one revision."""

    def __init__(self, snapshots: Iterable[Snapshot] = ()) -> None:
        self._rows: dict[str, Row] = {}
        self._total: Counter[str] = Counter()
        self._healthy: Counter[str] = Counter()
        for snapshot in snapshots:
            self._rows[snapshot.name] = Row(snapshot)
            self._count(snapshot, 1)
        self._names = sorted(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, snapshot: Snapshot) -> None:
        """Take in one that is new or has changed."""
        known = self._rows.get(snapshot.name)
        if known is None:
            bisect.insort(self._names, snapshot.name)
        else:
            self._count(known.snapshot, -1)
        self._rows[snapshot.name] = Row(snapshot)
        self._count(snapshot, 1)

    def drop(self, name: str) -> None:
        """Forget one."""
        row = self._rows.pop(name, None)
        if row is not None:
            self._names.remove(name)
            self._count(row.snapshot, -1)

    def get(self, name: str) -> Snapshot | None:
        """Return one snapshot."""
        row = self._rows.get(name)
        return None if row is None else row.snapshot

    def by_category(self) -> dict[str, CategorySummary]:
        """Return the summaries of all services: known categories always, others where there are services."""
        known = [category.value for category in Category]
        others = sorted(name for name, total in self._total.items() if total and name not in known)
        return {
            name: CategorySummary(
                total=self._total[name],
                healthy=self._healthy[name],
                unhealthy=self._total[name] - self._healthy[name],
            )
            for name in (*known, *others)
        }

    def services_json(self, now_ms: int, *, category: str | None = None, full: bool = False) -> bytes:
        """Return the array of services, by name."""
        rows = [self._rows[name] for name in self._names]
        if category is not None:
            rows = [row for row in rows if row.snapshot.category == category]
        parts = [
            row.head(full=full) + b"null}"
            if row.started is None
            else b"%b%d}" % (row.head(full=full), max(0, (now_ms - row.started) // 1000))
            for row in rows
        ]
        return b"[" + b",".join(parts) + b"]"

    def list_json(self, now_ms: int, *, category: str | None = None, full: bool = False) -> bytes:
        """Return the body of a list."""
        return b'{"services":%b,"by_category":%b,"timestamp":%b}' % (
            self.services_json(now_ms, category=category, full=full),
            _encode(self.by_category()),
            _encode(format_ms(now_ms)),
        )

    def _count(self, snapshot: Snapshot, by: int) -> None:
        self._total[snapshot.category] += by
        if snapshot.status is ServiceStatus.RUNNING:
            self._healthy[snapshot.category] += by


def _running_since(snapshot: Snapshot) -> int | None:
    """Return when the run began that has an uptime by the rule of `uptime_seconds`, in ms since 1970."""
    try:
        if uptime_seconds(snapshot, _LATE) is None or snapshot.started_at is None:
            return None
        return parse_ms(snapshot.started_at)
    except ValueError:
        return None


_LATE = to_datetime(0)


def _head(service: Service | ServiceDetail) -> bytes:
    text = _encode(service)
    return text[: text.rindex(_UPTIME) + len(_UPTIME)]
