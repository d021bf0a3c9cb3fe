"""Entries of every kind, quickly and repeatably: sound, nearly sound, and noise."""

import random
from collections.abc import Iterator

from contracts.commands import COMMAND_FIELDS, MAX_ENTRY_BYTES

Entry = list[tuple[bytes, bytes]]

ODD_TEXTS = (
    *(b"", b"\x00", b"a\x00b", b" ", b"\n", b'"', b"\\", b'"\\/', b"\x7f", b"%s%d%", b"]]", b"'", b"nil"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xef\xbf\xbf", b"\xc3\xa9"),
    *(b"\xf0\x9f\x98\x80", b"-0", b"1e5", b"0x10", b"inf", b"*", b"$", b">", b"{}", b"{default}"),
)

TIMES = (
    *(b"2100-01-01T00:10:00Z", b"2100-02-29T00:00:00Z", b"2104-02-29T00:00:00.5Z", b"2000-02-29T00:00:00Z"),
    *(b"9999-12-31T23:59:59.999999999Z", b"9999-12-31T23:59:60Z", b"9999-12-31T23:59:59.999Z"),
    *(b"1970-01-01T00:00:00.000Z", b"1969-12-31T23:59:59Z", b"0000-01-01T00:00:00Z"),
    *(b"2100-01-01T00:10:00.Z", b"2100-01-01T00:10:00.0000000000Z", b"2100-01-01T00:10:00+00:00"),
    *(b"2100-01-01T00:00:00Z", b"2100-01-01T00:00:00.0009Z", b"2100-06-31T00:00:00Z"),
    *(b"2100-01-01T00:01:00.1Z", b"2100-13-01T00:00:00Z", b"2100-01-01t00:01:00z"),
)

NEAR: dict[str, tuple[bytes, ...]] = {
    "action": (b"restart", b"start", b"stop", b"enable", b"disable", b"Restart", b"restart ", b"kill"),
    "service": (b"a", b"a" * 128, b"a" * 129, b"-a", b"A.b_c-1", b"a/b", "ä".encode(), b"a\n"),
    "id": (b"1-1", b"1-", b"-1", b"1-1-1", b"12", b"a" * 128, b"a" * 129, b"a b", b"a:/._-", b"x-1"),
    "v": (b"1", b"01", b"2", b" 1"),
    "issuer": (b"", b"x" * 256, b"x" * 257, "é".encode() * 256, "é".encode() * 257, b'quo"ted\\'),
    "reason": (b"", b"\x00\x1f", "漢".encode() * 256, "😀".encode() * 256, b"</script>"),
    "expires_at": TIMES,
    "not_before": TIMES,
    "timeout": (b"0", b"10", b"0010", b"3600", b"3601", b"00010", b"-1", b"1.5", b"1e1"),
    "expect_container_id": (b"0123456789ab", b"0123456789AB", b"g" * 12, b"aF" * 32, b"a" * 63, b"a" * 13),
    "expect_started_at": (b"x" * 64, b"x" * 65, "é".encode() * 32, "é".encode() * 33, b"a\nb"),
    "coalesce": (b"0", b"1", b"2", b"true"),
    "traceparent": (
        b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"a" * 31 + b"-" + b"b" * 17 + b"-01",
        b"0-0" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    ),
    "tracestate": (b"a=b", b"x" * 512, b"x" * 513),
}


def entries(count: int, seed: int) -> Iterator[Entry]:
    """Yield that many entries, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        yield _entry(rng, number)


def _entry(rng: random.Random, number: int) -> Entry:
    kind = rng.random()
    if kind < 0.05:
        names = (rng.randbytes(rng.randrange(6)) for _ in range(rng.randint(1, 6)))
        return [(name, rng.randbytes(rng.randrange(20))) for name in names]
    if kind < 0.06:
        return [(b"%d" % n, rng.choice(ODD_TEXTS)) for n in range(rng.randint(100, 4000))]
    if kind < 0.1:
        return [(b"action", b"stop"), (b"service", b"twice"), (b"id", b"again-%d" % (number // 100))]
    fields = [(b"action", b"restart"), (b"service", b"s%d" % rng.randrange(50))]
    if rng.random() < 0.5:
        fields.append((b"id", b"id-%d" % (number if rng.random() < 0.8 else rng.randrange(number + 1))))
    if kind < 0.3:
        return fields
    for name in rng.sample(COMMAND_FIELDS, rng.randint(1, 4)):
        value = rng.choice(NEAR[name])
        if rng.random() < 0.1:
            value = rng.choice(ODD_TEXTS) + rng.randbytes(rng.randrange(3))
        fields = [field for field in fields if field[0] != name.encode()]
        fields.append((name.encode(), value))
    if rng.random() < 0.2:
        stranger = (rng.choice(ODD_TEXTS), rng.choice(ODD_TEXTS))
        fields.append(rng.choice([(b"x", b""), stranger, rng.choice(fields)]))
    if rng.random() < 0.05:  # about the limit of an entry
        left = MAX_ENTRY_BYTES - sum(len(name) + len(value) for name, value in fields) - len(b"pad")
        fields.append((b"pad", rng.choice((b"p", b'"', b"\x01", b"\xc3")) * (left + rng.randint(-2, 2))))
    rng.shuffle(fields)
    return fields
