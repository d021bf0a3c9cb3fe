"""Lua scripts: find one, put its fragments before it, know its sha1."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from contracts.tables import lua_fields

_INCLUDE = re.compile(r"^--[ \t]*include:(.*)$", re.MULTILINE)
_HERE = re.compile(r"^[ \t]*--[ \t]*include-here:(.*)$", re.MULTILINE)
#: A definition at the left margin of a fragment, with the lines that belong to it.
_DEFINITION = re.compile(
    r"^local (?:function (\w+)|([\w, ]+)).*$(?:\n(?:[ \t].*|end|\}.*))*\n?", re.MULTILINE
)
_REMARK = re.compile(r"^[ \t]*--.*$", re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Script:
    """One script, ready for EVALSHA: `sha` is the lower-case hex sha1 of `text` in UTF-8."""

    name: str
    text: str
    sha: str


def load(package: str, name: str, overrides: Mapping[str, str] | None = None) -> Script:
    """Return `lua/<name>.lua` of `package` with the fragments it names before it.

    A line `-- include: keys time` names fragments, `contracts/lua/<fragment>.lua`. Each is put in once,
    in the order named, one that a fragment itself includes before that fragment; `fields` is no file but
    `contracts.tables.lua_fields()`. A line `-- include-here: json` puts fragments where it stands, but for
    those that are there already: what only a rare branch needs, the others need not define. `overrides`
    replaces the text of fragments, where they are named: tests put in a `time` that they set. What a fragment
    defines and nobody uses is left out, but for what calls Redis.
    Results are cached. Raises FileNotFoundError for a script or fragment that is not there.
    """
    return _load(package, name, tuple(sorted(overrides.items())) if overrides else ())


@cache
def _load(package: str, name: str, overrides: tuple[tuple[str, str], ...]) -> Script:
    body = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    replaced = dict(overrides)
    parts: dict[str, str] = {}
    _collect(body, replaced, parts, ())

    everything = dict(parts)

    def here(line: re.Match[str]) -> str:
        rare = dict(parts)
        _collect(f"-- include:{line[1]}", replaced, rare, ())
        everything.update(rare)
        return "\n".join(text for name, text in rare.items() if name not in parts)

    body = _HERE.sub(here, body)
    text = _shake("\n".join([*parts.values(), body]), everything.values())
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _collect(source: str, replaced: Mapping[str, str], parts: dict[str, str], above: tuple[str, ...]) -> None:
    """Add to `parts` the fragments that `source` names, each after those that it includes itself."""
    for line in _INCLUDE.findall(source):
        for fragment in line.split():
            if fragment in above:
                raise ValueError(f"fragments include each other in a ring: {' -> '.join((*above, fragment))}")
            if fragment in parts:
                continue
            text = replaced.get(fragment)
            if text is None:
                text = _read(fragment)
            _collect(text, replaced, parts, (*above, fragment))
            parts[fragment] = text


def _shake(text: str, fragments: Iterable[str]) -> str:
    """Leave out what these define and nobody uses: a script pays for each definition in each call."""
    definitions = [
        (found[0], (found[1] or found[2]).replace(" ", "").split(","))
        for fragment in fragments
        for found in _DEFINITION.finditer(fragment)
        if found[1] or "redis." not in found[0]
    ]
    while True:
        words = Counter(_WORD.findall(_REMARK.sub("", text)))
        unused = [
            definition
            for definition, names in definitions
            if definition in text
            and not any(words[name] > _WORD.findall(definition).count(name) for name in names)
        ]
        if not unused:
            return text
        for definition in unused:
            text = text.replace(definition, "")


def _read(fragment: str) -> str:
    """Return a fragment's text; `fields` is made from the structs, so that it cannot drift from them."""
    if fragment == "fields":
        return lua_fields()
    return files("contracts").joinpath("lua", f"{fragment}.lua").read_text("utf-8")
