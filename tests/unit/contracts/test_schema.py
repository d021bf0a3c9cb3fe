"""Schemas: the examples obey them, broken ones do not, and every reference leads somewhere."""

import json

import pytest

from contracts import glossary
from contracts.codec import event_to_json
from contracts.commands import Command
from contracts.events import (
    Cause,
    CommandData,
    DeadLetter,
    EngineData,
    EngineInfo,
    Event,
    EventType,
    HeartbeatData,
    Meta,
    ServiceData,
    WorkerData,
    WorkerInfo,
)
from contracts.fixtures import fixtures
from contracts.fixtures.values import event
from contracts.keys import Keys
from contracts.receipts import Receipt
from contracts.schema import asyncapi, json_schema
from contracts.services import Snapshot
from contracts.tables import LUA_TABLES, kinds_of, lua_fields
from tests.unit.contracts.conforming import faults
from tests.unit.contracts.test_entries import INVALID, VALID

SCHEMA = json_schema()
DOCUMENT = asyncapi()
STRUCTS = [
    Command,
    Receipt,
    Snapshot,
    Meta,
    WorkerInfo,
    EngineInfo,
    DeadLetter,
    Event,
    Cause,
    ServiceData,
    CommandData,
    WorkerData,
    EngineData,
    HeartbeatData,
]
#: A calendar is no pattern.
UNSAID = {("not_before", "2026-02-30T00:00:00Z")}


def breaks(name, value):
    return list(faults(SCHEMA["$defs"][name], value, SCHEMA))


@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.name)
def test_the_examples_obey(fixture):
    assert breaks(fixture.schema, fixture.json) == []
    assert list(faults(SCHEMA, fixture.json, SCHEMA)) == []
    if fixture.flat_schema is not None:
        assert breaks(fixture.flat_schema, fixture.fields) == []


@pytest.mark.parametrize(("name", "text"), [case for case in INVALID if case not in UNSAID])
def test_what_a_command_may_not_hold_its_schema_refuses(name, text):
    assert breaks("CommandEntry", {"action": "stop", "service": "web", name: text})


@pytest.mark.parametrize(("name", "text", "value"), VALID)
def test_what_a_command_may_hold_its_schema_takes(name, text, value):
    assert breaks("CommandEntry", {"action": "stop", "service": "web", name: text, "later": "x"}) == []


@pytest.mark.parametrize("kind", EventType)
def test_an_event_is_of_one_type_and_whole(kind):
    document = json.loads(event_to_json(event(kind)))
    assert breaks("Event", document) == []
    assert breaks("Event", document | {"later": 1}) == []
    assert breaks("Event", document | {"type": "pointsman.later"})
    assert breaks("Event", document | {"revision": 43})
    if kind is not EventType.ROOM_HEARTBEAT:
        (part,) = (name for name in ("service", "command", "worker", "engine") if name in document["data"])
        for name in list(document["data"][part]):
            broken = {key: value for key, value in document["data"][part].items() if key != name}
            assert breaks("Event", document | {"data": document["data"] | {part: broken}}), name


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("document", [SCHEMA, DOCUMENT], ids=["json_schema", "asyncapi"])
def test_every_reference_leads_somewhere(document):
    for reference in set(references(document)):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    assert json.loads(json.dumps(document)) == document


def test_every_field_is_explained_and_nothing_else():
    assert set(glossary.FIELDS) == {struct.__name__ for struct in STRUCTS}
    for struct in STRUCTS:
        assert set(glossary.FIELDS[struct.__name__]) == set(struct.__struct_fields__)


def test_the_documents_channels_are_the_rooms_keys():
    assert DOCUMENT["asyncapi"] == "3.0.0"
    keys = Keys()
    assert set(DOCUMENT["channels"]) == {"commands", "events", "changes", "dead"}
    for name, channel in DOCUMENT["channels"].items():
        parameters = {key: value["default"] for key, value in channel["parameters"].items()}
        assert channel["address"].format(**parameters) == getattr(keys, name)
        assert channel["messages"]
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send", "receive"}
    assert {entry["key"] for entry in DOCUMENT["x-redis-keys"].values()} == {
        keys.command("<id>"),
        keys.services,
        keys.service("<name>"),
        keys.meta,
        keys.workers,
        keys.worker("<name>"),
        keys.rooms,
    }


def test_every_message_has_an_example_that_obeys():
    for name, message in DOCUMENT["components"]["messages"].items():
        (example,) = message["examples"]
        assert list(faults(DOCUMENT["components"]["schemas"][name], example["payload"], DOCUMENT)) == []


def test_a_caller_may_change_what_it_gets():
    json_schema()["$defs"].clear()
    assert json_schema() == SCHEMA


def test_the_scripts_tables_are_the_structs():
    lines = lua_fields().splitlines()[1:]
    assert len(lines) == len(LUA_TABLES)
    for line, (name, struct) in zip(lines, LUA_TABLES.items(), strict=True):
        assert line.startswith(f"local {name} = {{'{struct.__struct_fields__[0]}', 's'")
        assert line.count("'") == 4 * len(struct.__struct_fields__)
    assert {name for name, kind in kinds_of(Receipt).items() if kind == "i"} == {
        "timeout",
        "code",
        "attempt",
        "duplicates",
        "revision",
    }
    assert {name for name, kind in kinds_of(Receipt).items() if kind == "b"} == {
        "changed",
        "recovered",
        "coalesce",
    }


def test_what_has_no_flat_form_has_no_table():
    with pytest.raises(TypeError, match="no flat form"):
        kinds_of(ServiceData)
    with pytest.raises(TypeError, match="no struct"):
        kinds_of(str)
