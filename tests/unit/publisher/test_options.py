"""A command is built and refused before Redis is asked."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from contracts.commands import SELF_HEAL, Action, Command
from contracts.errors import InvalidCommand
from publisher.options import LONGEST_TTL, Options, build, complete, to_wire


def built(**options) -> Command:
    return build("restart", "rtdetr", Options(**options), None, 300.0)[0]


def test_a_missing_id_is_made_and_a_given_one_kept():
    assert built().id != built().id
    assert built(id="night/42").id == "night/42"


def test_times_may_be_datetimes_of_any_zone_or_texts():
    berlin = timezone(timedelta(hours=2))
    moment = datetime(2030, 1, 1, 2, 0, 0, 123_456, berlin)
    assert built(expires_at=moment).expires_at == "2030-01-01T00:00:00.123Z"
    assert built(not_before="2030-01-01T00:00:00Z").not_before == "2030-01-01T00:00:00.000Z"


def test_the_default_issuer_goes_with_commands_that_name_none():
    assert build("stop", "a", {}, "night", 1)[0].issuer == "night"
    assert build("stop", "a", {"issuer": "day"}, "night", 1)[0].issuer == "day"


def test_time_to_live_is_the_default_or_what_is_said():
    assert build("stop", "a", {}, None, 300.0)[1] == 300.0
    assert build("stop", "a", {"ttl": 0.5}, None, 300.0)[1] == 0.5
    assert to_wire(0.5) == 500


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"ttl": 0}, "ttl"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": LONGEST_TTL * 2}, "ttl"),
        ({"ttl": 5, "expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),  # noqa: DTZ001 -- no zone is the point
        ({"not_before": datetime(1969, 1, 1, tzinfo=UTC)}, "not_before"),
        ({"not_before": "tomorrow"}, "not_before"),
        ({"issuer": SELF_HEAL}, "issuer"),
        ({"issuer": "x" * 257}, "issuer"),
        ({"id": "12-34"}, "id"),
        ({"id": ""}, "id"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": 3601}, "timeout"),
        ({"expect_container_id": "xyz"}, "expect_container_id"),
    ],
)
def test_what_is_wrong_is_named(options: dict, field: str):
    with pytest.raises(InvalidCommand) as caught:
        built(**options)
    assert caught.value.field == field


@pytest.mark.parametrize(("action", "service"), [("destroy", "a"), ("restart", ""), ("restart", "-x")])
def test_actions_and_names_are_checked(action: str, service: str):
    with pytest.raises(InvalidCommand):
        build(action, service, {}, None, 1)


def test_the_reserved_issuer_is_refused_as_a_default_too():
    with pytest.raises(InvalidCommand):
        complete(Command(action=Action.STOP, service="a"), SELF_HEAL)


def test_completing_leaves_what_was_given():
    command = Command(action=Action.STOP, service="a", id="x", issuer="me", reason="why")
    assert complete(command, "other") == command
