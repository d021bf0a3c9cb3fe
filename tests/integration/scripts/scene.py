"""A furnished room: one of everything that a script can meet; and one call of each kind into it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.scripts import LEASE, Grant, Room

SNAPSHOT = {
    "status": "running",
    "enabled": "1",
    "desired": "running",
    "failure_count": "0",
    "restart_count": "0",
}
NOTHING = "0123abcd"


@dataclass(frozen=True, slots=True)
class Scene:
    """The names of what stands in the room. Services are named for their lane's state."""

    room: Room
    grants: dict[str, Grant]
    raw: str
    letter: str
    observer: str
    planned: str


def furnish(room: Room) -> Scene:
    """Fill an empty room; afterwards leases have lapsed, commands are overdue and due, entries unread."""
    room.epoch()
    for name in ("w1", "w2"):
        room.call("beat", name, f"{name}-i", 10_000_000, "host", "h", "pid", 1)
    observer = str(room.call("observer", "w1-i", "observer-token", 10_000_000, 1)[1])
    planned = room.time(1000)
    for service in ("begun", "granted", "planned", "gone"):
        fields = SNAPSHOT | ({} if service == "gone" else {"container_state": "running"})
        if service == "planned":
            fields["restart_scheduled_at"] = planned
        room.observe(service, fields, observer=observer)

    grants: dict[str, Grant] = {}
    for service in ("lapsed", "lost"):
        room.publish(action="restart", service=service, id=f"{service}-1")
        room.publish(action="restart", service=service, id=f"{service}-2")
    for grant in room.take("w2").grants:
        grants[grant.service] = grant
    room.begin(grants["lapsed"])

    for service in ("begun", "granted", "resting"):
        room.publish(action="restart", service=service, id=f"{service}-1")
        room.publish(action="restart", service=service, id=f"{service}-join", coalesce=1)
        room.publish(action="stop", service=service, id=f"{service}-2")
    for name in ("expired-1", "expired-join"):
        room.publish(action="stop", service="expired", id=name, expires_at=room.time(5000), coalesce=1)
    for grant in room.take("w1", lease=100 * LEASE).grants:
        grants[grant.service] = grant
    room.begin(grants["begun"], memo="{}", snapshot={"desired": "running"})
    room.renew(grants["begun"], lease=100 * LEASE)
    room.handback(grants["resting"], rest=2000)

    soon = room.time(1000)
    for name, after in (("overdue-1", 500), ("overdue-join", 400), ("overdue-3", 3_600_000)):
        extra = {"coalesce": 1} if name == "overdue-join" else {}
        room.publish(action="restart", service="overdue", id=name, expires_at=room.time(after), **extra)
    room.publish(action="start", service="waiting", id="waiting-1")
    room.publish(action="start", service="waiting", id="waiting-join", coalesce=1)
    room.publish(action="stop", service="due", id="due-1", not_before=soon)
    room.publish(action="stop", service="later", id="later-1", not_before=room.time(60_000))
    room.add(action="nonsense", service="web")
    room.take("w1", free=0)
    letter = room.dead()[-1]["dead_id"]

    room.publish(action="stop", service="vanished", id="vanished-1")
    room.client.xdel(room.keys.commands, room.receipt("vanished-1")["entry"])
    room.publish(action="stop", service="unread", id="unread-1")
    room.add(action="start", service="waiting", id="new-join", coalesce=1)
    room.add(action="start", service="waiting", id="waiting-1")
    room.add(action="stop", service="waiting", id="waiting-1")
    room.add(action="stop", service="new", id="new-1", not_before=room.time(60_000))
    room.add(action="\xff", service="new", id="new-2")
    raw = room.add(action="stop", service="raw", id="raw-1")
    room.pass_time(2 * LEASE)
    return Scene(room, grants, raw, letter, observer, planned)


def _call(scene: Scene, name: str, *args: object) -> Any:
    return scene.room.call(name, *args)


