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
from wire.line import NOTHING

SCRIPT = Script("one", "return 1", "a" * 40)
OTHER = Script("two", "return 2", "b" * 40)


class Stage:
    """Connections whose answers are what `play` says of each command; one that is LOST ends the connection.

    `hold` keeps answers back until `release`.
    """

    def __init__(self, play: Callable[[list[bytes]], Any]) -> None:
        self.play = play
        self.writes: list[list[list[bytes]]] = []
        self.lines: list[StagedLine] = []
        self.held = False

    def __call__(self, _: object, heard: Callable[[Any], None]) -> "StagedLine":
        return StagedLine(self, heard)

    def release(self) -> None:
        """Hand out what was held back."""
        self.held = False
        for line in self.lines:
            line.heard(line)

    @property
    def connected(self) -> list["StagedLine"]:
        """Return the connections that are open."""
        return [line for line in self.lines if not line.closed]


class StagedLine:
    """One of them."""

    def __init__(self, stage: Stage, heard: Callable[[Any], None]) -> None:
        self.stage = stage
        self.heard = heard
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.answers: list[Any] = []
        self.closed = self.resting = False

    async def connect(self) -> None:
        self.stage.lines.append(self)

    async def close(self) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        commands = unpack(data)
        self.stage.writes.append(commands)
        self.answers += map(self.stage.play, commands)
        asyncio.get_running_loop().call_soon(self.heard, self)

    def pull(self) -> Any:
        unheard = self.stage.held or self.resting or self.lost.done() or not self.answers
        return NOTHING if unheard else self.answers.pop(0)

    def rest(self, _: float) -> None:
        self.resting = True

    def attend(self) -> None:
        self.resting = False
        asyncio.get_running_loop().call_soon(self.heard, self)

    def end(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


def nowhere() -> Any:
    raise AssertionError("a staged line needs no connection")


def staged(stage: Stage, timeout: float = 5) -> Calls:
    return Calls(nowhere, timeout, stage)


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


class Breaking:
    """Echoes, but for the next `left` commands: each of them breaks its connection."""

    def __init__(self, left: int = 0) -> None:
        self.left = left

    def __call__(self, command: list[bytes]) -> Any:
        self.left -= 1
        return theirs.ConnectionError("gone") if self.left >= 0 else echo(command)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seam, "PAUSES", (0.0, 0.001, 0.001))


async def test_calls_made_while_one_is_under_way_go_together():
    stage = Stage(echo)
    calls = staged(stage)
    stage.held = True
    first = calls.command("GET", "0")
    await eventually(lambda: stage.writes)
    others = [calls.command("GET", str(n)) for n in range(1, 10)]
    stage.release()
    assert await asyncio.gather(*(call.future for call in (first, *others))) == [b"%d" % n for n in range(10)]
    assert [len(write) for write in stage.writes] == [1, 9]
    assert len(stage.lines) == 1
    await calls.aclose()


async def test_a_batch_has_a_limit():
    stage = Stage(echo)
    calls = staged(stage)
    pending = [calls.command("GET", str(n)) for n in range(seam.BATCH + 10)]
    await asyncio.gather(*(call.future for call in pending))
    assert [len(write) for write in stage.writes] == [seam.BATCH, 10]
    await calls.aclose()


async def test_an_unknown_script_is_told_once_and_only_its_calls_repeated():
    known = {OTHER.sha.encode()}

    def play(command: list[bytes]) -> Any:
        if command[0] == b"EVAL":
            known.add(SCRIPT.sha.encode())
        elif command[1] not in known:
            return theirs.NoScriptError("no matching script")
        return command[-1]

    stage = Stage(play)
    calls = staged(stage)
    pending = [calls.script(SCRIPT, "k", 1), calls.script(OTHER, "k", 2), calls.script(SCRIPT, "k", 3)]
    assert await asyncio.gather(*(call.future for call in pending)) == [b"1", b"2", b"3"]
    (repeated,) = stage.writes[1:]
    assert [command[:2] for command in repeated] == [
        [b"EVAL", SCRIPT.text.encode()],
        [b"EVALSHA", SCRIPT.sha.encode()],
    ]
    assert [command[-1] for command in repeated] == [b"1", b"3"]
    await calls.aclose()


async def test_a_script_that_is_forgotten_again_is_told_again_and_order_is_kept():
    ran: list[bytes] = []

    def play(command: list[bytes]) -> Any:
        if command[0] == b"EVALSHA":
            return theirs.NoScriptError("no matching script")
        ran.append(command[-1])
        return command[-1]

    stage = Stage(play)
    calls = staged(stage)
    pending = [calls.script(SCRIPT, "k", n) for n in range(4)]
    await asyncio.gather(*(call.future for call in pending))
    assert ran == [b"0", b"1", b"2", b"3"]
    await calls.aclose()


async def test_a_patient_calls_reply_waits_until_somebody_wants_one():
    stage = Stage(echo)
    calls = staged(stage)
    await calls.command("GET", "0").future
    patient = calls.script(SCRIPT, "k", 1, patient=True)
    (line,) = stage.lines
    assert line.resting
    other = calls.command("GET", "2")
    assert not line.resting
    assert await asyncio.gather(patient.future, other.future) == [b"1", b"2"]
    again = calls.script(SCRIPT, "k", 3, patient=True)
    calls.attend()
    assert await again.future == b"3"
    await calls.aclose()


@pytest.mark.parametrize("under_way", [False, True])
async def test_a_word_that_cannot_be_sent_is_its_callers_fault_alone(under_way: bool):
    stage = Stage(echo)
    calls = staged(stage)
    stage.held = under_way
    before = calls.command("GET", "a")
    with pytest.raises(UnicodeEncodeError):
        calls.script(SCRIPT, "k", "\ud800", repeatable=False)
    after = calls.command("GET", "b")
    stage.release()
    assert await asyncio.gather(before.future, after.future) == [b"a", b"b"]
    await calls.aclose()


