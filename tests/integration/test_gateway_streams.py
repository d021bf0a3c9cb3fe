"""Streams of events: complete, in order, resumable; slow readers are cut."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from publisher import Publisher
from tests.support.gateway import Scene, Sent, Served, stream, take
from tests.support.roombook import RoomBook, service
from tests.support.waiting import eventually

PATH = "/api/system/services/events"


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    """Give a stack that is unwound after the test."""
    with contextlib.ExitStack() as stack:
        yield stack


def numbers(events: list[Sent]) -> list[int]:
    """Return the revisions of events, heartbeats left out."""
    return [int((event.id or "").rpartition("/")[2]) for event in events if event.event != "heartbeat"]


async def ready(scene: Scene, *names: str, **settings: Any) -> Served:
    """Start a worker and a gateway that knows the services; wait until the engine's status is told."""
    for name in names:
        scene.add(name)
    await scene.worker()
    served = await scene.gateway(**settings)
    await scene.known(served, *names)

    async def told() -> bool:
        return bool((await served.http.get("/api/system/room")).json()["engine"]["status"])

    await eventually(told, within=10)
    return served


async def test_a_reader_begins_with_a_reset_and_gets_every_event_in_order(scene: Scene):
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
        assert (reset.event, reset.data["reset"], reset.data["reason"]) == ("reset", True, "start")
        assert reset.id == f"{reset.data['epoch']}/{reset.data['revision']}"
        assert "services" not in reset.data
        await served.act("rtdetr", "restart")
        found = await take(events, 3)
    assert [event.event for event in found] == [
        "pointsman.command.started",
        "pointsman.service.changed",
        "pointsman.command.settled",
    ]
    first = reset.data["revision"] + 1
    assert numbers(found) == [first, first + 1, first + 2]
    assert all(event.id == event.data["id"] for event in found)
    assert found[1].data["data"]["service"]["restart_count"] == 1


async def test_a_reset_can_bring_the_services(scene: Scene):
    served = await ready(scene, "a", "b")
    async with stream(served, PATH + "?snapshots=true") as events:
        (reset,) = await take(events, 1)
    assert [service["name"] for service in reset.data["services"]] == ["a", "b"]
    assert {"health", "desired", "uptime_seconds"} <= set(reset.data["services"][0])
    assert (await served.http.get(PATH + "?snapshots=maybe")).status_code == 400


async def test_a_reader_goes_on_where_it_was(scene: Scene):
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
    await served.act("rtdetr", "restart")
    first = reset.data["revision"] + 1
    async with stream(served, last=reset.id) as events:
        found = await take(events, 3)
        assert numbers(found) == [first, first + 1, first + 2]
    async with stream(served, PATH + f"?last_event_id={found[0].id}") as events:
        assert numbers(await take(events, 2)) == [first + 1, first + 2]
    async with stream(served, last=found[2].id) as events:
        await served.act("rtdetr", "disable")
        assert numbers(await take(events, 2)) == [first + 3, first + 4]


async def test_a_reader_goes_on_after_the_gateway_was_started_anew(scene: Scene):
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
        await served.act("rtdetr", "restart")
        found = await take(events, 1)
    await served.stop()
    other = await scene.gateway()
    async with stream(other, last=found[0].id) as events:
        rest = await take(events, 2)
        await other.act("rtdetr", "restart")
        rest += await take(events, 3)
    assert numbers(found + rest) == list(range(reset.data["revision"] + 1, reset.data["revision"] + 7))