def _held(scene: Scene) -> list[str]:
    return [text for grant in _mine(scene) for text in (grant.service, grant.id, grant.token)]


def _mine(scene: Scene) -> list[Grant]:
    return [scene.grants["begun"], scene.grants["granted"]]


_WRITTEN: dict[str, Any] = {"memo": '{"m":1}', "snapshot": SNAPSHOT | {"restart_count": "7"}}
_EVIDENCE: dict[str, Any] = {"evidence": {"before_container_id": "c"}}
_HEAL = ("action", "restart", "service", "planned", "id", "heal-1")

#: "script" or "script, which case" -> its call.
CALLS: dict[str, Callable[[Scene], Any]] = {
    "epoch": lambda s: _call(s, "epoch", NOTHING, "", 0, 1),
    "take": lambda s: s.room.take("w3"),
    "take, state only": lambda s: s.room.take("w3", state_only=True),
    "begin": lambda s: s.room.begin(s.grants["granted"], **_EVIDENCE, **_WRITTEN),
    "begin, again": lambda s: s.room.begin(s.grants["begun"], **_EVIDENCE, ver="2"),
    "begin, stale": lambda s: s.room.begin(s.grants["granted"], ver="9"),
    "begin, expired": lambda s: s.room.begin(s.grants["expired"]),
    "settle": lambda s: s.room.settle(s.grants["begun"], ver="2", **_WRITTEN, want=1),
    "settle, at once": lambda s: s.room.settle(s.grants["granted"], started=True, **_WRITTEN, want=1),
    "settle, fenced": lambda s: s.room.settle(s.grants["lost"], want=1),
    "settle, expired": lambda s: s.room.settle(s.grants["expired"], want=1),
    "renew": lambda s: s.room.renew(*_mine(s)),
    "handback": lambda s: s.room.handback(*_mine(s)),
    "handback, rest": lambda s: s.room.handback(*_mine(s), rest=1000),
    "reconcile": lambda s: _call(s, "reconcile", "w1-i"),
    "lost": lambda s: _call(s, "lost", 1000, 0, 100),
    "observer": lambda s: _call(s, "observer", "w1-i", "t2", LEASE, 1),
    "observer, candidate": lambda s: _call(s, "observer", "w2-i", "t2", LEASE, 1),
    "observe": lambda s: s.room.observe(
        "planned",
        SNAPSHOT | {"status": "stopped"},
        ticket=9,
        ver="1",
        observer=s.observer,
        exhausted=True,
    ),
    "remove": lambda s: _call(s, "remove", s.observer, "gone", "1", '{"kind":"observation"}'),
    "heartbeat": lambda s: _call(s, "heartbeat", s.observer),
    "engine": lambda s: _call(s, "engine", s.observer, "available", "e1"),
    "beat": lambda s: _call(s, "beat", "w1", "w1-i", LEASE, "host", "h"),
    "leave": lambda s: _call(s, "leave", "w1", "w1-i"),
    "heal": lambda s: _call(s, "heal", "planned", s.planned, 1000, *_HEAL),
    "publish": lambda s: s.room.publish(action="stop", service="web", id="p-1"),
    "publish, duplicate": lambda s: s.room.publish(action="stop", service="later", id="later-1"),
    "cancel, head": lambda s: s.room.cancel("waiting-1"),
    "cancel, granted": lambda s: s.room.cancel("granted-1"),
    "cancel, joiner": lambda s: s.room.cancel("waiting-join"),
    "cancel, scheduled": lambda s: s.room.cancel("later-1"),
    "cancel, running": lambda s: s.room.cancel("begun-1"),
    "cancel, unread": lambda s: s.room.cancel("unread-1"),
    "cancel, raw": lambda s: s.room.cancel(s.raw),
    "requeue": lambda s: _call(s, "requeue", s.letter, 1000, "action", "stop", "service", "web"),
    "drop": lambda s: _call(s, "drop", s.letter, "1-1"),
    "forget": lambda s: _call(s, "forget", "gone", NOTHING, "", ""),
}
