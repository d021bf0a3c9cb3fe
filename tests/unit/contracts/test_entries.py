"""Entries: every rule of a command, and that nothing but a command or a reason comes out."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.codec import check_command, decode_command, encode_command
from contracts.commands import COMMAND_FIELDS, MAX_ENTRY_BYTES, Action, Command
from contracts.errors import InvalidCommand
from tests.unit.contracts.strategies import commands, near_fields

SOUND = {"action": "restart", "service": "web"}
NOON, ONE = "2026-01-01T12:00:00.000Z", "2026-01-01T13:00:00.000Z"


def refusal(fields):
    with pytest.raises(InvalidCommand) as caught:
        decode_command(fields)
    assert caught.value.code == "invalid_command"
    assert caught.value.status == 400
    return caught.value


@given(commands())
def test_a_command_comes_back_as_it_went(command):
    fields = encode_command(command)
    assert decode_command(fields) == command
    assert decode_command((name.encode(), value.encode()) for name, value in fields.items()) == command
    assert check_command(command) == command


def test_the_least_command_is_two_fields():
    assert encode_command(Command(action=Action.STOP, service="web")) == {"action": "stop", "service": "web"}
    assert decode_command({b"action": b"stop", b"service": b"web"}) == Command(
        action=Action.STOP, service="web"
    )


@settings(max_examples=300)
@given(near_fields())
@example([])
@example([(b"", b"")])
@example([(b"action", b"\xff"), (b"service", b"web")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"service", b"web")])
def test_any_entry_is_a_command_or_a_reason(fields):
    try:
        command = decode_command(fields)
    except InvalidCommand as error:
        assert error.message  # noqa: PT017 - the property holds for either outcome
        assert len(error.message) < 250  # noqa: PT017
        assert error.message.isprintable()  # noqa: PT017
    else:
        assert decode_command(encode_command(command)) == command


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_any_bytes_are_a_command_or_a_reason(fields):
    assert refusal(fields).message


@given(st.lists(st.tuples(st.text(), st.text())))
def test_any_text_is_a_command_or_a_reason(fields):
    assert refusal(fields).message


def test_surrogates_are_no_text():
    assert "UTF-8" in refusal(SOUND | {"reason": "\udcff"}).message
    assert "UTF-8" in refusal(SOUND | {"\udcff": "x"}).message


VALID = [
    ("service", "A", "A"),
    ("service", "0_.-" + "a" * 124, "0_.-" + "a" * 124),
    ("id", "a" * 128, "a" * 128),
    ("id", "deploy:42/a.b_c-d", "deploy:42/a.b_c-d"),
    ("id", "1-2-3", "1-2-3"),
    ("id", "12", "12"),
    ("v", "1", "1"),
    ("issuer", "", None),
    ("reason", "", None),
    ("issuer", "é" * 256, "é" * 256),
    ("issuer", "self-heal", "self-heal"),
    ("expires_at", "2026-01-01T12:00:00Z", NOON),
    ("not_before", "2026-01-01T12:00:00.0009Z", NOON),
    ("timeout", "0", 0),
    ("timeout", "0010", 10),
    ("timeout", "3600", 3600),
    ("expect_container_id", "0123456789AB", "0123456789ab"),
    ("expect_container_id", "aF" * 32, "af" * 32),
    ("expect_started_at", "2026-01-01T12:00:00.123456789Z", "2026-01-01T12:00:00.123456789Z"),
    ("coalesce", "0", False),
    ("coalesce", "1", True),
    ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    ("tracestate", "x" * 512, "x" * 512),
]


@pytest.mark.parametrize(("name", "text", "value"), VALID)
def test_a_value_within_its_rule_is_read(name, text, value):
    assert getattr(decode_command(SOUND | {name: text}), name) == value


INVALID = [
    ("action", "kill"),
    ("action", "Restart"),
    ("action", "restart "),
    ("service", "-web"),
    ("service", "we b"),
    ("service", "web\n"),
    ("service", "ä"),
    ("service", "a" * 129),
    ("id", "1-1"),
    ("id", "1767225600000-0"),
    ("id", "a b"),
    ("id", "a\n"),
    ("id", "a" * 129),
    ("v", "2"),
    ("v", "01"),
    ("issuer", "x" * 257),
    ("reason", "é" * 257),
    ("expires_at", "tomorrow"),
    ("expires_at", "1767225600"),
    ("not_before", "2026-02-30T00:00:00Z"),
    ("timeout", "3601"),
    ("timeout", "00010"),
    ("timeout", "-1"),
    ("timeout", "1.5"),
    ("timeout", "1e1"),
    ("timeout", "\u0661"),
    ("timeout", "10\n"),
    ("expect_container_id", "0123456789a"),
    ("expect_container_id", "g123456789ab"),
    ("expect_container_id", "a" * 63),
    ("expect_started_at", "x" * 65),
    ("coalesce", "true"),
    ("coalesce", "2"),
    ("traceparent", "00-abc"),
    ("traceparent", "00-" + "A" * 32 + "-" + "b" * 16 + "-01"),
    ("tracestate", "x" * 513),
    *((name, "") for name in COMMAND_FIELDS if name not in {"issuer", "reason"}),
]


@pytest.mark.parametrize(("name", "text"), INVALID)
def test_a_value_that_breaks_its_rule_is_named(name, text):
    error = refusal(SOUND | {name: text})
    assert error.field == name
    assert name in error.message
    assert ": " in error.message, "the sentence says what to do"


@pytest.mark.parametrize("name", ["action", "service"])
def test_a_needed_field_that_is_missing_is_named(name):
    fields = {key: value for key, value in SOUND.items() if key != name}
    assert refusal(fields).message == f"{name} is missing: add the field {name}"


@pytest.mark.parametrize("name", ["action", "reason", "stranger"])
def test_a_field_given_twice_is_seen(name):
    error = refusal([*SOUND.items(), (name, "stop"), (name, "stop")])
    assert error.field == name
    assert "twice" in error.message


def test_strangers_are_passed_over():
    assert decode_command(SOUND | {"colour": "", "x" * 300: "y"}) == decode_command(SOUND)


def test_a_stranger_must_be_text_too():
    assert "UTF-8" in refusal([(b"action", b"stop"), (b"service", b"web"), (b"x", b"\xff")]).message


def test_not_before_must_be_before_expiry():
    assert decode_command(SOUND | {"not_before": NOON, "expires_at": ONE}).not_before == NOON
    for late, early in ((ONE, NOON), (NOON, NOON), ("2026-01-01T12:00:00.0005Z", NOON)):
        assert refusal(SOUND | {"not_before": late, "expires_at": early}).field == "not_before"


def test_the_limit_counts_names_and_values_in_bytes():
    room = MAX_ENTRY_BYTES - sum(len(name) + len(value) for name, value in SOUND.items()) - len("x")
    assert decode_command(SOUND | {"x": "a" * room}) == decode_command(SOUND)
    assert "16384" in refusal(SOUND | {"x": "a" * (room + 1)}).message
    assert "16384" in refusal(SOUND | {"x": "é" * (room // 2 + 1)}).message


def test_a_struct_that_breaks_a_rule_is_refused_too():
    with pytest.raises(InvalidCommand, match="timeout"):
        check_command(Command(action=Action.STOP, service="web", timeout=-1))
    with pytest.raises(InvalidCommand, match="service is empty"):
        check_command(Command(action=Action.STOP, service=""))
    with pytest.raises(InvalidCommand, match="v '2'"):
        check_command(Command(action=Action.STOP, service="web", v="2"))


def test_checking_writes_a_command_as_a_worker_reads_it():
    command = Command(
        action=Action.STOP,
        service="web",
        expires_at="2026-01-01T12:00:00Z",
        expect_container_id="0123456789AB",
        issuer="",
    )
    assert check_command(command) == Command(
        action=Action.STOP, service="web", expires_at=NOON, expect_container_id="0123456789ab"
    )
