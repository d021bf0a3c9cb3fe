"""The documents for machines: valid, whole, and the committed copies are what the code says."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped] -- it has no types
from openapi_spec_validator import OpenAPIV31SpecValidator

from contracts.schema import asyncapi, json_schema
from gateway.app import Gateway
from gateway.openapi import document
from gateway.operations import OPERATIONS, ROOM, SYSTEM
from gateway.settings import GatewaySettings

DOCS = Path(__file__).resolve().parents[3] / "docs"
VENDOR = DOCS.parent / "tests" / "vendor"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("asyncapi.json", asyncapi()),
        ("pointsman.schema.json", json_schema()),
        ("openapi.json", document(secured=True)),
    ],
)
def test_the_committed_copies_are_what_the_code_says(name: str, made: dict[str, Any]):
    committed = msgspec.json.decode((DOCS / "schema" / name).read_bytes())
    same = msgspec.json.decode(msgspec.json.encode(made))
    if name == "openapi.json":  # the version is the installed package's
        committed["info"].pop("version")
        same["info"].pop("version")
    assert committed == same, "run `make docs`"


def test_the_document_has_every_operation_under_both_roots_and_nothing_dangling():
    made = document(secured=True)
    assert made["openapi"].startswith("3.1.")
    for operation in OPERATIONS:
        for base in (SYSTEM, ROOM):
            assert operation.method.lower() in made["paths"][base + operation.path]
    ids = [one["operationId"] for item in made["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))
    for reference in references(made):
        found: Any = made
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert "security" not in document(secured=False)


@pytest.mark.parametrize("secured", [True, False])
def test_the_document_is_openapi_and_its_examples_and_schemas_are_json_schema(secured: bool):
    OpenAPIV31SpecValidator(document(secured=secured)).validate()
    Draft202012Validator.check_schema(json_schema())


def test_the_events_document_is_asyncapi_3():
    schema = msgspec.json.decode((VENDOR / "asyncapi" / "3.0.0.json").read_bytes())
    made = msgspec.json.decode(msgspec.json.encode(asyncapi()))
    faults = [
        f"{list(fault.absolute_path)}: {fault.message}" for fault in Draft7Validator(schema).iter_errors(made)
    ]
    assert not faults
    made["operations"]["nonsense"] = {"action": "shout"}
    assert list(Draft7Validator(schema).iter_errors(made)), "the schema is at work"


def references(node: Any) -> list[str]:
    """Return every $ref in a document."""
    if isinstance(node, list):
        return [found for part in node for found in references(part)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for part in node.values() for found in references(part)]


def test_every_address_of_the_document_is_told_in_the_docs():
    text = (DOCS / "http-api.md").read_text()
    for operation in OPERATIONS:
        path = (
            operation.path.removesuffix("/restart")
            if "/services/{name}/" in operation.path
            else operation.path
        )
        assert path.split("/{")[0] in text, operation.id
    for name in GatewaySettings.model_fields:
        if name.startswith(("max_", "head_", "body_", "send_", "stream_")):
            assert name.upper() in text, name


def test_an_application_needs_no_server_to_be_made():
    gateway = Gateway(GatewaySettings())
    assert gateway.streams.open == 0
