"""`pointsman schema …`: the contract for machines."""

import sys

import msgspec

from pointsman.cli.frame import Scope, command, group

app = group("schema", "Print the contract for machines, always as JSON.")


@command(app, "asyncapi")
async def asyncapi(scope: Scope) -> None:
    """Print the AsyncAPI 3 document: channels, messages, examples."""
    from contracts.schema import asyncapi as document  # noqa: PLC0415 -- builds every schema

    del scope
    _print(document())


@command(app, "jsonschema")
async def jsonschema(scope: Scope) -> None:
    """Print JSON Schema 2020-12 of every message."""
    from contracts.schema import json_schema as document  # noqa: PLC0415 -- builds every schema

    del scope
    _print(document())


def _print(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
