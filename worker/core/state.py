"""What is known of one service: the public snapshot, and the private memo that stands beside it."""

import msgspec
from msgspec.structs import astuple

from contracts.services import ServiceStatus, Snapshot
from worker.core.container import Container

#: The fields that only the scripts write.
_SCRIPTS_OWN = frozenset({"name", "revision"})
_NOTHING = (None,) * len(Snapshot.__struct_fields__)


class Memo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the workers remember of a service between looks; JSON in the private state hash.

    A run is "<12 of container id> <StartedAt>". Times ending in `_ms` are milliseconds of Redis TIME.
    """

    #: When the service was first seen here.
    born_ms: int = 0
    #: What the labels said at the last look, for commands that need no engine.
    protected: bool = False
    actions: tuple[str, ...] | None = None
    #: The services that this one needs, as its labels said at the last look.
    needs: tuple[str, ...] = ()
    #: The last run seen, and whether it was seen alive (or was started by a command).
    run: str | None = None
    alive: bool = False
    #: A run, and when it began by Redis TIME as well as that can be told.
    began: tuple[str, int] | None = None
    #: The run that a begun command set out to end: its end is no failure.
    ending: str | None = None
    #: The run whose end was counted, and the run whose turn to unhealthy was counted.
    counted: str | None = None
    sick: str | None = None
    #: The run that was ready once: its grace is over.
    ready: str | None = None
    #: Status, reason and message as observed at the last look, whether the service is enabled or not.
    seen: tuple[ServiceStatus, str | None, str | None] | None = None
    #: `desired` was set by a command or label, or a start was seen; and whether it was a command.
    settled_desire: bool = False
    commanded: bool = False
    #: The id of the planned heal, until its outcome is counted.
    plan: str | None = None
    #: Heals begun since the last reset, and when the last heal ended.
    attempts: int = 0
    last_attempt_ms: int = 0
    #: Since when the present run is clean; 0 when it is not.
    clean_since_ms: int = 0
    #: When the service turned from good to bad, newest last, within the sliding window.
    turns_ms: tuple[int, ...] = ()
    #: It turned bad too often in the window, and has had no clean run since.
    flapping: bool = False
    #: The budget of failures is spent; and whether the service was disabled for it.
    exhausted: bool = False
    gave_up: bool = False
    #: Since when no container is there, while one is wanted.
    missing_since_ms: int = 0
    #: The snapshot was lost with Redis and made anew from defaults.
    lost: bool = False


class ServiceState(msgspec.Struct, frozen=True):
    """Snapshot and memo as of version `ver` of the private hash; `snapshot` None: never seen."""

    snapshot: Snapshot | None
    memo: Memo
    ver: str = "0"


def run_of(container: Container) -> str | None:
    """Name the container's present or last run; None where it never ran."""
    return f"{container.short_id} {container.started_at}" if container.ever_started else None


def differences(old: Snapshot | None, new: Snapshot) -> list[str]:
    """Return what to write, flat: field, value, field, value ...; an empty value deletes the field."""
    if old is new:
        return []
    flat: list[str] = []
    before = astuple(old) if old is not None else _NOTHING
    for name, was, now in zip(Snapshot.__struct_fields__, before, astuple(new), strict=True):
        if was is not now and was != now and name not in _SCRIPTS_OWN:
            flat += (name, now if type(now) is str else _text(now))
    return flat


def split(flat: list[str]) -> tuple[list[str], list[str]]:
    """Return what `differences` says as what to set, flat, and the names of what to delete."""
    if "" not in flat[1::2]:
        return flat, []
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return [item for pair in pairs if pair[1] for item in pair], [name for name, text in pairs if not text]


def _text(value: object) -> str:
    """Return a field as the hash has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


_decode_memo = msgspec.json.Decoder(Memo).decode
_encode_memo = msgspec.json.Encoder().encode


def memo_from_text(text: str) -> Memo:
    """Read a memo; an unreadable one (of another version) is an empty one: the next look fills it."""
    if not text:
        return Memo()
    try:
        return _decode_memo(text)
    except msgspec.DecodeError:
        return Memo()


def memo_to_text(memo: Memo) -> str:
    """Write a memo."""
    return _encode_memo(memo).decode()
