"""Lua scripts: find one, put its fragments before it, know its sha1."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import get_args, get_type_hints

from msgspec import Struct

from contracts.events import EngineInfo, WorkerInfo
from contracts.receipts import Receipt
from contracts.services import Snapshot

_TABLES: dict[str, type[Struct]] = {
    "RECEIPT_FIELDS": Receipt,
    "SNAPSHOT_FIELDS": Snapshot,
    "WORKER_FIELDS": WorkerInfo,
    "ENGINE_FIELDS": EngineInfo,
}
_INCLUDE = re.compile(r"^--[ \t]*include:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script, ready for EVALSHA: `sha` is the lower-case hex sha1 of `text` in UTF-8."""

    name: str
    text: str
    sha: str


def load(package: str, name: str, overrides: Mapping[str, str] | None = None) -> Script:
    """Return `lua/<name>.lua` of `package` with the fragments it names before it.

    A line `-- include: keys time` names fragments, `contracts/lua/<fragment>.lua`. Each is put in once,
    in the order named, one that a fragment itself includes before that fragment. `overrides` replaces
    the text of fragments: tests put in a `time` that they set. Results are cached. Raises
    FileNotFoundError for a script or fragment that is not there.
    """
    return _load(package, name, tuple(sorted(overrides.items())) if overrides else ())


@cache
def _load(package: str, name: str, overrides: tuple[tuple[str, str], ...]) -> Script:
    body = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    replaced = dict(overrides)
    parts: dict[str, str] = {}
    _collect(body, replaced, parts, ())
    if unused := replaced.keys() - parts.keys():
        raise ValueError(f"script {package}:{name} includes no {sorted(unused)}: nothing to override")
    text = "\n".join([*parts.values(), body])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _fragment(name: str) -> str:
    """Return a fragment's text; `fields` is made from the structs, so that names and types stand once."""
    if name == "fields":
        return "-- fields: {name, kind, ...} of what events show; s string, i integer, b boolean.\n" + "\n".join(
            f"local {table} = {{{', '.join(_kinds(struct))}}}" for table, struct in _TABLES.items()
        )
    return files("contracts").joinpath("lua", f"{name}.lua").read_text("utf-8")


def _kinds(struct: type[Struct]) -> list[str]:
    """Return the struct's fields as the items of a Lua table."""
    hints = get_type_hints(struct)
    kinds = {bool: "b", int: "i"}
    items: list[str] = []
    for name in struct.__struct_fields__:
        kind = next((kinds[part] for part in (hints[name], *get_args(hints[name])) if part in kinds), "s")
        items.append(f"'{name}', '{kind}'")
    return items


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
                text = _fragment(fragment)
            _collect(text, replaced, parts, (*above, fragment))
            parts[fragment] = text
