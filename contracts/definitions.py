"""The JSON Schema definitions of every message, made from the structs and the limits."""

import inspect
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import msgspec
from msgspec import Struct

from contracts import CONTRACT_VERSION, glossary
from contracts.commands import (
    COMMAND_FIELDS,
    CONTAINER_ID_PATTERN,
    ID_PATTERN,
    MAX_NOTE_CHARS,
    MAX_STARTED_AT_BYTES,
    MAX_TIMEOUT,
    MAX_TRACESTATE_BYTES,
    SERVICE_PATTERN,
    STREAM_ID_PATTERN,
    TIMEOUT_PATTERN,
    TRACEPARENT_PATTERN,
    Command,
)
from contracts.events import (
    DATA_TYPES,
    CommandData,
    DeadLetter,
    EngineData,
    HeartbeatData,
    Meta,
    ServiceData,
    WorkerData,
    WorkerInfo,
)
from contracts.keys import EVENT_FIELD, ROOM_PATTERN
from contracts.receipts import Receipt
from contracts.services import CATEGORY_PATTERN, Snapshot
from contracts.tables import Kind, kinds_of
from contracts.times import TIME_PATTERN

Schema = dict[str, Any]

EPOCH_PATTERN = r"[0-9]{13}-[0-9a-f]{8}"

#: Flat form in Redis -> the struct, and how many of its first fields stand outside the fields.
FLAT: dict[str, tuple[type[Struct], int]] = {
    "ReceiptHash": (Receipt, 0),
    "SnapshotHash": (Snapshot, 0),
    "MetaHash": (Meta, 0),
    "WorkerHash": (WorkerInfo, 1),
    "DeadEntry": (DeadLetter, 1),
}

_TYPES = (
    Command,
    ServiceData,
    CommandData,
    WorkerData,
    EngineData,
    HeartbeatData,
    Meta,
    DeadLetter,
)


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


_TIME: Schema = {"format": "date-time", "pattern": _whole(TIME_PATTERN)}
_ID = f"(?!{STREAM_ID_PATTERN}$){ID_PATTERN}"
_COUNT: Schema = {"minimum": 0}

#: What the values of a field obey beside their type, by field, in whatever struct.
_RULES: dict[str, Schema] = {
    "accepted_at": _TIME,
    "at": _TIME,
    "attempt": {"minimum": 1},
    "attempts": _COUNT,
    "called_at": _TIME,
    "capacity": _COUNT,
    "category": {"pattern": _whole(CATEGORY_PATTERN)},
    "container_id": {"maxLength": 12},
    "duplicates": _COUNT,
    "engine_seen_at": _TIME,
    "expect_container_id": {"pattern": _whole(CONTAINER_ID_PATTERN)},
    "expect_started_at": {"minLength": 1, "maxLength": MAX_STARTED_AT_BYTES},
    "expires_at": _TIME,
    "failure_count": _COUNT,
    "finished_at": _TIME,
    "issuer": {"maxLength": MAX_NOTE_CHARS},
    "last_start_error_at": _TIME,
    "name": {"minLength": 1},
    "not_before": _TIME,
    "observed_at": _TIME,
    "port": {"minimum": 0, "maximum": 65_535},
    "restart_count": _COUNT,
    "restart_scheduled_at": _TIME,
    "revision": _COUNT,
    "running": _COUNT,
    "seen_at": _TIME,
    "timeout": {"minimum": 0, "maximum": MAX_TIMEOUT},
    "traceparent": {"pattern": _whole(TRACEPARENT_PATTERN)},
    "tracestate": {"minLength": 1, "maxLength": MAX_TRACESTATE_BYTES},
}
#: The same, where it holds for one struct only.
_OWN_RULES: dict[tuple[str, str], Schema] = {
    ("Command", "id"): {"pattern": _whole(_ID)},
    ("Command", "reason"): {"maxLength": MAX_NOTE_CHARS},
    ("Command", "service"): {"pattern": _whole(SERVICE_PATTERN)},
    ("Command", "v"): {"const": CONTRACT_VERSION},
    ("Meta", "epoch"): {"pattern": _whole(EPOCH_PATTERN)},
    ("Receipt", "reason"): {"maxLength": MAX_NOTE_CHARS},
    ("Receipt", "service"): {"pattern": _whole(SERVICE_PATTERN)},
    ("Receipt", "started_at"): _TIME,
    ("Snapshot", "name"): {"pattern": _whole(SERVICE_PATTERN)},
    ("WorkerInfo", "started_at"): _TIME,
}


def components(types: Iterable[Any], reference: str) -> dict[str, Schema]:
    """Return msgspec's schemas of these types, and of all that they name, by name.

    Their descriptions are docstrings, without the indentation that Python before 3.13 leaves in them.
    """
    _, made = msgspec.json.schema_components(types, ref_template=reference)
    for schema in made.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return made


