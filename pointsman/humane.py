"""Numbers and times as a person says them; pure."""

from datetime import UTC, datetime

from contracts.times import parse_ms, to_ms

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def span(seconds: float) -> str:
    """Return a span of time in its two largest units: `42s`, `5m 12s`, `3d 4h`; below ten seconds `0.4s`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s".replace(".0s", "s")
    left = int(seconds)
    parts: list[str] = []
    for size, unit in _STEPS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0"))


def age(time: str | None, now: datetime) -> str | None:
    """Return how long ago an RFC 3339 time was; None for none, the text itself if it cannot be read."""
    seconds = _since(time, now)
    return time if seconds is None else f"{span(seconds)} ago"


def until(time: str | None, now: datetime) -> str | None:
    """Return how far off an RFC 3339 time is, `due` when it has come; None for none."""
    seconds = _since(time, now)
    if seconds is None:
        return time
    return f"in {span(-seconds)}" if seconds < 0 else "due"


def _since(time: str | None, now: datetime) -> float | None:
    try:
        return None if time is None else (to_ms(now) - parse_ms(time)) / 1000
    except ValueError:
        return None


def moment(time: str | None) -> str | None:
    """Return an RFC 3339 time to the second, `2026-01-01 00:00:21 UTC`."""
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(parse_ms(time) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return time


def between(first: str | None, last: str | None) -> float | None:
    """Return the seconds from one RFC 3339 time to another; None where one is missing or cannot be read."""
    if first is None or last is None:
        return None
    try:
        return (parse_ms(last) - parse_ms(first)) / 1000
    except ValueError:
        return None


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `1 command`, `2 commands`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
