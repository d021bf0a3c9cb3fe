"""Calls gather, repeat and fail as they should, on a connection that plays a part."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions as theirs

from contracts.errors import MalformedRecord, RedisUnavailable
from contracts.scripts import Script
from publisher import calls as seam
from publisher.calls import Calls
from tests.support.waiting import eventually
from wire.connection import CONNECT_TIMEOUT, connector, pack

SCRIPT = Script("one", "return 1", "a" * 40)
OTHER = Script("two", "return 2", "b" * 40)


class Stage:
    """A connection whose replies are what `play` says of each command; an exception is raised.

    `pause` holds the next write up until it is set.
    """

    def __init__(self, play: Callable[[list[bytes]], Any]) -> None:
        self.play = play
        self.writes: list[list[list[bytes]]] = []
        self.replies: list[Any] = []
        self.connects = 0
        self.connected = False
        self.pause: asyncio.Event | None = None

    async def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.connects += 1

    async def disconnect(self, nowait: bool = False) -> None:
        self.connected = False
        self.replies.clear()

    async def can_read(self) -> bool:
        return False

    async def send_packed_command(self, command: bytes) -> None:
        commands = unpack(command)
        self.writes.append(commands)
        self.replies += map(self.play, commands)
        if self.pause is not None:
            await self.pause.wait()

    async def read_response(self, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- redis-py's word
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def unpack(data: bytes) -> list[list[bytes]]:
    """Read commands back from the bytes of the protocol."""
    commands, at = [], 0

    def line() -> bytes:
        nonlocal at
        end = data.index(b"\r\n", at)
        text, at = data[at:end], end + 2
        return text

    while at < len(data):
        command = []
        for _ in range(int(line()[1:])):
            size = int(line()[1:])
            command.append(data[at : at + size])
            at += size + 2
        commands.append(command)
    return commands


def echo(command: list[bytes]) -> Any:
    return command[-1]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seam, "PAUSES", (0.0, 0.001, 0.001))


async def test_calls_made_while_one_is_under_way_go_together():
    stage = Stage(echo)
    stage.pause = asyncio.Event()
    calls = Calls(lambda: stage, 5)
    first = calls.command("GET", "0")
    await eventually(lambda: stage.writes)
    others = [calls.command("GET", str(n)) for n in range(1, 10)]
    stage.pause.set()
    assert await asyncio.gather(*(call.future for call in (first, *others))) == [b"%d" % n for n in range(10)]
    assert [len(write) for write in stage.writes] == [1, 9]
    assert stage.connects == 1
    await calls.aclose()


async def test_a_batch_has_a_limit():
    stage = Stage(echo)
    calls = Calls(lambda: stage, 5)
    pending = [calls.command("GET", str(n)) for n in range(seam.BATCH + 10)]
    await asyncio.gather(*(call.future for call in pending))
    assert [len(write) for write in stage.writes] == [seam.BATCH, 10]
    await calls.aclose()


async def test_an_unknown_script_is_loaded_and_only_its_calls_repeated():
    known = {OTHER.sha.encode()}

    def play(command: list[bytes]) -> Any:
        if command[0] == b"SCRIPT":
            known.add(SCRIPT.sha.encode())
            return SCRIPT.sha.encode()
        return command[-1] if command[1] in known else theirs.NoScriptError("no matching script")

    stage = Stage(play)
    calls = Calls(lambda: stage, 5)
    pending = [calls.script(SCRIPT, "k", 1), calls.script(OTHER, "k", 2), calls.script(SCRIPT, "k", 3)]
    assert await asyncio.gather(*(call.future for call in pending)) == [b"1", b"2", b"3"]
    loads, repeated = stage.writes[1:]
    assert loads == [[b"SCRIPT", b"LOAD", SCRIPT.text.encode()]]
    assert [command[-1] for command in repeated] == [b"1", b"3"]
    await calls.aclose()


async def test_a_script_that_is_forgotten_at_once_ends_in_an_error():
    stage = Stage(lambda c: c[-1] if c[0] == b"SCRIPT" else theirs.NoScriptError("no matching script"))
    calls = Calls(lambda: stage, 5)
    with pytest.raises(RedisUnavailable, match="forgets"):
        await calls.script(SCRIPT, "k").future
    await calls.aclose()


async def test_a_broken_connection_is_tried_again_a_bounded_number_of_times():
    left = 2

    def play(command: list[bytes]) -> Any:
        nonlocal left
        left -= 1
        return theirs.ConnectionError("gone") if left >= 0 else command[-1]

    stage = Stage(play)
    calls = Calls(lambda: stage, 5)
    call = calls.command("GET", "a")
    assert await call.future == b"a"
    assert (call.tries, stage.connects) == (3, 3)
    left = 100
    with pytest.raises(RedisUnavailable, match="gone"):
        await calls.command("GET", "b").future
    assert 100 - left == len(seam.PAUSES) + 1
    await calls.aclose()


async def test_what_must_not_be_repeated_fails_at_the_first_break():
    def play(command: list[bytes]) -> Any:
        return theirs.ConnectionError("gone") if len(stage.writes) == 1 else command[-1]

    stage = Stage(play)
    calls = Calls(lambda: stage, 5)
    once, again = calls.script(SCRIPT, "k", 1, repeatable=False), calls.script(SCRIPT, "k", 2)
    assert await again.future == b"2"
    with pytest.raises(RedisUnavailable):
        await once.future
    assert once.tries == 1
    await calls.aclose()


async def test_what_was_never_sent_may_be_sent_whatever_it_is():
    class Late(Stage):
        async def connect(self) -> None:
            self.connects += 1
            if self.connects < 3:
                raise theirs.ConnectionError("not yet")

    calls = Calls(lambda: Late(echo), 5)
    assert await calls.script(SCRIPT, "k", 1, repeatable=False).future == b"1"
    await calls.aclose()


async def test_replies_already_read_are_not_asked_for_again():
    def play(command: list[bytes]) -> Any:
        if command[-1] == b"2" and len(stage.writes) == 1:
            return theirs.ConnectionError("gone")
        return command[-1]

    stage = Stage(play)
    calls = Calls(lambda: stage, 5)
    pending = [calls.command("GET", str(n)) for n in range(4)]
    assert await asyncio.gather(*(call.future for call in pending)) == [b"0", b"1", b"2", b"3"]
    assert [call.tries for call in pending] == [1, 1, 2, 2]
    await calls.aclose()


async def test_error_replies_belong_to_their_call():
    def play(command: list[bytes]) -> Any:
        return {
            b"a": theirs.ResponseError("WRONGTYPE a holds a list"),
            b"b": theirs.OutOfMemoryError("OOM command not allowed"),
        }.get(command[-1], command[-1])

    calls = Calls(lambda: Stage(play), 5)
    pending = [calls.command("GET", name) for name in "abc"]
    wrong, full, fine = await asyncio.gather(*(call.future for call in pending), return_exceptions=True)
    assert isinstance(wrong, MalformedRecord)
    assert isinstance(full, RedisUnavailable)
    assert "Redis refuses: OOM" in full.message
    assert fine == b"c"
    await calls.aclose()


async def test_a_server_that_refuses_the_connection_is_told_of():
    class Refusing(Stage):
        async def connect(self) -> None:
            raise theirs.ResponseError("DB index is out of range")

    calls = Calls(lambda: Refusing(echo), 5)
    with pytest.raises(RedisUnavailable, match="out of range"):
        await calls.command("GET", "a").future
    await calls.aclose()


async def test_a_caller_that_gave_up_is_not_sent_for():
    stage = Stage(echo)
    calls = Calls(lambda: stage, 5)
    one, two = calls.command("GET", "1"), calls.command("GET", "2")
    one.future.cancel()
    assert await two.future == b"2"
    assert stage.writes == [[[b"GET", b"2"]]]
    await calls.aclose()


async def test_a_silent_server_is_given_up_after_twice_the_timeout():
    stage = Stage(echo)
    stage.pause = asyncio.Event()
    calls = Calls(lambda: stage, 0.02)
    with pytest.raises(RedisUnavailable, match="no answer in time"):
        await calls.command("GET", "a").future
    assert len(stage.writes) <= 3
    await calls.aclose()


async def test_closing_fails_what_is_in_flight_and_what_comes_after():
    stage = Stage(echo)
    stage.pause = asyncio.Event()
    calls = Calls(lambda: stage, 5)
    call = calls.command("GET", "a")
    await eventually(lambda: stage.writes)
    late = calls.command("GET", "b")
    await calls.aclose()
    for future in (call.future, late.future):
        with pytest.raises(RedisUnavailable, match="closed"):
            await future
    with pytest.raises(RedisUnavailable, match="closed"):
        calls.command("GET", "c")
    assert not stage.connected


def test_packing_writes_the_protocol():
    assert pack("SET", b"\xff", 1, "ü") == b"*4\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$1\r\n1\r\n$2\r\n\xc3\xbc\r\n"


def test_every_setting_is_explicit_whatever_a_url_or_client_says():
    client = redis.asyncio.Redis(port=1, username="u", password="p", decode_responses=True, protocol=3)  # noqa: S106
    url = "redis://u:p@localhost:1/0?protocol=3&socket_timeout=7&health_check_interval=3"
    for source in (url, client):
        made: Any = connector(source)()
        assert (made.port, made.username, made.password) == (1, "u", "p")
        assert made.protocol == 2
        assert made.retry.get_retries() == 0
        assert made.socket_timeout is None
        assert made.socket_connect_timeout == CONNECT_TIMEOUT
        assert made.health_check_interval == 0
        assert not made.encoder.decode_responses


def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="scheme"):
        connector("localhost:6379")
