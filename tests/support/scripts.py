"""A room driven by its scripts alone, with its clock in the test's hand.

Text answers; bytes that are no UTF-8 come and go as lone surrogates (`surrogateescape`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.codec import decode_receipt, decode_snapshot, receipt_body
from contracts.errors import MalformedRecord
from contracts.keys import GROUP, Keys
from contracts.scripts import load
from contracts.times import format_ms
from tests.support.host import LOOPBACK
from tests.support.redis import RedisServer
from worker.adapters.redis.telling import Told, rest_of, tell
from worker.core.state import split

#: Where simulated time begins: 2100-01-01, so far from every real clock that a mix-up shows.
START = 4_102_444_800_000
LEASE = 10_000
WINDOW = 86_400_000
TTL = 300_000
ALIVE = 10_000
MAX_ATTEMPTS = 5
#: Marks a serialised set.
SET = b"set "

PUBLISHER = ("publish", "cancel", "requeue", "drop", "forget")
WORKER = (
    "epoch",
    "take",
    "begin",
    "settle",
    "renew",
    "handback",
    "reconcile",
    "lost",
    "observer",
    "observe",
    "remove",
    "heartbeat",
    "engine",
    "beat",
    "leave",
    "heal",
)
_PACKAGE = dict.fromkeys(PUBLISHER, "publisher") | dict.fromkeys(WORKER, "worker.adapters.redis")
_CLOCK = {"time": "local NOW = tonumber(redis.call('GET', BASE .. 'test-clock'))"}


@dataclass(frozen=True, slots=True)
class Grant:
    """A lane's head, given to a worker under a lease."""

    service: str
    id: str
    token: str
    takeover: bool
    receipt: dict[str, str]
    snapshot: dict[str, str]
    ver: str
    memo: str
    worker: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What `take` answers. `due` is the ms of the next deadline, 0 for none; `more`: call again at once."""

    now: int
    epoch: str
    revision: int
    position: str
    due: int
    more: bool
    grants: list[Grant]

    def only(self) -> Grant:
        """Return the one grant that there is."""
        assert len(self.grants) == 1, self.grants
        return self.grants[0]


@dataclass(frozen=True, slots=True)
class Settled:
    """What `settle` answers: `ok`, `done`, `fenced`, `ended`, `early` or `stale`, and the next grants."""

    word: str
    grants: list[Grant] = field(default_factory=list)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return a flat reply as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def flat(fields: Mapping[str, object]) -> list[str]:
    """Return fields as a flat list of arguments."""
    return [str(item) for pair in fields.items() for item in pair]


def connect(server: RedisServer) -> "redis.Redis":
    """Make a blocking client without retries that can carry any bytes as text."""
    return redis.Redis(
        host=LOOPBACK,
        port=server.port,
        decode_responses=True,
        encoding_errors="surrogateescape",
        protocol=2,
        socket_timeout=30,
        retry=Retry(NoBackoff(), 0),
    )


class Room:
    """Call one room's scripts by name. With `clock=None` they read Redis TIME as in service."""

    def __init__(self, client: "redis.Redis", *, keys: Keys | None = None, clock: int | None = START) -> None:
        self.client: Any = client
        self.keys = keys or Keys()
        self._simulated = clock is not None
        self._calls = 0
        self._gathered: list[tuple[Sequence[object], tuple[object, ...]]] | None = None
        self.now = 0
        if clock is not None:
            self.at(clock)

    # Time

    def at(self, ms: int) -> None:
        """Set the clock; entries added from now on have ids of that time, as far as the stream allows."""
        self.now = ms
        self.client.set(self.keys.base + "test-clock", ms)
        if self.client.type(self.keys.commands) == "stream":
            last = self.client.xinfo_stream(self.keys.commands)["last-generated-id"]
            if int(last.split("-")[0]) < ms:
                self.client.execute_command("XSETID", self.keys.commands, f"{ms}-0")

    def pass_time(self, ms: int) -> None:
        """Let simulated time go by."""
        self.at(self.now + ms)

    def time(self, after: int = 0) -> str:
        """Return the present of the room, or `after` ms later, as the wire writes it."""
        return format_ms(self.now + after)

    # Calls

    def call(self, name: str, *args: object) -> Any:
        """Run a script and return its plain answer."""
        script = load(_PACKAGE[name], name, _CLOCK if self._simulated else None)
        given = [self.keys.commands, *args]
        try:
            return self.client.evalsha(script.sha, 1, *given)
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.text, 1, *given)

    def joined(self, name: str, shared: Sequence[object], *args: object) -> Any:
        """Run a script that takes a batch on one command; what it refuses is raised."""
        if self._gathered is not None:
            self._gathered.append((shared, args))
            return ["ok", "", "", "", []]
        [answer] = self.call(name, *shared, len(args), *args)
        if answer[0] == "refused":
            raise redis.exceptions.ResponseError(answer[1])
        return answer

    def together(self, name: str, *calls: Callable[[], object]) -> Any:
        """Make calls of one script as one batch; return the script's answers."""
        self._gathered = []
        for call in calls:
            call()
        gathered, self._gathered = self._gathered, None
        words = [word for _, args in gathered for word in (len(args), *args)]
        return self.call(name, *gathered[0][0], *words)

    def epoch(
        self, *, random: str = "0123abcd", seen: str = "", revision: int = 0, forced: bool = False
    ) -> Any:
        """Make an epoch where one is needed: [epoch, revision, made, why]."""
        answer = self.call("epoch", random, seen, revision, int(forced))
        if self._simulated:
            self.at(self.now)  # the stream is there from now on
        return answer

    def publish(
        self, *, ttl: int = TTL, limit: int = 0, wanted: bool = False, alive: int = ALIVE, **fields: object
    ) -> Any:
        """Publish a command: ['ok'|'duplicate'|'conflict', receipt, alive] or a refusal."""
        answer = self.call("publish", ttl, limit, int(wanted), alive, *flat(fields))
        return _with_receipt(answer)

    def add(self, **fields: object) -> str:
        """Add a raw entry as any producer may; return its stream id."""
        return str(self.client.xadd(self.keys.commands, fields))

    def take(
        self,
        worker: str = "w1",
        *,
        free: int = 10,
        state_only: bool = False,
        count: int = 64,
        lease: int = LEASE,
        window: int = WINDOW,
        ttl: int = TTL,
        max_attempts: int = MAX_ATTEMPTS,
        mark: str | None = None,
        instance: str | None = None,
        beaten: int = 0,
    ) -> Taken:
        """Call take as a worker does."""
        answer = self.call(
            "take",
            worker,
            instance or f"{worker}-i",
            mark or self.token(),
            free,
            int(state_only),
            count,
            lease,
            window,
            ttl,
            max_attempts,
            beaten,
        )
        return Taken(
            now=int(answer[0]),
            epoch=answer[1],
            revision=int(answer[2]),
            position=answer[3],
            due=int(answer[4]),
            more=answer[5] == "1",
            grants=[_grant(item, worker) for item in answer[6]],
        )

    def begin(
        self,
        grant: Grant,
        *,
        evidence: Mapping[str, object] | None = None,
        snapshot: Mapping[str, object] | None = None,
        memo: str = "",
        ver: str | None = None,
        cause: str = '{"kind":"command"}',
        lease: int = 0,
        window: int = WINDOW,
    ) -> Any:
        """Begin a granted command; evidence is stored, the snapshot written where one is given."""
        facts = {"worker": grant.worker} if evidence is None else evidence
        told = self._tell(grant.service, snapshot or {}, cause) if snapshot or memo else Told()
        found = {name: value for name, value in facts.items() if value != ""}
        sets, drops = split(flat(snapshot or {}))
        return self.joined(
            "begin",
            (window,),
            grant.service,
            grant.id,
            grant.token,
            lease,
            grant.ver if ver is None else ver,
            memo,
            self._body(grant.id, {"status": "running", "attempt": 1} | dict(facts)),
            *told,
            2 * len(found),
            len(facts) - len(found),
            len(sets),
            *flat(found),
            *(name for name in facts if name not in found),
            *sets,
            *drops,
        )

    def settle(
        self,
        grant: Grant,
        *,
        outcome: Mapping[str, object] | None = None,
        started: bool = False,
        overdue: bool = False,
        ver: str | None = None,
        memo: str = "",
        cause: str = '{"kind":"command"}',
        snapshot: Mapping[str, object] | None = None,
        want: int = 0,
        mark: str | None = None,
        lease: int = LEASE,
        window: int = WINDOW,
    ) -> Settled:
        """Settle a granted command; by default it succeeded and nothing more is wanted."""
        facts = {"status": "succeeded", "code": 200} if outcome is None else outcome
        begun = {"status": "running", "attempt": 1, "worker": grant.worker}
        told = self._tell(grant.service, snapshot or {}, cause) if memo else Told()
        if started:
            facts = {name: value for name, value in begun.items() if name != "status"} | dict(facts)
        sets, drops = split(flat(snapshot or {}) if memo else [])
        answer = self.joined(
            "settle",
            (window, lease, grant.worker, f"{grant.worker}-i"),
            grant.service,
            grant.id,
            grant.token,
            self._body(grant.id, begun) if started else "",
            int(overdue),
            grant.ver if ver is None else ver,
            memo,
            *told,
            want,
            mark or self.token(),
            self._body(grant.id, facts),
            2 * len(facts),
            len(sets),
            *flat(facts),
            *sets,
            *drops,
        )
        grants = [_grant(item, grant.worker) for item in answer[4]] if answer[0] == "ok" else []
        return Settled(answer[0], grants)

    def _body(self, command_id: str, facts: Mapping[str, object]) -> str:
        """Begin the JSON of a receipt with these facts, as the worker does."""
        known = self.receipt(command_id) | {name: str(value) for name, value in facts.items()}
        try:
            return receipt_body(decode_receipt(known | {"id": command_id})).decode()
        except MalformedRecord:  # a worker would not have got this far
            return '{"id":"' + command_id + '"'

    def _tell(
        self, service: str, snapshot: Mapping[str, object], cause: str, *, always: bool = False
    ) -> Told:
        """Begin the JSON of a service's change as the worker does."""
        held = self.snapshot(service)
        changed = {name: str(value) for name, value in snapshot.items() if held.get(name, "") != str(value)}
        if not snapshot and not always:
            return Told()
        try:
            old = decode_snapshot({"name": service, "status": "running"} | held) if held else None
            new = decode_snapshot({"name": service, "status": "running"} | held | changed)
        except MalformedRecord:  # a worker would not have got this far
            return Told("changed", b'{"name":"%b"' % service.encode(), f'"cause":{cause}')
        return tell(old, new, flat(changed), cause, always=always)

    def observe(
        self,
        service: str,
        snapshot: Mapping[str, object],
        *,
        ticket: int = 1,
        ver: str | None = None,
        memo: str = "{}",
        cause: str = '{"kind":"observation"}',
        observer: str = "observer",
        exhausted: bool = False,
        republish: bool = False,
    ) -> Any:
        """Write what the observer of that token saw; `ver` is by default the one that stands."""
        if ver is None:
            ver = self.client.hget(self.keys.state(service), "ver") or "0"
        told = self._tell(service, snapshot, cause, always=republish)
        gone = ""
        if exhausted:
            status = str(snapshot.get("status") or self.snapshot(service).get("status"))
            gone = rest_of([], status, cause)
            told = told._replace(body=self._tell(service, snapshot, cause, always=True).body)
        sets, drops = split(flat(snapshot))
        return self.call(
            "observe", observer, service, ticket, ver, memo, *told, gone, len(sets), *sets, *drops
        )

    def be_observer(self, instance: str = "w1-i", *, lease: int = 100 * LEASE) -> None:
        """Acquire the observer's lease, with the token "observer"."""
        assert self.call("observer", instance, "observer", lease, 1)[0] == "mine"

    def draw(self) -> int:
        """Draw a look's ticket, as is done before the engine is asked."""
        return int(self.client.incr(self.keys.seq))

    def renew(self, *grants: Grant, lease: int = LEASE) -> list[bool]:
        """Renew leases; say which are still held."""
        return [word == "1" for word in self.call("renew", lease, *_holds(grants))[1:]]

    def handback(self, *grants: Grant, rest: int = 0) -> int:
        """Hand grants back; return how many were still held."""
        return int(self.call("handback", rest, *_holds(grants)))

    def cancel(self, command_id: str, *, window: int = WINDOW, ttl: int = TTL) -> Any:
        """Cancel: ['ok'|'refused', receipt] or ['unknown']."""
        return _with_receipt(self.call("cancel", command_id, window, ttl, "aaaabbbb"))

    def token(self) -> str:
        """Return a token that no call has had yet."""
        self._calls += 1
        return f"token{self._calls}"

    # Looks

    def receipt(self, command_id: str) -> dict[str, str]:
        """Return a receipt's hash, empty if there is none."""
        return dict(self.client.hgetall(self.keys.command(command_id)))

    def status(self, command_id: str) -> str | None:
        """Return the status of a command, None if nobody knows it."""
        return self.receipt(command_id).get("status")

    def snapshot(self, service: str) -> dict[str, str]:
        """Return a snapshot's hash."""
        return dict(self.client.hgetall(self.keys.service(service)))

    def lane(self, service: str) -> list[str]:
        """Return the ids in a lane, the head first."""
        return list(self.client.zrange(self.keys.lane(service), 0, -1))

    def dead(self) -> list[dict[str, str]]:
        """Return the dead letters, the oldest first, each with its own id as `dead_id`."""
        return [{"dead_id": at} | fields for at, fields in self.client.xrange(self.keys.dead)]

    def events(self) -> list[dict[str, Any]]:
        """Return every event that `changes` keeps, parsed; fail where the log is broken.

        Within an epoch revisions grow by one, an entry has the id of its revision, and every event is a
        CloudEvent of this room.
        """
        found: list[dict[str, Any]] = []
        for at, fields in self.client.xrange(self.keys.changes):
            event = json.loads(fields["event"])
            assert at == f"{event['revision']}-0"
            assert event["id"] == f"{event['epoch']}/{event['revision']}"
            assert event["source"] == f"/rooms/{self.keys.room}"
            if found and found[-1]["epoch"] == event["epoch"]:
                assert int(event["revision"]) == int(found[-1]["revision"]) + 1
            found.append(event)
        return found

    def told(self, *, after: int = 0) -> list[tuple[str, str]]:
        """Return (type without "pointsman.", subject) of the events above revision `after`."""
        return [
            (event["type"].removeprefix("pointsman."), event["subject"])
            for event in self.events()
            if int(event["revision"]) > after
        ]

    def revision(self) -> int:
        """Return the room's revision."""
        return int(self.client.hget(self.keys.meta, "revision") or 0)

    def pending(self) -> int:
        """Return how many entries are read and not acknowledged."""
        return int(self.client.xpending(self.keys.commands, GROUP)["pending"])

    def dump(self, *but: str) -> dict[str, bytes]:
        """Return all that the server holds, key -> `serialised`, without the keys `but`."""
        names = sorted(self._raw.scan_iter(count=1000))
        with self._raw.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.dump(name)
                pipe.smembers(name)
            answers = pipe.execute(raise_on_error=False)
        return {
            name.decode(): _serialised(value, members)
            for name, value, members in zip(names, answers[::2], answers[1::2], strict=True)
            if value is not None and name.decode() not in but
        }

    def serialised(self, key: str) -> bytes | None:
        """Return what DUMP says; of a set, whose order is chance, SET and its members sorted."""
        with self._raw.pipeline(transaction=False) as pipe:
            pipe.dump(key)
            pipe.smembers(key)
            value, members = pipe.execute(raise_on_error=False)
        return None if value is None else _serialised(value, members)

    @cached_property
    def _raw(self) -> "redis.Redis":
        settings = self.client.connection_pool.connection_kwargs | {"decode_responses": False}
        return redis.Redis(connection_pool=redis.ConnectionPool(**settings))


def _serialised(value: bytes, members: object) -> bytes:
    return SET + b" ".join(sorted(members)) if isinstance(members, set) else value


def _grant(item: Sequence[Any], worker: str) -> Grant:
    return Grant(
        service=item[0],
        id=item[1],
        token=item[2],
        takeover=item[3] == "1",
        receipt=pairs(item[4]),
        snapshot=pairs(item[5]),
        ver=item[6],
        memo=item[7],
        worker=worker,
    )


def _holds(grants: Iterable[Grant]) -> list[str]:
    return [text for grant in grants for text in (grant.service, grant.id, grant.token)]


def _with_receipt(answer: list[Any]) -> list[Any]:
    return [pairs(item) if isinstance(item, list) else item for item in answer]