async def test_a_reader_who_was_away_long_is_served_from_redis(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.hub.KEPT", 5)
    monkeypatch.setattr("gateway.hub.PAGE", 4)
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
    for _ in range(8):
        await served.act("rtdetr", "restart")
    first = reset.data["revision"] + 1
    async with stream(served, last=reset.id) as events:
        assert numbers(await take(events, 24)) == list(range(first, first + 24))
        await served.act("rtdetr", "restart")
        assert numbers(await take(events, 3)) == list(range(first + 24, first + 27))


@pytest.mark.parametrize("kept", [50, 100_000], ids=["from-redis", "from-memory"])
async def test_a_long_absence_is_made_good_piece_by_piece(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kept: int
):
    monkeypatch.setattr("gateway.hub.KEPT", kept)
    book = RoomBook(scene.redis, scene.room)
    book.open()
    book.put(service(1))
    served = await scene.gateway(stream_events=100, stream_bytes=100_000)
    async with book.served(), stream(served) as events:
        (reset,) = await take(events, 1)
    for _ in range(6):
        book.change_many(("service-00001", {"failure_count": count}) for count in range(500))
    async with book.served(), stream(served, last=reset.id) as events:
        found = await take(events, 3000, within=30)
        assert numbers(found) == list(range(1, 3001)), "more than may wait for a slow reader"
        book.change("service-00001", failure_count=7)
        assert numbers(await take(events, 1)) == [3001]


async def test_what_cannot_be_resumed_is_a_reset_that_says_why(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.hub.KEPT", 1)
    served = await ready(scene, "rtdetr")
    for _ in range(3):
        await served.act("rtdetr", "restart")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
    epoch = reset.data["epoch"]
    scene.redis.admin.xtrim(Publisher(scene.redis.url, room=scene.room).keys.changes, maxlen=2)
    for last, reason in (
        ("nonsense", "unknown_id"),
        (f"{epoch}/x", "unknown_id"),
        (f"{epoch}/" + "9" * 30, "unknown_id"),
        ("1000000000000-00000000/5", "epoch"),
        (f"{epoch}/{reset.data['revision'] + 5}", "backwards"),
        (f"{epoch}/1", "trimmed"),
    ):
        async with stream(served, last=last) as events:
            (event,) = await take(events, 1)
            assert (event.event, event.data["reason"], event.id) == ("reset", reason, reset.id), last


async def test_a_new_epoch_is_a_reset_in_the_stream(scene: Scene, make_redis):
    scene.redis = make_redis()
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        (reset,) = await take(events, 1)
        scene.redis.admin.flushall()
        again = (await take(events, 1, within=20))[0]
        while again.event != "reset" or again.data["epoch"] in {None, reset.data["epoch"]}:
            again = (await take(events, 1, within=20))[0]
        assert again.data["reason"] == "epoch"
    await scene.known(served, "rtdetr", within=20)


async def test_heartbeats_come_and_tell_that_redis_is_away(scene: Scene, make_redis):
    scene.redis = make_redis()
    served = await ready(scene, "rtdetr", heartbeat=0.1, redis_timeout=0.3, pulse=0)
    async with stream(served) as events:
        await take(events, 1)
        (beat,) = await take(events, 1, beats=True)
        assert (beat.event, beat.id) == ("heartbeat", None)
        assert (beat.data["stale"], beat.data["redis"], beat.data["workers"]) == (False, "available", 1)
        scene.redis.kill()
        async with asyncio.timeout(10):
            async for event in events:
                if event.event == "heartbeat" and event.data["redis"] == "unavailable":
                    assert event.data["stale"] is True
                    break
        scene.redis.start()
        async with asyncio.timeout(20):
            async for event in events:
                if event.event == "reset":
                    break


async def test_one_service_is_followed_alone(scene: Scene):
    served = await ready(scene, "a", "b")
    async with stream(served, "/api/system/services/b/events") as events:
        await take(events, 1)
        await served.act("a", "restart")
        await served.act("b", "disable")
        found = await take(events, 3)
    assert [event.data["subject"] for event in found if "service" in event.event] == ["b"]
    assert found[2].data["data"]["command"]["service"] == "b"


async def test_the_stream_is_open_without_workers_and_engine_for_what_may_come(scene: Scene):
    served = await scene.gateway()
    async with stream(served) as events:
        (reset,) = await take(events, 1)
        assert (reset.data["epoch"], reset.id) == (None, None)
        scene.add("rtdetr")
        await scene.worker()
        (again,) = await take(events, 1)
        assert again.event == "reset"


async def test_open_streams_are_counted_and_bounded(scene: Scene):
    served = await ready(scene, "rtdetr", max_streams=2, max_streams_per_caller=1)
    async with stream(served) as events:
        await take(events, 1)
        refused = await served.http.get(PATH)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert "retry-after" in refused.headers

    async def counted() -> bool:
        return served.gateway.streams.open == 0

    await eventually(counted)
    async with stream(served) as events:
        await take(events, 1)


async def test_a_slow_reader_is_cut_and_may_come_back(
    scene: Scene, closing: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.handlers.streams.KERNEL_BYTES", 8_192)
    served = await ready(scene, "rtdetr", stream_events=500, stream_bytes=60_000)
    raw = closing.enter_context(socket.socket())
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", served.port))
    raw.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    found: list[Sent] = []

    async def read(events: AsyncIterator[Sent]) -> None:
        async for event in events:
            found.append(event)  # noqa: PERF401 -- as they come

    async with stream(served) as events:
        (reset,) = await take(events, 1)
        reading = asyncio.create_task(read(events))
        await eventually(lambda: served.gateway.streams.open == 2)

        async def cut() -> bool:
            await served.act("rtdetr", "restart", headers={"prefer": "wait=10"}, json={"reason": "x" * 256})
            return served.gateway.streams.open == 1

        await eventually(cut, within=60, what="the slow reader is cut")
        revision = (await served.http.get("/api/system/room")).json()["revision"]
        first = reset.data["revision"] + 1
        await eventually(lambda: len(numbers(found)) > revision - first, within=10)
        reading.cancel()
        assert numbers(found) == list(range(first, first + len(numbers(found)))), "the other has it all"
    raw.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        while raw.recv(65_536):
            pass


async def test_a_client_that_goes_is_let_go(scene: Scene):
    served = await ready(scene, "rtdetr")
    async with stream(served) as events:
        await take(events, 1)
        assert served.gateway.streams.open == 1
    await eventually(lambda: served.gateway.streams.open == 0)
    hub = served.gateway.desks.open(scene.room).hub  # type: ignore[union-attr]
    assert not hub.readers


async def test_a_gateway_that_stops_ends_its_streams(scene: Scene):
    served = await ready(scene, "rtdetr")
    began = time.monotonic()
    async with stream(served) as events:
        await take(events, 1)
        served.server.stop()
        async with asyncio.timeout(5):
            assert [event async for event in events if event.event != "heartbeat"] == []
    await asyncio.wait_for(served.task, 10)
    assert time.monotonic() - began < 8
