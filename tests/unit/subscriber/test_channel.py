"""The channel on a connection that plays a part: silence, loss, and a reader who is slow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.exceptions as theirs

from contracts.errors import RedisUnavailable
from subscriber import channel as module
from subscriber.channel import Channel, Signal
from tests.support.waiting import eventually

CONFIRMATION = [b"subscribe", b"events", 1]


def message(data: bytes) -> list[Any]:
    return [b"message", b"events", data]


class Stage:
    """A connection that is fed by the test; an exception among the replies breaks it."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[bytes] = []
        self.refuse: Exception | None = None

    def feed(self, *replies: Any) -> None:
        for reply in replies:
            self.replies.put_nowait(reply)

    async def connect(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    async def disconnect(self, nowait: bool = False) -> None:
        pass

    async def send_packed_command(self, command: bytes) -> None:
        self.sent.append(command.split(b"\r\n")[2])

    async def read_response(self, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- redis-py's word
        try:
            async with asyncio.timeout(timeout):
                reply = await self.replies.get()
        except TimeoutError:
            return None
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def make(stage: Stage) -> AsyncIterator[Any]:
    made: list[Channel] = []

    def make(**settings: Any) -> Channel:
        channel = Channel(
            lambda: stage, "events", **({"timeout": 5, "silence": 5, "patience": None} | settings)
        )
        made.append(channel)
        channel.start()
        return channel

    yield make
    for channel in made:
        await channel.aclose()


async def test_messages_follow_the_confirmation(stage: Stage, make):
    channel = make()
    stage.feed(CONFIRMATION, message(b"1"), message(b"2"))
    assert [await channel.next() for _ in range(3)] == [Signal.CONFIRMED, b"1", b"2"]
    assert stage.sent == [b"SUBSCRIBE"]


async def test_a_broken_connection_comes_back_with_another_confirmation(stage: Stage, make):
    channel = make()
    stage.feed(CONFIRMATION, message(b"1"), theirs.ConnectionError("gone"), CONFIRMATION, message(b"2"))
    found = [await channel.next() for _ in range(4)]
    assert found == [Signal.CONFIRMED, b"1", Signal.CONFIRMED, b"2"]


async def test_silence_is_asked_about_and_told(stage: Stage, make):
    channel = make(silence=0.01)
    stage.feed(CONFIRMATION)
    assert await channel.next() is Signal.CONFIRMED
    await eventually(lambda: b"PING" in stage.sent)
    stage.feed([b"pong", b""])
    assert await channel.next() is Signal.SILENT


async def test_a_connection_that_does_not_answer_is_made_anew(stage: Stage, make):
    channel = make(silence=0.01, timeout=0.02)
    stage.feed(CONFIRMATION)
    assert await channel.next() is Signal.CONFIRMED
    await eventually(lambda: stage.sent.count(b"SUBSCRIBE") == 2)
    stage.feed(CONFIRMATION)
    assert await channel.next() is Signal.CONFIRMED


async def test_too_many_messages_become_an_overflow(stage: Stage, make, monkeypatch):
    monkeypatch.setattr(module, "MAX_MESSAGES", 3)
    channel = make()
    stage.feed(CONFIRMATION, *(message(b"%d" % n) for n in range(10)))
    await eventually(lambda: stage.replies.empty() and channel._items)
    found = [await channel.next() for _ in range(len(channel._items))]
    assert found[0] is Signal.OVERFLOW
    assert found[-1] == b"9"
    assert len(found) <= 3


async def test_too_many_bytes_are_an_overflow_too(stage: Stage, make, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    channel = make()
    stage.feed(CONFIRMATION, message(b"123456"), message(b"7890123"), message(b"4"))
    await eventually(stage.replies.empty)
    assert [await channel.next(), await channel.next()] == [Signal.OVERFLOW, b"4"]
    assert channel._bytes == 0


async def test_a_redis_that_was_never_there_is_told_of_soon(stage: Stage, make):
    stage.refuse = theirs.ConnectionError("nobody listens")
    channel = make()
    with pytest.raises(RedisUnavailable, match="nobody listens"):
        await channel.next()
    with pytest.raises(RedisUnavailable, match="nobody listens"):
        channel.check()


async def test_patience_has_an_end_where_one_is_set(stage: Stage, make):
    channel = make(patience=0.05)
    stage.feed(CONFIRMATION)
    assert await channel.next() is Signal.CONFIRMED
    stage.refuse = theirs.ConnectionError("nobody listens")
    stage.feed(theirs.ConnectionError("gone"))
    with pytest.raises(RedisUnavailable, match="nobody listens"):
        await channel.next()


async def test_closing_wakes_who_waits(stage: Stage, make):
    channel = make()
    stage.feed(CONFIRMATION)
    assert await channel.next() is Signal.CONFIRMED
    waiting = asyncio.create_task(channel.next())
    await asyncio.sleep(0)
    await channel.aclose()
    assert await waiting is Signal.CLOSED
