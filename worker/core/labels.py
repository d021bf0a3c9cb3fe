"""What a container's labels ask of the worker, read once and judged; a bad value never stops anything."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

PREFIX: Final = "pointsman."
#: Names that the contract allows for a service and for a room.
SERVICE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
ROOM_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

ACTIONS: Final = frozenset({"restart", "start", "stop", "enable", "disable"})
DESIRED: Final = frozenset({"running", "stopped"})
#: What happens when the healing budget is spent: go on at the longest delay, or disable the service.
ON_EXHAUSTED: Final = frozenset({"retry", "disable"})

_CATEGORY = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_INTEGER = re.compile(r"\d{1,9}", re.ASCII)
_PROBE = re.compile(r"(https?|tcp)://([A-Za-z0-9._-]{0,253}):(\d{1,5})(/[\x21-\x7e]*)?", re.ASCII)
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_COMPOSE_DEPENDS_ON = "com.docker.compose.depends_on"
_MAX_TEXT = 256
#: A longer value is cut in a problem's sentence.
_MAX_SHOWN = 64
_DAY = 86_400.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a service whether it answers; an empty host is the container's own address."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    def __str__(self) -> str:
        """Return it as the label writes it."""
        return f"{self.scheme}://{self.host}:{self.port}{'' if self.scheme == 'tcp' else self.path}"


@dataclass(frozen=True, slots=True)
class ServiceLabels:
    """The labels of one service; `None` stands for "not set here", so the worker's setting holds.

    Times are seconds. `stop_timeout` is rounded up, because engines take whole seconds. `actions`
    None allows all. `problems` has one sentence per value that was bad and is not used.
    """

    category: str = "infrastructure"
    display_name: str | None = None
    port: int | None = None
    actions: frozenset[str] | None = None
    protected: bool = False
    desired: str | None = None
    stop_timeout: int | None = None
    grace: float | None = None
    self_heal: bool | None = None
    max_failures: int | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    on_exhausted: str | None = None
    probe: Probe | None = None
    depends_on: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def parse(cls, labels: Mapping[str, str]) -> "ServiceLabels":
        """Read a container's labels. An empty value is an absent one, as compose files produce them."""
        ours = [
            item for item in labels.items() if item[0].startswith(PREFIX) or item[0] == _COMPOSE_DEPENDS_ON
        ]
        return cls._read(tuple(ours))

    @classmethod
    @lru_cache(maxsize=1024)
    def _read(cls, ours: tuple[tuple[str, str], ...]) -> "ServiceLabels":
        """Read what is for us among them; containers of one kind have the same."""
        labels = dict(ours)
        read = _Reader(labels)
        base = read.value("backoff-base", _seconds(0.001, _DAY))
        top = read.value("backoff-max", _seconds(0.001, _DAY))
        if base is not None and top is not None and top < base:
            read.problems.append("label pointsman.backoff-max is below pointsman.backoff-base")
            top = None
        depends_on = read.value("depends-on", _services)
        stop_timeout = read.value("stop-timeout", _seconds(0, 3600))
        return cls(
            category=read.value("category", _category) or "infrastructure",
            display_name=read.value("display-name", _text),
            port=read.value("port", _whole(1, 65_535)),
            actions=read.value("actions", _actions),
            protected=read.value("protected", _flag) or False,
            desired=read.value("desired", _one_of(DESIRED)),
            stop_timeout=None if stop_timeout is None else math.ceil(stop_timeout),
            grace=read.value("grace", _seconds(0, _DAY)),
            self_heal=read.value("self-heal", _flag),
            max_failures=read.value("max-failures", _whole(1, 1_000_000)),
            backoff_base=base,
            backoff_max=top,
            on_exhausted=read.value("on-exhausted", _one_of(ON_EXHAUSTED)),
            probe=read.value("probe", _probe),
            depends_on=compose_dependencies(labels) if depends_on is None else depends_on,
            problems=tuple(read.problems),
        )


def compose_dependencies(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Read the services that compose recorded as dependencies (`name:condition:required,…`)."""
    names = (part.split(":", 1)[0].strip() for part in labels.get(_COMPOSE_DEPENDS_ON, "").split(","))
    return tuple(dict.fromkeys(name for name in names if SERVICE_NAME.fullmatch(name)))


class _Reader:
    """Takes values out of labels and remembers what was wrong with them."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self.problems: list[str] = []

    def value(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._labels.get(PREFIX + name, "").strip()
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
            self.problems.append(f"label {PREFIX}{name} is {shown!r}: {error}")
            return None


def _category(text: str) -> str:
    if not _CATEGORY.fullmatch(text):
        raise ValueError("must be 1 to 32 of a-z, 0-9 and -")
    return text


def _text(text: str) -> str:
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise ValueError(f"must be at most {_MAX_TEXT} printable characters")
    return text


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return word in _TRUE


def _one_of(words: frozenset[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(sorted(words))}")
        return text

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"must be decimal seconds from {low:g} to {high:g}, without a unit")
        return float(text)

    return parse


def _actions(text: str) -> frozenset[str]:
    words = frozenset(word.strip() for word in text.split(","))
    if not words <= ACTIONS:
        raise ValueError(f"must be a comma list of {', '.join(sorted(ACTIONS))}")
    return words


def _services(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(SERVICE_NAME.fullmatch(name) for name in names):
        raise ValueError("must be a comma list of service names")
    return names


def _probe(text: str) -> Probe:
    match = _PROBE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None or not 1 <= int(match[3]) <= 65_535 or (match[1] == "tcp" and match[4]):
        raise ValueError("must look like http://:8001/health or tcp://:5432")
    return Probe(scheme=match[1], host=match[2], port=int(match[3]), path=match[4] or "/")
