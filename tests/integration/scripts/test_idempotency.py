"""One id, one command: whoever publishes it, however often, whenever."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from contracts.codec import decode_receipt
from contracts.receipts import same_receipt
from tests.support.redis import RedisServer
from tests.support.scripts import Room, connect
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.redis_versions("7", "6.2")

RESTART = {"action": "restart", "service": "web"}


def settled_once(room: Room, command_id: str = "k1") -> None:
    told = room.told()
    assert told.count(("command.started", command_id)) == 1
    assert told.count(("command.settled", command_id)) == 1


def test_raw_duplicates_before_during_and_after_execution_run_nothing_again(room: Room):
    for _ in range(3):
        room.add(**RESTART, id="k1")
    grant = room.take().only()
    assert room.receipt("k1")["duplicates"] == "2"
    assert room.client.xlen(room.keys.commands) == 1

    room.begin(grant)
    room.add(**RESTART, id="k1")
    assert room.take().grants == []
    running = room.receipt("k1")
    assert (running["duplicates"], running["status"], running["attempt"]) == ("3", "running", "1")

    room.settle(grant)
    room.add(**RESTART, id="k1")
    assert room.take().grants == []
    after = room.receipt("k1")
    assert (after["duplicates"], after["status"]) == ("4", "succeeded")
    assert room.pending() == 0
    assert room.client.xlen(room.keys.commands) == 0
    settled_once(room)


def test_a_duplicate_gets_the_stored_receipt_equal_but_for_duplicates(room: Room):
    first = room.publish(**RESTART, id="k1", issuer="one")[1]
    again = room.publish(**RESTART, id="k1", issuer="two", reason="more")
    assert again[0] == "duplicate"
    assert same_receipt(decode_receipt(first), decode_receipt(again[1]))
    assert again[1]["duplicates"] == "1"

    grant = room.take().only()
    room.begin(grant)
    room.settle(grant)
    stored = room.publish(**RESTART, id="k1")
    assert stored[0] == "duplicate"
    assert stored[1]["status"] == "succeeded"
    assert stored[1] == room.receipt("k1")


def test_published_first_then_raw_and_raw_first_then_published(room: Room):
    room.publish(**RESTART, id="k1")
    room.add(**RESTART, id="k1")
    room.add(**RESTART, id="k2")
    assert room.publish(**RESTART, id="k2")[0] == "ok"  # nobody has seen the raw one yet
    grant = room.take().only()
    assert grant.id == "k1"
    assert room.lane("web") == ["k1", "k2"]
    assert room.receipt("k1")["duplicates"] == "1"
    assert room.receipt("k2")["duplicates"] == "1"
    assert room.client.xlen(room.keys.commands) == 2


def test_a_duplicate_read_with_the_command_itself_is_in_what_its_worker_is_given(room: Room):
    room.publish(**RESTART, id="k1")
    room.add(**RESTART, id="k1")
    grant = room.take().only()
    assert grant.receipt["duplicates"] == room.receipt("k1")["duplicates"] == "1"


def test_a_published_receipt_names_its_entry_even_when_the_raw_one_stands_before_it(room: Room):
    raw = room.add(**RESTART, id="k1")
    published = room.publish(**RESTART, id="k1")[1]
    assert published["entry"] > raw
    room.take()
    assert room.lane("web") == ["k1"]
    assert [at for at, _ in room.client.xrange(room.keys.commands)] == [published["entry"]]


@pytest.mark.parametrize(
    "other",
    [
        {"action": "stop"},
        {"service": "db"},
        {"timeout": "7"},
        {"expect_container_id": "0123456789ab"},
        {"expect_started_at": "2026-01-01T00:00:00Z"},
    ],
)
def test_another_fingerprint_is_refused_and_the_first_untouched(room: Room, other: dict[str, str]):
    first = room.publish(**RESTART, id="k1")[1]
    answer = room.publish(**(RESTART | other), id="k1")
    assert answer[:2] == ["conflict", first]
    assert room.client.xlen(room.keys.commands) == 1

    entry = room.add(**(RESTART | other), id="k1")
    room.take(free=0)
    receipt = room.receipt(entry)
    assert (receipt["status"], receipt["code"], receipt["error"]) == (
        "rejected",
        "422",
        "idempotency_conflict",
    )
    assert receipt["id"] == receipt["entry"] == entry
    [letter] = room.dead()
    assert (letter["kind"], letter["entry"], letter["id"]) == ("conflict", entry, "k1")
    assert room.told() == [("command.settled", entry)]
    assert room.receipt("k1") == first
    assert room.pending() == 1


def test_what_is_no_part_of_the_fingerprint_makes_no_conflict(room: Room):
    room.publish(**RESTART, id="k1", expect_container_id="0123456789AB" + "c" * 52, timeout="007")
    answer = room.publish(
        **RESTART,
        id="k1",
        expect_container_id="0123456789ab",
        timeout=7,
        issuer="x",
        reason="y",
        coalesce=1,
        expires_at=room.time(1000),
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        tracestate="z",
    )
    assert answer[0] == "duplicate"


def test_without_id_every_entry_is_a_command_of_its_own(room: Room):
    entries = [room.add(**RESTART) for _ in range(3)]
    room.take(free=0)
    assert room.lane("web") == entries
    assert [room.receipt(entry)["duplicates"] for entry in entries] == ["0", "0", "0"]


def test_replay_after_a_new_epoch_makes_no_duplicate_of_anything(room: Room):
    started = room.take
    room.publish(**RESTART, id="running")
    room.publish(**RESTART, id="queued")
    room.publish(**RESTART, id="later", not_before=room.time(60_000))
    room.publish(action="stop", service="db", id="held")
    joined = room.publish(action="stop", service="db", id="joined", coalesce=1)[1]
    grants = started().grants
    room.begin(grants[0])
    before = {name: room.receipt(name) for name in ("running", "queued", "later", "held", "joined")}
    lanes = room.lane("web"), room.lane("db")

    for _ in range(2):
        assert room.epoch(forced=True)[2] == "1"
        assert room.take().grants == []

    assert {name: room.receipt(name) for name in before} == before
    assert (room.lane("web"), room.lane("db")) == lanes
    assert room.client.zcard(room.keys.scheduled) == 1
    assert joined["entry"] not in [at for at, _ in room.client.xrange(room.keys.commands)]
    assert room.settle(grants[0]).word == "ok"  # a lease that is still there is kept
    room.begin(grants[1])
    assert room.settle(grants[1]).word == "ok"
    assert room.status("joined") == "succeeded"
    room.pass_time(60_000)
    assert {grant.id for grant in room.take().grants} == {"queued"}
    assert room.lane("web") == ["queued", "later"]


def test_a_running_command_whose_lane_was_lost_is_taken_over_before_the_others(room: Room):
    room.publish(**RESTART, id="k1")
    room.publish(**RESTART, id="k2")
    room.begin(room.take().only())
    for name in ("lease:web", "lane:web", "leases", "ready", "expiries"):
        room.client.delete(room.keys.base + name)
    room.epoch(forced=True)
    again = room.take("w2").only()
    assert (again.id, again.takeover, again.receipt["attempt"]) == ("k1", True, "2")
    assert room.lane("web") == ["k1", "k2"]


def test_a_running_command_that_fell_out_of_its_lane_is_its_head_again(room: Room):
    room.publish(**RESTART, id="k1")
    room.publish(**RESTART, id="k2")
    room.begin(room.take().only())
    room.client.zrem(room.keys.lane("web"), "k1")
    room.client.delete(room.keys.lease("web"), room.keys.leases)
    room.epoch(forced=True)
    again = room.take("w2").only()
    assert (again.id, again.takeover) == ("k1", True)
    assert room.lane("web") == ["k1", "k2"]


def test_the_entry_of_a_joiner_that_is_found_again_is_only_acknowledged(room: Room):
    room.publish(**RESTART, id="k1")
    entry = room.publish(**RESTART, id="k2", coalesce=1)[1]["entry"]
    room.take(free=0)
    before = room.receipt("k2")
    room.client.delete(room.keys.commands)
    room.client.xadd(room.keys.commands, RESTART | {"id": "k2", "coalesce": "1"}, id=entry)
    room.epoch()
    room.take(free=0)
    assert room.receipt("k2") == before
    assert room.lane("web") == ["k1"]
    assert room.client.lrange(room.keys.joiners("k1"), 0, -1) == ["k2"]
    assert (room.client.xlen(room.keys.commands), room.pending()) == (0, 0)


def test_a_settled_command_whose_entry_is_still_there_is_only_acknowledged(room: Room):
    room.publish(**RESTART, id="k1")
    entry = room.receipt("k1")["entry"]
    grant = room.take().only()
    room.begin(grant)
    room.settle(grant)
    room.client.delete(room.keys.commands)
    room.client.xadd(room.keys.commands, RESTART | {"id": "k1"}, id=entry)
    before = room.receipt("k1")
    room.epoch()
    assert room.take().grants == []
    assert room.receipt("k1") == before
    assert (room.client.xlen(room.keys.commands), room.pending()) == (0, 0)


def test_the_window_frees_the_id(room: Room):
    room.add(**RESTART, id="k1")
    grant = room.take().only()
    assert room.client.pttl(room.keys.command("k1")) == -1  # no expiry before it settles
    room.begin(grant)
    assert room.client.pttl(room.keys.command("k1")) == -1
    room.settle(grant, window=60_000)
    full = room.client.pttl(room.keys.command("k1"))
    assert 50_000 < full <= 60_000
    room.client.pexpire(room.keys.command("k1"), 30_000)
    room.publish(**RESTART, id="k1")
    room.add(**RESTART, id="k1")
    room.take()
    assert room.client.pttl(room.keys.command("k1")) <= 30_000  # duplicates prolong nothing

    room.client.pexpire(room.keys.command("k1"), 1)
    eventually_sync(lambda: room.receipt("k1") == {})
    room.add(action="stop", service="db", id="k1")
    assert room.take().only().id == "k1"


@pytest.mark.parametrize("window", [40])
def test_every_settled_status_burns_the_id_for_the_window(room: Room, window: int):
    outcomes = {
        "rejected": ("404", "service_not_found"),
        "failed": ("503", "engine_unavailable"),
        "succeeded": ("200", ""),
    }
    for status, (code, error) in outcomes.items():
        room.add(**RESTART, id=status)
        grant = room.take().only()
        room.settle(grant, outcome={"status": status, "code": code, "error": error}, window=window * 1000)
        assert room.publish(**RESTART, id=status)[0] == "duplicate"
        assert room.publish(action="stop", service="web", id=status)[0] == "conflict"
        assert room.client.pttl(room.keys.command(status)) > window


@pytest.mark.redis_versions("7")
def test_twenty_concurrent_publishes_of_one_id_make_one_entry(room: Room, redis_server: RedisServer):
    def publish(_: int) -> list[object]:
        with connect(redis_server) as client:
            return list(Room(client).publish(**RESTART, id="k1"))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(publish, range(20)))
    assert sorted(str(answer[0]) for answer in answers) == ["duplicate"] * 19 + ["ok"]
    assert room.client.xlen(room.keys.commands) == 1
    assert room.receipt("k1")["duplicates"] == "19"
    assert room.take().only().id == "k1"
