"""The OpenAPI 3.1 document, made from the operations and the structs and models that go over the wire."""

import types
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from pydantic import BaseModel

from contracts.definitions import components, definitions
from gateway import bodies
from gateway.operations import OPERATIONS, ROOM, SYSTEM, Operation, Parameter
from gateway.problems import MEDIA_TYPE, ProblemDetails

_REF = "#/components/schemas/{name}"
_ROOM = Parameter(
    "room", "path", "The room's name.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}
)
#: What every operation may answer beside its own: form, caller, address, pace, defects.
_ALWAYS = (400, 401, 403, 404, 405, 421, 429, 431, 500, 503)
_WORDS = {
    400: "The request is not valid, or the service is not as the action needs it.",
    401: "No token, or one that is not valid.",
    403: "The token lacks what `missing` says, the page is of another site, or the action is not allowed.",
    404: "Not found.",
    405: "The address has no such method.",
    408: "The body did not come in time.",
    409: "Two containers claim the name, or the command cannot be cancelled any more.",
    410: "The command expired or was cancelled before it began.",
    412: "The service is not what the request expects.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    421: "The Host is not a name of this gateway.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests or open streams.",
    431: "The head of the request is too large.",
    500: "Internal server error, or the engine's own error.",
    503: "No worker serves the room, its engine is not available, or Redis is not.",
    504: "The engine was still at it after every limit; it may yet finish.",
}


def document(*, secured: bool) -> dict[str, Any]:
    """Return the document; `secured`: tokens are asked for."""
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Pointsman Services API",
            "version": _version(),
            "summary": "List, restart, start, stop, enable and disable container services.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "system", "description": "The room that this gateway is set to."},
            {"name": "rooms", "description": "Any room."},
            {"name": "gateway", "description": "This process."},
        ],
        "paths": _fixed() | _paths(SYSTEM, "system") | _paths(ROOM, "rooms"),
        "components": {"schemas": _schemas(), "responses": _problems()},
    }
    if secured:
        found["components"]["securitySchemes"] = {
            "participant": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A participant token with a room grant and a `services` scope.",
            }
        }
        found["security"] = [{"participant": []}]
    return found


def _version() -> str:
    try:
        return version("pointsman")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"


def _paths(base: str, tag: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(base + operation.path, {})
        item[operation.method.lower()] = _operation(operation, tag)
    return paths


def _operation(operation: Operation, tag: str) -> dict[str, Any]:
    parameters = [_parameter(p) for p in operation.parameters]
    if tag == "rooms":
        parameters.insert(0, _parameter(_ROOM))
    found: dict[str, Any] = {
        "operationId": operation.id if tag == "system" else f"room_{operation.id}",
        "tags": [tag],
        "summary": operation.summary,
        "description": f"{operation.description} Needs: `{operation.needs}`.".strip(),
        "responses": _responses(operation),
    }
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=operation.body.__name__)}}},
        }
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (words, shape) in operation.answers.items():
        found[str(status)] = {"description": words} | _content(shape)
        headers = dict(operation.headers)
        if operation.method == "POST":
            headers["Pointsman-Command"] = "The command's id."
            headers["Idempotency-Replayed"] = "`true` where the receipt of an earlier request is the answer."
        if status == 202:
            headers["Location"] = "The address of the receipt."
        if headers:
            found[str(status)]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
            }
    for status in sorted({*_ALWAYS, *operation.errors}):
        found[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return found


def _content(shape: Any) -> dict[str, Any]:
    if shape is None:
        return {}
    if isinstance(shape, str):
        example = {"id": "1767225600000-9f86d081/42", "event": "pointsman.service.changed"}
        return {"content": {shape: {"schema": {"type": "string"}, "x-event": example}}}
    return {"content": {"application/json": {"schema": _shape(shape)}}}


def _shape(shape: Any) -> dict[str, Any]:
    if isinstance(shape, types.UnionType):
        return {"anyOf": [_shape(part) for part in get_args(shape)]}
    return {"$ref": _REF.format(name=shape.__name__)}


def _fixed() -> dict[str, Any]:
    def get(name: str, summary: str, shape: Any, tag: str, *, open_to_all: bool) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": name,
            "tags": [tag],
            "summary": summary,
            "responses": {"200": {"description": summary} | _content(shape)}
            | {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in _ALWAYS},
        }
        if open_to_all:
            operation["security"] = []
        return {"get": operation}

    return {
        "/healthz": get("health", "This process answers.", bodies.Health, "gateway", open_to_all=True),
        "/readyz": get(
            "readiness", "Redis answers and the room was read.", bodies.Readiness, "gateway", open_to_all=True
        ),
        "/api/rooms": get("list_rooms", "List the rooms.", bodies.RoomList, "rooms", open_to_all=False),
    }


def _schemas() -> dict[str, Any]:
    """Return the schema of everything that goes over the wire."""
    structs: set[Any] = {ProblemDetails, bodies.Health, bodies.Readiness, bodies.RoomList}
    structs |= {bodies.ResetNotice, bodies.Beat}
    models: set[type[BaseModel]] = set()
    for operation in OPERATIONS:
        for _, shape in operation.answers.values():
            if shape is not None and not isinstance(shape, str):
                structs |= set(get_args(shape)) if isinstance(shape, types.UnionType) else {shape}
        if operation.body is not None:
            models.add(operation.body)
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    found = components(ordered, _REF)
    for model in sorted(models, key=lambda model: model.__name__):
        found[model.__name__] = model.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
    found["EventList"]["properties"]["events"]["items"] = {"$ref": _REF.format(name="Event")}
    # Where the contract has a definition, it says more than the struct alone.
    shared = definitions(_REF)
    wanted = ["Event", *(name for name in found if name in shared)]
    while wanted:
        name = wanted.pop()
        if found.get(name) is not shared[name]:
            found[name] = shared[name]
            wanted += _named(shared[name])
    return dict(sorted(found.items()))


def _named(schema: Any) -> list[str]:
    """Return the names of the schemas that a schema refers to."""
    if isinstance(schema, list):
        return [name for part in schema for name in _named(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for part in schema.values() for name in _named(part)]


def _problems() -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemDetails")}}}
    return {
        f"Problem{status}": {"description": words, "content": content} for status, words in _WORDS.items()
    }
