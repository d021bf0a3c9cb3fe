"""Values for property tests: every struct with anything that it may hold."""

import string
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from contracts.commands import Action, Command
from contracts.times import MAX_MS, format_ms

#: Any text that UTF-8 can hold, but the empty one, which is the same as absent.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
TIMES = st.integers(0, MAX_MS).map(format_ms)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
IDS = st.text(string.ascii_letters + string.digits + "._:/-", min_size=1, max_size=128).filter(
    lambda text: not all(part.isdigit() for part in text.split("-")) or text.count("-") != 1
)
NOTES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
KNOWN = st.sampled_from(Command.__struct_fields__)


def _of(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.StrType():
            return TEXTS
        case msgspec.inspect.IntType():
            return st.integers(-(2**53), 2**53)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case msgspec.inspect.StructType(cls=cls):
            return structs(cls)
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=3).map(tuple)
    raise TypeError(info)


def structs(struct: type[Struct]) -> st.SearchStrategy[Any]:
    """Return any value of a struct, from its annotations."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.builds(struct, **{field.name: _of(field.type) for field in info.fields})


@st.composite
def commands(draw: st.DrawFn) -> Command:
    """Return any valid command in the form that decoding gives."""
    early, late = sorted(draw(st.lists(TIMES, min_size=2, max_size=2, unique=True)))
    return Command(
        action=draw(st.sampled_from(Action)),
        service=draw(NAMES),
        id=draw(st.none() | IDS),
        issuer=draw(st.none() | NOTES),
        reason=draw(st.none() | NOTES),
        not_before=draw(st.none() | st.just(early)),
        expires_at=draw(st.none() | st.just(late)),
        timeout=draw(st.none() | st.integers(0, 3600)),
        expect_container_id=draw(st.none() | st.from_regex(r"[0-9a-f]{12}|[0-9a-f]{64}", fullmatch=True)),
        expect_started_at=draw(
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
        ),
        coalesce=draw(st.booleans()),
        traceparent=draw(
            st.none() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
        ),
        tracestate=draw(st.none() | st.text(string.ascii_letters + "=,", min_size=1, max_size=512)),
    )


#: Values that come close to each field's rule, from both sides.
NEAR: dict[str, st.SearchStrategy[bytes]] = {
    "action": st.sampled_from(
        [b"restart", b"start", b"stop", b"enable", b"disable", b"Restart", b"restart\n", b"kill"]
    ),
    "service": st.sampled_from(
        [b"a", b"a" * 128, b"a" * 129, b"-a", b".a", b"_a", b"a b", b"a\n", b"A.b_c-1", "ä".encode()]
    ),
    "id": st.sampled_from(
        [b"1-1", b"1-", b"-1", b"1-1-1", b"12", b"a-1", b"1-1\n", b"a" * 128, b"a" * 129, b"a b", b"a:/._-"]
    ),
    "v": st.sampled_from([b"1", b"01", b"2", b"1.0", b" 1"]),
    "issuer": st.sampled_from(
        [b"", b"me", b"x" * 256, b"x" * 257, "é".encode() * 256, "é".encode() * 257, "😀".encode() * 256]
    ),
    "reason": st.sampled_from([b"", b"\x00", b"y" * 257, "漢".encode() * 256]),
    "timeout": st.sampled_from(
        [
            b"0",
            b"10",
            b"0010",
            b"3600",
            b"3601",
            b"00010",
            b"-1",
            b"1.5",
            b"1e1",
            b" 1",
            b"0x1",
            "\u0661".encode(),
        ]
    ),
    "expect_container_id": st.sampled_from(
        [
            b"0123456789ab",
            b"0123456789AB",
            b"0123456789a",
            b"0123456789abc",
            b"g" * 12,
            b"aF" * 32,
            b"a" * 63,
            b"0123456789ab\n",
        ]
    ),
    "expect_started_at": st.sampled_from([b"x" * 64, b"x" * 65, "é".encode() * 32, "é".encode() * 33, b"\n"]),
    "coalesce": st.sampled_from([b"0", b"1", b"2", b"true", b"01"]),
    "traceparent": st.sampled_from(
        [
            b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
            b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
            b"00-" + b"a" * 31 + b"-" + b"b" * 17 + b"-01",
            b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-",
            b"0-0" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        ]
    ),
    "tracestate": st.sampled_from([b"a=b", b"x" * 512, b"x" * 513]),
}
_TIMES_NEAR = st.sampled_from(
    [
        b"1970-01-01T00:00:00Z",
        b"1969-12-31T23:59:59.999Z",
        b"9999-12-31T23:59:59.999999999Z",
        b"2026-02-29T00:00:00Z",
        b"2024-02-29T00:00:00Z",
        b"2000-02-29T00:00:00Z",
        b"2100-02-29T00:00:00Z",
        b"2026-04-31T00:00:00Z",
        b"2026-13-01T00:00:00Z",
        b"2026-00-01T00:00:00Z",
        b"2026-01-00T00:00:00Z",
        b"2026-01-01T24:00:00Z",
        b"2026-01-01T23:60:00Z",
        b"2026-01-01T23:59:60Z",
        b"2026-01-01T00:00:00.Z",
        b"2026-01-01T00:00:00.1Z",
        b"2026-01-01T00:00:00.0009Z",
        b"2026-01-01T00:00:00.1234567890Z",
        b"2026-01-01T00:00:00+00:00",
        b"2026-01-01t00:00:00z",
        b"2026-01-01 00:00:00Z",
        b"2026-01-01T00:00:00Z\n",
        b"20260101T000000Z",
        "2026-01-01T00:00:0\u0660Z".encode(),
    ]
) | TIMES.map(str.encode)
NEAR["expires_at"] = NEAR["not_before"] = _TIMES_NEAR

_SOUND = st.sampled_from([(b"action", b"stop"), (b"service", b"web")])


@st.composite
def near_fields(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Return an entry that is nearly, or quite, a command: odd values, doubles, strangers, broken text."""
    fields: list[tuple[bytes, bytes]] = []
    if draw(st.integers(0, 9)):
        fields += [(b"action", b"stop"), (b"service", b"web")]
    for name in draw(st.lists(KNOWN, max_size=4, unique=bool(draw(st.integers(0, 4))))):
        if (name in {"action", "service"}) and fields and draw(st.integers(0, 9)):
            fields = [field for field in fields if field[0] != name.encode()]
        fields.append(
            (name.encode(), draw(NEAR[name] | st.binary(max_size=12) if draw(st.booleans()) else NEAR[name]))
        )
    if not draw(st.integers(0, 3)):
        fields.append((draw(st.binary(max_size=6)), draw(st.binary(max_size=6) | st.just(b"z" * 16_380))))
    return draw(st.permutations(fields))
