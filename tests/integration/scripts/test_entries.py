"""Nothing that an entry can contain stops a take, and Lua reads entries as Python does."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import codec
from contracts.commands import COMMAND_FIELDS, Command
from contracts.errors import InvalidCommand
from contracts.keys import GROUP
from contracts.scripts import load
from tests.integration.scripts.entries import Entry, entries
from tests.support.redis import RedisServer
from tests.support.scripts import START, Room

pytestmark = pytest.mark.redis_versions("7", "6.2")

FUZZED = {"7": 10_000, "6.2": 3_000}

#: ARGV: field, value, ... of one entry. Answers {command as flat fields, why}; no `why` for a sound one.
READ = """
local command, partial, why = parse_entry(ARGV)
local out = {}
for name, value in pairs(command or partial) do
  out[#out + 1] = name
  out[#out + 1] = tostring(value)
end
return {out, why or ''}
"""


def read_in_lua(client: "redis.Redis", fields: Sequence[Entry]) -> list[tuple[dict[bytes, bytes], bytes]]:
    """Read entries with the real fragment in the real server."""
    parts = load("publisher", "publish").text.split("-- publish:")[0]
    with client.pipeline(transaction=False) as pipe:
        for entry in fields:
            pipe.eval(
                parts + READ, 1, "pointsman:{default}:commands", *[part for pair in entry for part in pair]
            )
        answers: list[Any] = pipe.execute()
    return [(dict(zip(out[::2], out[1::2], strict=True)), why) for out, why in answers]


def decoded(fields: Entry) -> Command | None:
    try:
        return codec.decode_command(fields)
    except InvalidCommand:
        return None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32).map(lambda seed: [entry for entry in entries(25, seed) if len(entry) < 1000]))
def test_an_entry_is_the_same_command_to_lua_and_python(redis_server: RedisServer, fields: list[Entry]):
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        for entry, (read, why) in zip(fields, read_in_lua(client, fields), strict=True):
            expected = decoded(entry)
            assert (expected is None) == bool(why), (entry, why)
            if expected is not None:
                known = {name.encode() for name in COMMAND_FIELDS}
                assert codec.decode_command({k: v for k, v in read.items() if k in known}) == expected


def add_all(room: Room, fields: Sequence[Entry]) -> list[str]:
    raw: redis.Redis = room._raw
    with raw.pipeline(transaction=False) as pipe:
        for entry in fields:
            pipe.execute_command("XADD", room.keys.commands, "*", *[part for pair in entry for part in pair])
        return [at.decode() for at in pipe.execute()]


def test_ten_thousand_entries_stop_nothing_and_each_is_accounted_for(room: Room, redis_server: RedisServer):
    count = FUZZED[redis_server.version]
    fields = list(entries(count, seed=1))
    for at in range(0, count, 10):
        fields[at] = [(b"action", b"stop"), (b"service", b"good%d" % at)]
    ids = add_all(room, fields)
    while room.take(free=0, count=64).more:
        pass

    raw: Any = room._raw
    letters = {letter["entry"]: letter for letter in room.dead()}
    with raw.pipeline(transaction=False) as pipe:
        for at, entry in zip(ids, fields, strict=True):
            command = decoded(entry)
            pipe.hgetall(room.keys.command(at))
            pipe.hgetall(room.keys.command(command.id if command and command.id else at))
        answers = pipe.execute()
    fates: Counter[str] = Counter()
    told = Counter(room.told())
    waiting = 0
    for at, entry, own, receipt in zip(ids, fields, answers[::2], answers[1::2], strict=True):
        command = decoded(entry)
        if command is None:
            fates["malformed"] += 1
            assert own[b"status"] == b"dead", entry
            assert (own[b"code"], own[b"error"], own[b"entry"]) == (b"400", b"invalid_command", at.encode())
            assert told[("command.dead", at)] == 1
            assert letters[at]["kind"] == "malformed"
            buried_whole(letters[at], entry)
        elif receipt[b"entry"] != at.encode() and own:
            fates["conflict"] += 1
            assert (own[b"status"], own[b"code"]) == (b"rejected", b"422")
            assert told[("command.settled", at)] == 1
            assert letters[at]["kind"] == "conflict"
            buried_whole(letters[at], entry)
        elif receipt[b"entry"] != at.encode():
            fates["duplicate"] += 1
            assert int(receipt[b"duplicates"]) >= 1
            assert at not in letters
        else:
            status = receipt[b"status"].decode()
            fates[status] += 1
            waiting += status in {"queued", "scheduled"} and b"coalesced_into" not in receipt
            assert status in {"queued", "scheduled", "expired"}
            assert same_as_asked(receipt, command, at)
    assert fates["malformed"] > count / 5
    assert {"malformed", "conflict", "duplicate", "queued", "scheduled", "expired"} == set(fates)
    assert all(room.lane(f"good{at}") == [ids[at]] for at in range(0, count, 10))
    assert len(letters) == fates["malformed"] + fates["conflict"]
    assert room.pending() == room.client.xlen(room.keys.commands) == waiting
    assert sum(told.values()) == fates["malformed"] + fates["conflict"] + fates["expired"]


def buried_whole(letter: dict[str, str], entry: Entry) -> None:
    """Check that the letter's body is the entry, or its beginning."""
    fields = {key: value for key, value in letter.items() if key != "dead_id"}
    read = codec.decode_dead(letter["dead_id"], fields)
    assert json.loads(read.history or "")[0]["kind"] == read.kind
    if read.truncated:
        assert len((read.body or "").encode()) == 16_384 or read.body_b64
    else:
        assert codec.dead_fields(read) == entry


def same_as_asked(receipt: dict[bytes, bytes], command: Command, at: str) -> bool:
    """Compare a receipt with the command that it is of."""
    read = codec.decode_receipt(receipt)
    assert read.id == (command.id or at)
    if command.expires_at is None:
        assert read.expires_at is not None
    return (
        all(
            getattr(read, name) == getattr(command, name)
            for name in COMMAND_FIELDS
            if name not in {"id", "v", "coalesce", "expires_at"}
            or (name == "expires_at" and command.expires_at)
        )
        and bool(read.coalesce) == command.coalesce
    )


@pytest.mark.parametrize(
    "poison",
    [
        [("x", "y")],
        [("", "")],
        [("action", "restart")],
        [("service", "web")],
        [("action", "restart"), ("service", "web"), ("x", "a" * 16_384)],
        [("action", "restart"), ("service", "web"), ("x", "a" * 2_000_000)],
        [("action", "restart"), ("service", "web")] + [(f"f{n}", "") for n in range(50_000)],
        [("action", "restart"), ("service", "web")] + [("same", "")] * 50_000,
        [("action", "é" * 500_000), ("service", "web"), ("action", "stop")],
    ],
    ids=lambda entry: f"{len(entry)} fields",
)
def test_one_poisoned_entry_holds_up_neither_itself_nor_the_next(room: Room, poison: list[tuple[str, str]]):
    flat = [part for pair in poison for part in pair]
    entry = room.client.execute_command("XADD", room.keys.commands, "*", *flat)
    room.add(action="stop", service="web", id="good")
    assert room.take().only().id == "good"
    assert room.status(entry) == "dead"
    [letter] = room.dead()
    assert len(letter.get("body", "")) <= 16_384
    assert room.pending() == 1
    assert room.client.xinfo_groups(room.keys.commands)[0]["name"] == GROUP


def test_a_malformed_entry_burns_no_id_and_touches_no_receipt(room: Room):
    room.publish(action="stop", service="web", id="k1")
    before = room.receipt("k1")
    room.take(free=0)
    entry = room.add(action="explode", service="web", id="k1", issuer="me", reason="why")
    other = room.add(action="stop", service="", id="k2")
    room.take(free=0)
    assert room.receipt("k1") == before
    assert room.receipt("k2") == {}
    receipt = room.receipt(entry)
    assert (receipt["id"], receipt["service"], receipt["issuer"]) == (entry, "web", "me")
    assert {letter["entry"]: letter["id"] for letter in room.dead()} == {entry: "k1", other: "k2"}
    assert room.publish(action="stop", service="web", id="k2")[0] == "ok"


def test_unknown_fields_are_not_copied_into_the_receipt(room: Room):
    room.add(
        action="stop", service="web", id="k1", colour="red", status="dead", code="200", attempt="9", lease="x"
    )
    room.take(free=0)
    allowed = {"id", "entry", "action", "service", "expires_at", "accepted_at", "duplicates", "status"}
    assert room.receipt("k1").keys() == allowed
    assert room.status("k1") == "queued"


def test_the_clock_of_these_tests_is_far_from_the_real_one(room: Room):
    assert room.take().now == START
