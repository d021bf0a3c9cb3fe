from datetime import UTC, datetime

import pytest

from pointsman.humane import age, between, count, moment, span, until

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.04, "0s"),
        (0.42, "0.4s"),
        (9.99, "10s"),
        (42.9, "42s"),
        (60, "1m"),
        (312, "5m 12s"),
        (3_600, "1h"),
        (7_260, "2h 1m"),
        (86_399, "23h 59m"),
        (273_600, "3d 4h"),
        (86_401, "1d"),
    ],
)
def test_a_span_in_its_two_largest_units(seconds: float, words: str):
    assert span(seconds) == words


def test_how_long_ago():
    assert age("2026-01-01T00:09:00.000Z", NOW) == "1m ago"
    assert age("2026-01-01T00:10:00.200Z", NOW) == "0s ago"  # the engine's clock may be ahead
    assert age(None, NOW) is None
    assert age("yesterday", NOW) == "yesterday"


def test_how_far_off():
    assert until("2026-01-01T00:10:42.000Z", NOW) == "in 42s"
    assert until("2026-01-01T00:10:00.000Z", NOW) == "due"
    assert until(None, NOW) is None


def test_a_moment_to_the_second():
    assert moment("2026-01-01T00:09:00.123456789Z") == "2026-01-01 00:09:00 UTC"
    assert moment(None) is None
    assert moment("0001-01-01T00:00:00Z") == "0001-01-01T00:00:00Z"


def test_between_two_times():
    assert between("2026-01-01T00:09:00.000Z", "2026-01-01T00:09:01.500Z") == 1.5
    assert between(None, "2026-01-01T00:09:01.500Z") is None
    assert between("then", "now") is None


def test_one_and_many():
    assert [count(number, "command") for number in (0, 1, 2_000)] == [
        "0 commands",
        "1 command",
        "2,000 commands",
    ]
