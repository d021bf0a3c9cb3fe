"""Times: one form out, a strict form in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.times import MAX_MS, format_ms, parse_ms, to_datetime, to_ms
from tests.unit.contracts.strategies import MOMENTS


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2026-01-01T00:00:00.000Z", 1_767_225_600_000),
        ("2026-01-01T00:00:00.5Z", 1_767_225_600_500),
        ("2026-01-01T00:00:00.999999999Z", 1_767_225_600_999),
        ("2024-02-29T23:59:59Z", 1_709_251_199_000),
        ("9999-12-31T23:59:59.999Z", MAX_MS),
    ],
)
def test_a_time_reads_as_milliseconds(text, ms):
    assert parse_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.000+02:00",
        "2026-01-01t00:00:00z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00,5Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "1969-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        " 2026-01-01T00:00:00Z",
        "٢٠٢٦-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused_with_advice(text):
    with pytest.raises(ValueError, match=r"write UTC of the years 1970 to 9999 as 2026-01-01T00:00:00\.000Z"):
        parse_ms(text)


@given(st.integers(0, MAX_MS))
def test_milliseconds_come_back(ms):
    text = format_ms(ms)
    assert len(text) == 24
    assert parse_ms(text) == ms
    assert to_ms(to_datetime(ms)) == ms


@given(st.integers(0, MAX_MS), st.integers(0, MAX_MS))
def test_the_order_of_texts_is_the_order_of_times(one, other):
    assert (format_ms(one) < format_ms(other)) == (one < other)


@given(MOMENTS)
def test_a_datetime_reads_like_its_text(moment):
    assert parse_ms(moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z") == to_ms(moment)


@given(st.text())
def test_any_text_is_a_time_or_a_value_error(text):
    try:
        assert 0 <= parse_ms(text) <= MAX_MS
    except ValueError as error:
        assert "write UTC" in str(error)  # noqa: PT017 - the property holds for either outcome


@pytest.mark.parametrize("ms", [-1, MAX_MS + 1])
def test_a_time_out_of_range_is_not_written(ms):
    with pytest.raises(ValueError, match="between the years"):
        format_ms(ms)


def test_a_zone_is_needed_and_honoured():
    with pytest.raises(ValueError, match="zone"):
        to_ms(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
    east = timezone(timedelta(hours=2))
    assert to_ms(datetime(2026, 1, 1, 2, tzinfo=east)) == to_ms(datetime(2026, 1, 1, tzinfo=UTC))
