"""The loader: fragments once and in order, the sha that Redis will compute, overrides for tests."""

import hashlib
import sys

import pytest

from contracts import scripts
from contracts.tables import lua_fields


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make packages with scripts and fragments, as many as a test writes."""
    for name in ("sample_scripts", "sample_contracts"):
        (tmp_path / name / "lua").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = scripts.files
    monkeypatch.setattr(
        scripts, "files", lambda name: found("sample_contracts" if name == "contracts" else name)
    )
    scripts._load.cache_clear()

    def write(**texts):
        for name, text in texts.items():
            folder = "sample_scripts" if name.startswith("script") else "sample_contracts"
            (tmp_path / folder / "lua" / f"{name}.lua").write_text(text, "utf-8")
        return "sample_scripts"

    yield write
    scripts._load.cache_clear()
    for name in ("sample_scripts", "sample_contracts"):
        sys.modules.pop(name, None)


def load(package, name="script", **overrides):
    return scripts.load(package, name, overrides or None)


def test_fragments_stand_before_the_script_once_and_in_order(package):
    name = package(
        a="local a\n",
        b="local b\n",
        c="local c\n",
        script="-- what\n-- include: c a\n-- include: a b\nreturn a + b + c\n",
    )
    text = load(name).text
    assert [line for line in text.splitlines() if line.startswith(("local", "return"))] == [
        "local c",
        "local a",
        "local b",
        "return a + b + c",
    ]


def test_a_fragment_brings_its_own_before_itself(package):
    name = package(a="-- include: b\nlocal a\n", b="local b\n", script="-- include: a b\nreturn a + b\n")
    text = load(name).text
    assert text.index("local b") < text.index("local a") < text.index("return a")
    assert text.count("local b") == 1


def test_the_sha_is_that_of_the_final_text(package):
    script = load(package(a="local a = 'é'\n", script="-- include: a\nreturn a"))
    assert script.sha == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
    assert script.name == "script"


def test_a_script_is_put_together_once(package):
    name = package(a="local a\n", script="-- include: a\nreturn 1")
    assert load(name) is load(name)


def test_an_override_takes_a_fragments_place_for_those_who_ask(package):
    name = package(time="local NOW = 1\n", a="-- include: time\n", script="-- include: a\nreturn NOW")
    plain, fake = load(name), load(name, time="local NOW = 2\n")
    assert "local NOW = 2" in fake.text
    assert "local NOW = 1" not in fake.text
    assert fake.sha != plain.sha
    assert load(name) == plain
    assert load(name, other="x") == plain


def test_the_tables_of_fields_come_from_the_structs(package):
    names = [line.split()[1] for line in lua_fields().splitlines() if line.startswith("local ")]
    assert lua_fields() in load(package(script=f"-- include: fields\nreturn {' .. '.join(names)}")).text


def test_what_nobody_uses_is_left_out_with_what_only_that_used(package):
    name = package(
        a="""-- a: a, b and c.
local A = {
  'one',
}
-- Says what a is.
local function alone() return A end
local function used(b)
  return b
end
local B, C = 'b', 'c'
local now = redis.call('TIME')
local told
""",
        script="-- include: a\n-- alone is not used here\nlocal mine = 1\nreturn used(C, told)\n",
    )
    lines = [line for line in load(name).text.splitlines() if line and not line.startswith("--")]
    assert lines == [
        "local function used(b)",
        "  return b",
        "end",
        "local B, C = 'b', 'c'",
        "local now = redis.call('TIME')",
        "local told",
        "local mine = 1",
        "return used(C, told)",
    ]


def test_what_only_a_rare_branch_uses_is_kept_for_it(package):
    name = package(
        a="local function deep() return 1 end\nlocal function idle() return 2 end\n",
        b="local function rare() return deep() end\nlocal function never() return 3 end\n",
        script="-- include: a\nif KEYS[1] then\n  -- include-here: b\n  return rare()\nend\n",
    )
    text = load(name).text
    assert "deep()" in text
    assert "idle" not in text
    assert "never" not in text


def test_a_script_without_fragments_is_as_it_is(package):
    assert load(package(script="return 'include: a'")).text == "return 'include: a'"


def test_a_ring_of_fragments_is_told(package):
    name = package(a="-- include: b\n", b="-- include: a\n", script="-- include: a\n")
    with pytest.raises(ValueError, match="a -> b -> a"):
        load(name)


def test_what_is_not_there_is_told(package):
    name = package(script="-- include: nowhere\n")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(name)
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(name, "nothing")
