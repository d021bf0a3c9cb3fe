"""A small reader of JSON Schema: the words that our schemas use, and an error for any other."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_SILENT = {"title", "description", "default", "contentMediaType", "$schema", "$id", "$defs"}


def faults(schema: dict[str, Any], value: Any, root: dict[str, Any], path: str = "$") -> Iterator[str]:
    """Yield what in `value` breaks `schema`; references are looked up in `root`."""
    for word, rule in schema.items():
        if word in _SILENT:
            continue
        yield from _fault(word, rule, schema, value, root, path)


def _fault(
    word: str, rule: Any, schema: dict[str, Any], value: Any, root: dict[str, Any], path: str
) -> Iterator[str]:
    match word:
        case "$ref":
            yield from faults(_at(root, rule), value, root, path)
        case "type":
            if not isinstance(value, _TYPES[rule]) or (rule == "integer" and isinstance(value, bool)):
                yield f"{path} is no {rule}: {value!r}"
        case "const" | "enum":
            if value not in ([rule] if word == "const" else rule):
                yield f"{path} is not of {rule!r}: {value!r}"
        case "pattern":
            if isinstance(value, str) and not re.search(rule.replace("$", r"\Z"), value):
                yield f"{path} does not match {rule}: {value!r}"
        case "format":
            if isinstance(value, str) and not _is_time(value):
                yield f"{path} is no {rule}: {value!r}"
        case "minLength" | "maxLength":
            if isinstance(value, str) and (len(value) < rule if word == "minLength" else len(value) > rule):
                yield f"{path} has {len(value)} characters, {word} {rule}"
        case "minimum" | "maximum":
            if isinstance(value, int) and (value < rule if word == "minimum" else value > rule):
                yield f"{path} is {value}, {word} {rule}"
        case "anyOf" | "oneOf":
            sound = [not list(faults(part, value, root, path)) for part in rule]
            if not any(sound) or (word == "oneOf" and sum(sound) != 1):
                yield f"{path} fits {sum(sound)} of {word}: {value!r}"
        case "items":
            for position, item in enumerate(value if isinstance(value, list) else ()):
                yield from faults(rule, item, root, f"{path}[{position}]")
        case "required":
            yield from (
                f"{path} has no {name}" for name in rule if isinstance(value, dict) and name not in value
            )
        case "properties":
            for name, part in rule.items():
                if isinstance(value, dict) and name in value:
                    yield from faults(part, value[name], root, f"{path}.{name}")
        case "additionalProperties":
            for name in value if isinstance(value, dict) else ():
                if name not in schema["properties"]:
                    yield from faults(rule, value[name], root, f"{path}.{name}")
        case _:
            raise NotImplementedError(word)


def _at(root: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
