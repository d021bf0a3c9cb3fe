"""`pointsman schema …`: the contract for machines."""

import sys

import msgspec
import typer

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


@command(app, "openapi")
async def openapi(scope: Scope) -> None:
    """Print the OpenAPI 3.1 document of the gateway, as it is where tokens are asked for."""
    try:
        from gateway.openapi import document  # noqa: PLC0415 -- needs the extra
    except ImportError as error:
        raise typer.BadParameter(f"{error}: install `pointsman[gateway]`") from error

    del scope
    _print(document(secured=True))


def _print(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
