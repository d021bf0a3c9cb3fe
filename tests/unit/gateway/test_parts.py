"""The small parts: the model, readers, the pace, waits, settings."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.services import Snapshot, uptime_seconds
from contracts.times import to_ms
from gateway.app import Gateway
from gateway.handlers.streams import Streams
from gateway.log import Log
from gateway.model import Model, Row, detail_of, service_of
from gateway.problems import Problem
from gateway.rates import Rates
from gateway.readers import Item, Reader
from gateway.server import Unbound, check_address
from gateway.settings import GatewaySettings
from pointsman.journal import Journal
from tests.support.roombook import service

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@given(
    state=st.sampled_from([None, "running", "paused", "exited", "restarting"]),
    started=st.sampled_from(
        [None, "2026-01-01T12:00:00.5Z", "2026-01-03T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday"]
    ),
    full=st.booleans(),
)
def test_the_model_has_the_uptime_of_the_contract(state: str | None, started: str | None, full: bool):
    snapshot = service(1, container_state=state, started_at=started)
    listed = msgspec.json.decode(Model([snapshot]).services_json(to_ms(NOW), full=full))[0]
    assert listed["uptime_seconds"] == uptime_seconds(snapshot, NOW)
    one = (detail_of if full else service_of)(snapshot, to_ms(NOW))
    assert msgspec.to_builtins(one) == listed


names = st.sampled_from(["a", "b", "c", "d"])
steps = st.lists(
    st.tuples(names, st.sampled_from(["running", "stopped", "gone"]), st.sampled_from(["ai", "office"])),
    max_size=30,
)


@given(steps)
def test_summaries_are_what_counting_anew_gives(history: list[tuple[str, str, str]]):
    model, plain = Model(), dict[str, Snapshot]()
    for name, status, category in history:
        if status == "gone":
            model.drop(name)
            plain.pop(name, None)
        else:
            plain[name] = service(1, name=name, status=status, category=category)
            model.put(msgspec.convert(msgspec.to_builtins(plain[name]), Snapshot))
    found = msgspec.to_builtins(model.by_category())
    assert list(found)[:3] == ["infrastructure", "ai", "monitoring"]
    for category in ("infrastructure", "ai", "monitoring", "office"):
        mine = [s for s in plain.values() if s.category == category]
        healthy = sum(s.status == "running" for s in mine)
        expected = {"total": len(mine), "healthy": healthy, "unhealthy": len(mine) - healthy}
        assert found.get(category, {"total": 0, "healthy": 0, "unhealthy": 0}) == expected
    listed = msgspec.json.decode(model.services_json(0))
    assert [s["name"] for s in listed] == sorted(plain)
    assert len(model) == len(plain)


def test_text_that_looks_like_the_end_does_not_end_a_row():
    snapshot = service(1, display_name='x","uptime_seconds":7}', reason=',"uptime_seconds":')
    for full in (True, False):
        row = msgspec.json.decode(Row(snapshot).head(full=full) + b"1}")
        assert (row["display_name"], row["uptime_seconds"]) == (snapshot.display_name, 1)


def reader(**options: Any) -> Reader:
    return Reader(None, **({"most_events": 3, "most_bytes": 100} | options))


async def test_a_reader_gets_what_was_pushed_in_one_piece():
    one = reader()
    one.push(b"a")
    one.push(b"b")
    assert await one.take() == b"ab"
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(0)
    one.push(b"c")
    assert await taking == b"c"
    one.push(b"d")
    one.end()
    one.push(b"e")
    assert (await one.take(), await one.take()) == (b"d", b"")


@pytest.mark.parametrize("chunks", [[b"x"] * 4, [b"x" * 60] * 2])
async def test_a_reader_with_too_much_waiting_is_cut_once(chunks: list[bytes]):
    one, cuts = reader(), list[int]()
    one.on_cut = lambda: cuts.append(1)
    for chunk in chunks * 2:
        one.push(chunk)
    assert (one.cut, cuts, await one.take()) == (True, [1], b"")


async def test_one_chunk_of_any_size_goes_to_who_has_taken_all():
    one = reader()
    one.push(b"x" * 5000)
    assert not one.cut
    assert len(await one.take()) == 5000


async def test_heartbeats_never_pile_up():
    one = reader()
    one.beat(b"1")
    one.beat(b"2")
    assert await one.take() == b"1"


def test_a_reader_of_one_service_wants_only_that():
    one = Reader(["a"], most_events=1, most_bytes=1)
    assert one.wants(Item(b"", 1, "a"))
    assert not one.wants(Item(b"", 1, "b"))
    assert not one.wants(Item(b"", 1, None))


def test_a_caller_has_a_burst_and_then_a_pace():
    now = 0.0
    rates = Rates(10, 3, clock=lambda: now)
    assert [rates.take("a") for _ in range(3)] == [0, 0, 0]
    assert rates.take("a") == pytest.approx(0.1)
    assert rates.take("b") == 0
    now = 0.1
    assert rates.take("a") == pytest.approx(0)
    assert rates.take("a") > 0
    now = 100
    assert [bool(rates.take("a")) for _ in range(4)] == [False, False, False, True]
    assert Rates(0, 1).take("x") == Rates(0, 1).take("x") == 0


def test_callers_that_are_quiet_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.rates.MOST_CALLERS", 10)
    now = 0.0
    rates = Rates(1, 5, clock=lambda: now)
    for number in range(1000):
        rates.take(f"caller-{number}")
        now += 1
    assert len(rates._buckets) <= 11


def test_open_streams_are_bounded_for_each_and_for_all():
    streams = Streams(3, 2)
    for caller in ("a", "a", "b"):
        streams.enter(caller)
    for caller, status in (("a", 429), ("c", 503)):
        with pytest.raises(Problem) as refused:
            streams.enter(caller)
        assert (refused.value.status, refused.value.code) == (status, "too_many_streams")
    assert streams.open == 3
    streams.leave("a")
    streams.enter("c")
    assert streams.open == 3


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POINTSMAN_REDIS_URL", "redis://elsewhere:1/0")
    monkeypatch.setenv("REDIS_URL", "redis://not-ours:1/0")
    monkeypatch.setenv("POINTSMAN_ROOM", "edge")
    monkeypatch.setenv("POINTSMAN_GATEWAY_PORT", "9000")
    monkeypatch.setenv("POINTSMAN_GATEWAY_HS256_KEY", "")
    settings = GatewaySettings()
    assert (settings.redis_url, settings.room, settings.port) == ("redis://elsewhere:1/0", "edge", 9000)
    assert settings.hs256_key is None
    assert GatewaySettings(room="mine").room == "mine"
    assert (settings.wait, settings.max_wait) == (30, 300), "seconds; the engine's own grace is ten"
    for wrong in ({"room": "NO"}, {"room": "a\n"}, {"port": 70_000}, {"wait": -1}):
        with pytest.raises(ValidationError):
            GatewaySettings(**wrong)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org"])
def test_without_a_key_nothing_but_loopback_is_bound(host: str):
    with pytest.raises(Unbound, match="no key"):
        check_address(GatewaySettings(host=host), keys=False)
    check_address(GatewaySettings(host=host), keys=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_is_bound_without_a_key(host: str):
    check_address(GatewaySettings(host=host), keys=False)


def test_who_serves_it_from_a_program_of_theirs_hears_it_in_the_library_s_way(
    caplog: pytest.LogCaptureFixture,
):
    log = Gateway(GatewaySettings()).journal
    with caplog.at_level(logging.DEBUG, logger="pointsman.gateway"):
        log.debug("request", "A request was answered", status=200)
        log.info("serving", "Serving")
        log.warning("reader_cut", "A client did not take its answer", path="/")
        log.defect("defect", "A request met a defect", ValueError("odd"), path="/x")
    told = [(record.levelname, record.action, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [
        ("DEBUG", "request", {"status": 200}),
        ("INFO", "serving", {}),
        ("WARNING", "reader_cut", {"path": "/"}),
        ("ERROR", "defect", {"path": "/x"}),
    ]
    assert "ValueError: odd" in caplog.text


def test_the_program_s_log_is_a_line_of_json_for_each_and_leaves_out_what_is_below_its_level(
    capsys: pytest.CaptureFixture[str],
):
    log: Log = Journal(form="json", level="info")
    log.debug("request", "not told")
    log.info("serving", "Serving", port=1)
    log.defect("defect", "A request met a defect", ValueError("odd"))
    info, defect = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (info["action"], info["event"], info["port"], info["level"]) == ("serving", "Serving", 1, "info")
    assert (defect["level"], "ValueError: odd" in defect["exception"]) == ("error", True)
