"""Times on the wire: RFC 3339, UTC, milliseconds, `Z`."""

import re
from datetime import UTC, datetime
from functools import lru_cache

#: The form that `parse_ms` takes; the calendar is checked besides.
TIME_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z"
#: The last millisecond of the year 9999.
MAX_MS = 253_402_300_799_999

_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
#: Characters of a time up to its second, and of the longest fraction with its point and the `Z`.
_TO_THE_SECOND, _LONGEST_REST = 19, 11
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_ADVICE = "write UTC of the years 1970 to 9999 as 2026-01-01T00:00:00.000Z"
_SHOWN = 40


@lru_cache(maxsize=256)
def _format_second(seconds: int) -> str:
    """Return the time up to the second; neighbours in time ask for the same second again and again."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_ms(ms: int) -> str:
    """Return `ms` since 1970 as `2026-01-01T00:00:00.000Z`; ValueError outside the years 1970 to 9999."""
    if not 0 <= ms <= MAX_MS:
        raise ValueError(f"{ms} ms is not a time between the years 1970 and 9999")
    seconds, rest = divmod(ms, 1000)
    return f"{_format_second(seconds)}.{rest:03d}Z"


def parse_ms(text: str) -> int:
    """Return the milliseconds since 1970 of `text`.

    Strict: `YYYY-MM-DDTHH:MM:SS`, a fraction of 1 to 9 digits if any (cut, not rounded, to
    milliseconds), `Z`; a day that exists, seconds 00 to 59, years 1970 to 9999. Else ValueError, with a
    sentence that says what to write.
    """
    rest = text[_TO_THE_SECOND:]
    digits = rest[1:-1]
    fraction = rest[:1] == "." and rest[-1:] == "Z" and digits.isascii() and digits.isdigit()
    if rest != "Z" and (not fraction or len(rest) > _LONGEST_REST):
        raise ValueError(_no_time(text))
    return _parse_second(text[:_TO_THE_SECOND]) + (int((digits + "00")[:3]) if fraction else 0)


@lru_cache(maxsize=256)
def _parse_second(text: str) -> int:
    """Return a time up to its second in milliseconds; as with `_format_second`, the same ones come again."""
    if _SECOND.fullmatch(text) is None:
        raise ValueError(_no_time(text))
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:])
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a time that exists ({error}): {_ADVICE}") from None
    if moment < _FIRST:
        raise ValueError(f"'{text}' is before 1970: {_ADVICE}")
    return to_ms(moment)


def _no_time(text: str) -> str:
    return f"{text[:_SHOWN]!a} is not a time: {_ADVICE}"


def to_ms(moment: datetime) -> int:
    """Return an aware datetime as whole milliseconds since 1970, cut."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is nobody's time: pass an aware datetime")
    delta = moment - _FIRST
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def to_datetime(ms: int) -> datetime:
    """Return milliseconds since 1970 as an aware UTC datetime, without a float between."""
    seconds, rest = divmod(ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