def definitions(reference: str) -> dict[str, Schema]:
    """Return a schema for every message and part, by name; `reference` is a template with `{name}`.

    Typed forms say that every field is there, absent ones as null; the flat forms that only what is
    known is there. Unknown fields are allowed everywhere.
    """
    made = components(_TYPES, reference)
    for name, schema in made.items():
        if name in glossary.FIELDS:
            _refine(name, schema)
    made |= {name: _flat(name, made) for name in FLAT}
    made["CommandEntry"] = _command_entry(made)
    made["ChangeEntry"] = {
        "title": "ChangeEntry",
        "description": "An entry of the changes stream: one event, as text.",
        "type": "object",
        "properties": {
            EVENT_FIELD: {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "The event's JSON.",
            }
        },
        "required": [EVENT_FIELD],
    }
    events = {event_name(kind): _event(kind, data.__name__, reference) for kind, data in DATA_TYPES.items()}
    made |= events
    made["Event"] = {
        "title": "Event",
        "description": "Any event of this version.",
        "oneOf": [{"$ref": reference.format(name=name)} for name in events],
    }
    return made


def event_name(kind: str) -> str:
    """Name the definition of an event's type: `ServiceChanged` for `pointsman.service.changed`."""
    return "".join(word.capitalize() for word in kind.split(".")[1:])


def _refine(struct: str, schema: Schema) -> None:
    """Add sentences and rules to the properties; say that all are there, but in a command."""
    for name, value in schema["properties"].items():
        value["description"] = glossary.FIELDS[struct][name]
        for part in value.get("anyOf", [value]):
            if part.get("type") in {"string", "integer"}:
                part.update(_OWN_RULES.get((struct, name), _RULES.get(name, {})))
        if value.get("default", "") is None:
            del value["default"]
    if struct != "Command":
        schema["required"] = list(schema["properties"])
        for value in schema["properties"].values():
            value.pop("default", None)


def _flat(name: str, made: dict[str, Schema]) -> Schema:
    """Return the schema of the text fields that a struct is in Redis."""
    struct, outside = FLAT[name]
    typed = made[struct.__name__]
    properties = {
        field: _text(typed["properties"][field], kind)
        for field, kind in list(kinds_of(struct).items())[outside:]
    }
    needed = [
        field.name
        for field in msgspec.structs.fields(struct)
        if field.default is msgspec.NODEFAULT and field.name in properties
    ]
    return {
        "title": name,
        "description": f"{typed['description']} As text fields; what is absent is not there.",
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": {"type": "string"},
    }


def _text(typed: Schema, kind: Kind) -> Schema:
    """Return the schema of a value as text."""
    said = {"description": typed["description"]}
    match kind:
        case Kind.BOOLEAN:
            return {"type": "string", "enum": ["0", "1"], **said}
        case Kind.INTEGER:
            return {"type": "string", "pattern": "^-?[0-9]+$", **said}
        case Kind.STRING:
            return {**_present(typed), **said}


def _present(typed: Schema) -> Schema:
    """Return the schema of a value that is there: without the null."""
    parts: list[Schema] = typed.get("anyOf", [typed])
    return deepcopy(next(part for part in parts if part.get("type") != "null"))


def _command_entry(made: dict[str, Schema]) -> Schema:
    typed = made["Command"]["properties"]
    kinds = kinds_of(Command)
    properties = {name: _text(typed[name], kinds[name]) for name in COMMAND_FIELDS}
    properties["timeout"]["pattern"] = _whole(TIMEOUT_PATTERN)
    return {
        "title": "CommandEntry",
        "description": "An entry of the commands stream: flat UTF-8 text, at most 16 KiB, no field twice.",
        "type": "object",
        "properties": properties,
        "required": ["action", "service"],
        "additionalProperties": {"type": "string"},
    }


def _event(kind: str, data: str, reference: str) -> Schema:
    said = glossary.FIELDS["Event"]
    heartbeat = data == HeartbeatData.__name__
    tail = "/hb/[0-9]+" if heartbeat else ""
    properties: dict[str, Schema] = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": _whole(f"{EPOCH_PATTERN}/[0-9]+{tail}")},
        "source": {"type": "string", "pattern": _whole(f"/rooms/{ROOM_PATTERN}")},
        "type": {"const": kind},
        "subject": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "time": {"type": "string", **_TIME},
        "epoch": {"type": "string", "pattern": _whole(EPOCH_PATTERN)},
        "revision": {"type": "string", "pattern": "^[0-9]+$"},
        "datacontenttype": {"const": "application/json"},
        "data": {"$ref": reference.format(name=data)},
    }
    for name, schema in properties.items():
        schema["description"] = said[name]
    return {
        "title": event_name(kind),
        "description": f"CloudEvents 1.0, type {kind}.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if not (heartbeat and name in {"subject", "data"})],
    }