async def test_failures_of_calls_that_nobody_waits_for_count_against_no_other():
    play = Breaking()
    stage = Stage(play)
    calls = staged(stage, 0.02)
    loop = asyncio.get_running_loop()
    play.left = 1
    with pytest.raises(RedisUnavailable):
        await calls.script(SCRIPT, "k", 1, repeatable=False).future
    began = loop.time()
    await eventually(lambda: len(stage.connected) == 1)
    await eventually(lambda: loop.time() > began + 0.05, what="twice the timeout has gone by")
    play.left = 1
    again = calls.command("GET", "a")
    assert await again.future == b"a"
    assert again.tries == 2
    await calls.aclose()


async def test_a_server_that_knows_no_script_even_when_told_is_not_asked_for_ever():
    calls = staged(Stage(lambda _: theirs.NoScriptError("no matching script")))
    with pytest.raises(RedisUnavailable, match="no matching script"):
        await calls.script(SCRIPT, "k").future
    with pytest.raises(RedisUnavailable, match="no matching script"):
        await calls.command("GET", "a").future
    await calls.aclose()


async def test_an_answer_that_nobody_asked_for_ends_the_connection():
    stage = Stage(echo)
    calls = staged(stage)
    assert await calls.command("GET", "a").future == b"a"
    (line,) = stage.lines
    line.answers.append(b"what?")
    line.heard(line)
    await eventually(lambda: line.closed)
    assert await calls.command("GET", "b").future == b"b"
    assert len(stage.lines) == 2
    await calls.aclose()


async def test_a_connection_that_ends_while_quiet_is_closed_and_the_next_call_has_another():
    stage = Stage(echo)
    calls = staged(stage)
    assert await calls.command("GET", "a").future == b"a"
    stage.lines[0].end(theirs.ConnectionError("gone"))
    call = calls.script(SCRIPT, "k", 1, repeatable=False)
    assert await call.future == b"1"
    assert (call.tries, [line.closed for line in stage.lines]) == (1, [True, False])
    await calls.aclose()


async def test_a_broken_connection_is_tried_again_a_bounded_number_of_times():
    play = Breaking(2)
    stage = Stage(play)
    calls = staged(stage)
    call = calls.command("GET", "a")
    assert await call.future == b"a"
    assert (call.tries, len(stage.lines)) == (3, 3)
    play.left = 100
    with pytest.raises(RedisUnavailable, match="gone"):
        await calls.command("GET", "b").future
    assert 100 - play.left == len(seam.PAUSES) + 1
    await calls.aclose()


async def test_what_must_not_be_repeated_fails_at_the_first_break():
    def play(command: list[bytes]) -> Any:
        return theirs.ConnectionError("gone") if len(stage.writes) == 1 else command[-1]

    stage = Stage(play)
    calls = staged(stage)
    once, again = calls.script(SCRIPT, "k", 1, repeatable=False), calls.script(SCRIPT, "k", 2)
    assert await again.future == b"2"
    with pytest.raises(RedisUnavailable):
        await once.future
    assert once.tries == 1
    await calls.aclose()


async def test_what_was_never_sent_may_be_sent_whatever_it_is():
    class Late(StagedLine):
        async def connect(self) -> None:
            await super().connect()
            if len(self.stage.lines) < 3:
                raise theirs.ConnectionError("not yet")

    stage = Stage(echo)
    calls = Calls(nowhere, 5, lambda _, heard: Late(stage, heard))
    assert await calls.script(SCRIPT, "k", 1, repeatable=False).future == b"1"
    assert [line.closed for line in stage.lines] == [True, True, False]
    await calls.aclose()


async def test_replies_already_read_are_not_asked_for_again():
    def play(command: list[bytes]) -> Any:
        if command[-1] == b"2" and len(stage.writes) == 1:
            return theirs.ConnectionError("gone")
        return command[-1]

    stage = Stage(play)
    calls = staged(stage)
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

    calls = staged(Stage(play))
    pending = [calls.command("GET", name) for name in "abc"]
    wrong, full, fine = await asyncio.gather(*(call.future for call in pending), return_exceptions=True)
    assert isinstance(wrong, MalformedRecord)
    assert isinstance(full, RedisUnavailable)
    assert "Redis refuses: OOM" in full.message
    assert fine == b"c"
    await calls.aclose()


async def test_a_server_that_refuses_the_connection_is_told_of():
    class Refused(StagedLine):
        async def connect(self) -> None:
            raise theirs.ResponseError("DB index is out of range")

    calls = Calls(nowhere, 5, lambda _, heard: Refused(Stage(echo), heard))
    with pytest.raises(RedisUnavailable, match="out of range"):
        await calls.command("GET", "a").future
    await calls.aclose()


async def test_a_caller_that_gave_up_is_not_sent_for():
    stage = Stage(echo)
    calls = staged(stage)
    one, two = calls.command("GET", "1"), calls.command("GET", "2")
    one.future.cancel()
    assert await two.future == b"2"
    assert stage.writes == [[[b"GET", b"2"]]]
    await calls.aclose()


async def test_a_silent_server_is_given_up_after_twice_the_timeout():
    stage = Stage(echo)
    stage.held = True
    calls = staged(stage, 0.02)
    with pytest.raises(RedisUnavailable, match="no answer in time"):
        await calls.command("GET", "a").future
    assert len(stage.writes) <= 3
    await calls.aclose()


async def test_closing_fails_what_is_in_flight_and_what_comes_after():
    stage = Stage(echo)
    stage.held = True
    calls = staged(stage)
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
