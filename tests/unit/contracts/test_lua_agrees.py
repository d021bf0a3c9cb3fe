"""The scripts' fragments say the same as the Python modules: entries, times, fingerprints, JSON, keys."""

import json
from importlib.resources import files

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lupa.lua51 import LuaRuntime

from contracts import codec
from contracts.commands import COMMAND_FIELDS, fingerprint
from contracts.errors import InvalidCommand
from contracts.keys import Keys
from contracts.tables import LUA_TABLES, lua_fields
from contracts.times import MAX_MS, format_ms, parse_ms
from tests.unit.contracts.strategies import NEAR, TEXTS, commands, near_fields, structs


def fragment(name):
    return files("contracts").joinpath("lua", f"{name}.lua").read_text("utf-8")


def cjson_encode(text):
    """Encode a string as Redis's cjson does: the slash and DEL escaped too, other bytes as they are."""
    escapes = {
        0x22: b'\\"',
        0x5C: b"\\\\",
        0x2F: b"\\/",
        8: b"\\b",
        9: b"\\t",
        10: b"\\n",
        12: b"\\f",
        13: b"\\r",
    }
    parts = (
        escapes.get(code) or (b"\\u%04x" % code if code < 32 or code == 127 else bytes((code,)))
        for code in text
    )
    return b'"' + b"".join(parts) + b'"'


@pytest.fixture(scope="module")
def lua():
    """Run the fragments in Lua 5.1, which is Redis's; strings are bytes on both sides."""
    runtime = LuaRuntime(encoding=None)
    runtime.globals()[b"cjson"] = runtime.table_from({b"encode": cjson_encode})
    names = ("stamp", "rfc3339", "json", "parse")
    source = "\n".join(["local NOW = 0", lua_fields(), *map(fragment, names)])
    tables = ", ".join(f"{name} = {name}" for name in LUA_TABLES)
    words = ["parse_entry", "fingerprint", "parse_ms", "format_ms", "json_object", "json_string"]
    given_out = ", ".join(f"{word} = {word}" for word in words)
    made = runtime.execute(f"{source}\nreturn {{{tables}, {given_out}}}".encode())
    return runtime, {name.decode(): value for name, value in made.items()}


def flat(runtime, fields):
    return runtime.table_from([part for field in fields for part in field])


@settings(max_examples=400)
@given(near_fields() | st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8))))
@example([(b"action", b"stop"), (b"service", b"web"), (b"reason", b"\xed\xa0\x80")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"reason", b"\xf4\x90\x80\x80")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"reason", b"\xc0\x80")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"reason", b"\xe2\x82")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"x", b"z" * 16_365)])
@example([(b"action", b"stop"), (b"service", b"web"), (b"x", b"z" * 16_366)])
@example([(b"action", b"stop"), (b"service", b"web"), (b"id", b"\x00")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"service", b"web")])
@example([(b"action", b"stop"), (b"service", b"web"), (b"x", b""), (b"x", b"")])
@example([(b"action", b"stop"), (b"service", b"web\x00")])
def test_an_entry_is_the_same_command_or_none(lua, fields):
    runtime, words = lua
    command, _, why = words["parse_entry"](flat(runtime, fields))
    try:
        expected = codec.decode_command(fields)
    except InvalidCommand as error:
        assert command is None, error.message  # noqa: PT017 - the property holds for either outcome
        assert why.decode().isprintable()
    else:
        assert command is not None, why
        assert why is None
        texts = {name.encode(): command[name.encode()] for name in COMMAND_FIELDS}
        assert (
            codec.decode_command({name: text for name, text in texts.items() if text is not None}) == expected
        )
        for name in ("expires_at", "not_before"):
            text = getattr(expected, name)
            assert command[f"{name}_ms".encode()] == (None if text is None else parse_ms(text))


@given(commands())
def test_a_sound_command_is_read_whole(lua, command):
    runtime, words = lua
    fields = [(name.encode(), text.encode()) for name, text in codec.encode_command(command).items()]
    parsed, _, why = words["parse_entry"](flat(runtime, fields))
    assert why is None
    assert {name: parsed[name] for name, _ in fields} == dict(fields)


@given(
    commands(), commands(), st.sets(st.sampled_from(["timeout", "action", "service", "expect_container_id"]))
)
def test_two_commands_are_the_same_to_both(lua, one, other, shared):
    runtime, words = lua
    other = msgspec.structs.replace(other, **{name: getattr(one, name) for name in shared})
    lua_side = [
        words["fingerprint"](
            runtime.table_from({k.encode(): v.encode() for k, v in codec.encode_command(command).items()})
        )
        for command in (one, other)
    ]
    assert (lua_side[0] == lua_side[1]) == (fingerprint(one) == fingerprint(other))


@given(st.integers(0, MAX_MS))
def test_milliseconds_are_written_alike(lua, ms):
    _, words = lua
    text = format_ms(ms)
    assert words["format_ms"](ms) == text.encode()
    assert words["parse_ms"](text.encode()) == ms


def test_the_turns_of_years_are_written_alike(lua):
    _, words = lua
    for year in (1970, 1999, 2000, 2001, 2024, 2026, 2100, 2400, 9999):
        for text in (
            f"{year}-01-01T00:00:00.000Z",
            f"{year}-02-28T23:59:59.999Z",
            f"{year}-03-01T00:00:00.000Z",
        ):
            assert words["format_ms"](parse_ms(text)) == text.encode()


@settings(max_examples=150)
@given(NEAR["expires_at"] | st.binary(max_size=30))
def test_a_time_is_read_alike(lua, text):
    _, words = lua
    try:
        expected = parse_ms(text.decode())
    except ValueError:
        expected = None
    assert words["parse_ms"](text) == expected


@pytest.mark.parametrize(("table", "struct"), LUA_TABLES.items())
@given(data=st.data())
def test_a_hash_is_the_same_json(lua, table, struct, data):
    runtime, words = lua
    value = data.draw(structs(struct))
    encode = codec._encoder(struct)
    fields = runtime.table_from({name.encode(): text.encode() for name, text in encode(value).items()})
    text = words["json_object"](words[table], fields)
    assert json.loads(text) == json.loads(msgspec.json.encode(value))
    assert list(json.loads(text)) == list(struct.__struct_fields__)


@given(TEXTS)
def test_any_text_is_json(lua, text):
    _, words = lua
    assert json.loads(words["json_string"](text.encode())) == text


def test_the_keys_are_the_same():
    keys = Keys("edge-1", "ops:pm")
    runtime = LuaRuntime()
    runtime.globals()["KEYS"] = runtime.table_from([keys.commands])
    plain = (
        "commands changes dead meta events services workers ready leases scheduled expiries unread seq "
        "observer wake requeues"
    )
    named = {"receipt": "command", "service": "service", "state": "state", "lane": "lane", "lease": "lease"}
    named |= {"joiners": "joiners", "worker": "worker"}
    parts = [f"{name} = {name.upper()}" for name in plain.split()]
    parts += [f"{name}_key = {name}_key('x')" for name in named]
    made = dict(runtime.execute(f"{fragment('keys')}\nreturn {{{', '.join(parts)}}}").items())
    expected = {name: getattr(keys, name) for name in plain.split()}
    expected |= {f"{name}_key": getattr(keys, method)("x") for name, method in named.items()}
    assert made == expected
