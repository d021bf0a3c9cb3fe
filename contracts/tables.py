"""What each field is on the wire: the tables from which schemas and the scripts' JSON are made."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec
from msgspec import Struct

from contracts.events import EngineInfo, WorkerInfo
from contracts.receipts import Receipt
from contracts.services import Snapshot


class Kind(StrEnum):
    """How a value is written: as text, as an integer, as a boolean."""

    STRING = "s"
    INTEGER = "i"
    BOOLEAN = "b"


def kinds_of(struct: type[Struct]) -> dict[str, Kind]:
    """Return what each field of a flat struct is, None left aside, in the order of the struct."""
    info = msgspec.inspect.type_info(struct)
    if not isinstance(info, msgspec.inspect.StructType):
        raise TypeError(f"{struct.__name__} is no struct")
    return {field.encode_name: _kind(field.type) for field in info.fields}


def _kind(info: msgspec.inspect.Type) -> Kind:
    match info:
        case msgspec.inspect.UnionType(types=types):
            (inner,) = (one for one in types if not isinstance(one, msgspec.inspect.NoneType))
            return _kind(inner)
        case msgspec.inspect.StrType() | msgspec.inspect.EnumType():
            return Kind.STRING
        case msgspec.inspect.IntType():
            return Kind.INTEGER
        case msgspec.inspect.BoolType():
            return Kind.BOOLEAN
    raise TypeError(f"{info!r} has no flat form")


#: The Lua tables of the fragment `fields`, by name: what the scripts write as JSON, in this order.
LUA_TABLES: Mapping[str, type[Struct]] = {
    "RECEIPT_FIELDS": Receipt,
    "SNAPSHOT_FIELDS": Snapshot,
    "WORKER_FIELDS": WorkerInfo,
    "ENGINE_FIELDS": EngineInfo,
}


def lua_fields() -> str:
    """Return the fragment `fields`: `local <NAME> = {'field', 'kind', ...}` for each of `LUA_TABLES`."""
    lines = ["-- fields: what the scripts write as JSON; made from the structs by contracts/tables.py."]
    for name, struct in LUA_TABLES.items():
        items = ", ".join(f"'{field}', '{kind.value}'" for field, kind in kinds_of(struct).items())
        lines.append(f"local {name} = {{{items}}}")
    return "\n".join(lines) + "\n"
