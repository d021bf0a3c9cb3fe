"""The contract for machines: JSON Schema 2020-12 of every message, and an AsyncAPI 3.0 document."""

from typing import Any

from contracts import CONTRACT_VERSION, fixtures
from contracts.definitions import FLAT, definitions, event_name
from contracts.events import EventType
from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM, EVENT_FIELD, GROUP, Keys

_NAME = f"urn:pointsman:contract:{CONTRACT_VERSION}"
_MESSAGES = ("Event", "Command", "Receipt", "Snapshot", "Meta", "WorkerInfo", "DeadLetter")
_TEXT_MESSAGES = ("CommandEntry", "ChangeEntry", *FLAT)
_COMPONENTS = "#/components/schemas/{name}"


def json_schema() -> dict[str, Any]:
    """Return JSON Schema 2020-12: each message is a definition, and the whole allows any of them."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{_NAME}:json-schema",
        "title": f"Pointsman contract, version {CONTRACT_VERSION}",
        "description": (
            "Every message in its typed form, as events and the command line show it, and in its flat form "
            "(…Entry, …Hash), as Redis holds it. Unknown fields are allowed and passed over."
        ),
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in (*_MESSAGES, *_TEXT_MESSAGES)],
        "$defs": definitions("#/$defs/{name}"),
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document, told by the workers: they receive commands and send the rest."""
    return {
        "asyncapi": "3.0.0",
        "id": f"{_NAME}:asyncapi",
        "info": {
            "title": "Pointsman",
            "version": CONTRACT_VERSION,
            "description": (
                "Event-driven control of container services over Redis streams. The document speaks for the "
                "workers of a room: they receive commands and send events, changes and dead letters."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "redis": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "Redis 6.2 or later with maxmemory-policy noeviction.",
                "bindings": {"redis": {}},
            }
        },
        "channels": _channels(),
        "operations": {
            "takeCommand": _operation("receive", "commands", "A worker takes what producers have added."),
            "publishEvent": _operation("send", "events", "Every event, in order, to whoever listens."),
            "keepChange": _operation("send", "changes", "The same events but heartbeats, kept for catch-up."),
            "buryCommand": _operation("send", "dead", "What can never be done, with its reason."),
        },
        "components": {"messages": _messages(), "schemas": definitions(_COMPONENTS)},
        "x-redis-keys": _keys(),
    }


#: Channel -> (title, sentence, what Redis needs to know, message names).
_CHANNELS: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "commands": (
        "Commands",
        "One entry asks for one action on one service. An entry leaves the stream when it has settled.",
        {"type": "stream", "group": GROUP, "write": "XADD <key> * action restart service rtdetr"},
        ("CommandEntry",),
    ),
    "events": (
        "Events",
        "CloudEvents 1.0 JSON, one object a message.",
        {"type": "channel", "read": "SUBSCRIBE <key>"},
        tuple(event_name(kind) for kind in EventType),
    ),
    "changes": (
        "Changes",
        "The events but heartbeats, about the newest 100,000, for readers that catch up from a revision.",
        {
            "type": "stream",
            "entry_id": "<revision>-0",
            "field": EVENT_FIELD,
            "read": "XRANGE <key> <revision + 1>-0 +",
        },
        ("ChangeEntry",),
    ),
    "dead": (
        "Dead letters",
        "The newest 10,000 commands that can never be done.",
        {"type": "stream", "read": "XREVRANGE <key> + - COUNT 100"},
        ("DeadEntry",),
    ),
}

_PARAMETERS = {
    "prefix": {"description": "The prefix of all keys.", "default": DEFAULT_PREFIX},
    "room": {
        "description": (
            "The room in literal braces: they are the Redis Cluster hash tag, so `{default}` for the room "
            "`default`."
        ),
        "default": f"{{{DEFAULT_ROOM}}}",
        "examples": [f"{{{DEFAULT_ROOM}}}", "{edge-1}"],
    },
}


def _channels() -> dict[str, Any]:
    return {
        name: {
            "address": f"{{prefix}}:{{room}}:{name}",
            "title": title,
            "description": description,
            "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
            "parameters": _PARAMETERS,
            # The binding's place is reserved and must stay empty; what it cannot say is beside it.
            "bindings": {"redis": {}},
            "x-redis": redis,
        }
        for name, (title, description, redis, messages) in _CHANNELS.items()
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": {"redis": {}},
    }


def _messages() -> dict[str, Any]:
    """Return every message that a channel has, with its examples."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for fixture in fixtures.fixtures():
        if fixture.flat_schema is not None:
            _add_example(examples, fixture.flat_schema, fixture.name, fixture.fields)
        if fixture.schema == "Event":
            _add_example(examples, event_name(fixture.json["type"]), fixture.name, fixture.json)
    return {
        name: {
            "name": name,
            "title": name,
            "contentType": "application/json",
            "payload": {"$ref": _COMPONENTS.format(name=name)},
            "examples": examples[name][:1],
        }
        for _, _, _, names in _CHANNELS.values()
        for name in names
    }


def _add_example(examples: dict[str, list[dict[str, Any]]], message: str, name: str, payload: Any) -> None:
    examples.setdefault(message, []).append({"name": name, "payload": payload})


def _keys() -> dict[str, Any]:
    """Return the public keys beside the channels: what readers may look up."""
    keys = Keys()
    return {
        "receipt": _key(keys.command("<id>"), "hash", "ReceiptHash", "The receipt of one command."),
        "services": _key(keys.services, "set", None, "The names that have a snapshot."),
        "snapshot": _key(keys.service("<name>"), "hash", "SnapshotHash", "The present state of one service."),
        "meta": _key(keys.meta, "hash", "MetaHash", "Epoch, revision and engine of the room."),
        "workers": _key(keys.workers, "zset", None, "Workers by the ms of their last beat."),
        "worker": _key(keys.worker("<name>"), "hash", "WorkerHash", "One worker; expires with its beat."),
        "rooms": _key(keys.rooms, "set", None, "The rooms ever served."),
    }


def _key(key: str, kind: str, schema: str | None, description: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": key, "type": kind, "description": description}
    if schema is not None:
        entry["schema"] = {"$ref": _COMPONENTS.format(name=schema)}
    return entry
