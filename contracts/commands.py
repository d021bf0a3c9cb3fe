"""Commands: what is asked for, and the limits of its words."""

import re
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from contracts import CONTRACT_VERSION

#: Names and values of one entry together, in bytes.
MAX_ENTRY_BYTES = 16_384
#: `issuer` and `reason`, in characters (Unicode code points).
MAX_NOTE_CHARS = 256
#: The longest stop grace that may be asked for, in seconds.
MAX_TIMEOUT = 3600
#: The stop grace when neither command, label nor container says one, in seconds.
DEFAULT_TIMEOUT = 10
#: Life of an unstarted command that names no `expires_at`, from the later of entry time and `not_before`.
DEFAULT_TTL_MS = 300_000
#: `expect_started_at`, in bytes: room for the engine's nanoseconds and an offset.
MAX_STARTED_AT_BYTES = 64
#: `tracestate`, in bytes: what W3C asks everybody to carry.
MAX_TRACESTATE_BYTES = 512
#: The issuer of planned healing; publisher, command line and gateway refuse it from anybody else.
SELF_HEAL = "self-heal"
#: At most so many commands wait on one that they were coalesced into.
MAX_JOINERS = 1000
#: Characters of a container id that are compared and kept.
SHORT_ID = 12

SERVICE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
ID_PATTERN = r"[A-Za-z0-9._:/-]{1,128}"
STREAM_ID_PATTERN = r"[0-9]+-[0-9]+"
TIMEOUT_PATTERN = r"[0-2]?[0-9]{1,3}|3[0-5][0-9]{2}|3600"
CONTAINER_ID_PATTERN = r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{64}"
TRACEPARENT_PATTERN = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"

_SERVICE = re.compile(SERVICE_PATTERN)
_ID = re.compile(ID_PATTERN)
_STREAM_ID = re.compile(STREAM_ID_PATTERN)


class Action(StrEnum):
    """The five things that can be asked of a service."""

    RESTART = "restart"
    START = "start"
    STOP = "stop"
    ENABLE = "enable"
    DISABLE = "disable"


class Command(Struct, frozen=True, kw_only=True, gc=False):
    """One asked-for action on one service; None is absent.

    The constructor checks nothing: `contracts.codec.check_command` does. Times are RFC 3339 UTC with
    milliseconds, `timeout` is seconds, `expect_started_at` is the engine's own string.
    """

    action: Action
    service: str
    id: str | None = None
    v: str = CONTRACT_VERSION
    issuer: str | None = None
    reason: str | None = None
    expires_at: str | None = None
    not_before: str | None = None
    timeout: int | None = None
    expect_container_id: str | None = None
    expect_started_at: str | None = None
    coalesce: bool = False
    traceparent: str | None = None
    tracestate: str | None = None


#: The known fields of an entry, in the order of the contract's table.
COMMAND_FIELDS: tuple[str, ...] = Command.__struct_fields__


class Fingerprinted(Protocol):
    """What has a fingerprint: a `Command` and a `Receipt`."""

    @property
    def action(self) -> Action | None:
        """The asked-for action."""

    @property
    def service(self) -> str | None:
        """The service's name."""

    @property
    def timeout(self) -> int | None:
        """Seconds of grace, as asked."""

    @property
    def expect_container_id(self) -> str | None:
        """The container that was meant."""

    @property
    def expect_started_at(self) -> str | None:
        """The run that was meant."""


#: Action, service, timeout, short container id, StartedAt.
Fingerprint = tuple[str | None, str | None, int | None, str | None, str | None]


def fingerprint(command: Fingerprinted) -> Fingerprint:
    """Return what makes two commands of one id the same: action, service, timeout and both expectations.

    The container is compared on its first 12 characters.
    """
    container = command.expect_container_id
    return (
        command.action,
        command.service,
        command.timeout,
        container[:SHORT_ID].lower() if container else None,
        command.expect_started_at,
    )


def is_service_name(text: str) -> bool:
    """Say whether `text` can name a service."""
    return _SERVICE.fullmatch(text) is not None


def is_stream_id(text: str) -> bool:
    """Say whether `text` has the form digits-digits, which the stream keeps for its own ids."""
    return _STREAM_ID.fullmatch(text) is not None


def is_command_id(text: str) -> bool:
    """Say whether `text` can be the `id` of an entry."""
    return _ID.fullmatch(text) is not None and not is_stream_id(text)
