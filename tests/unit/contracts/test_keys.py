"""Every name of the contract's table, and the room's and prefix's rules."""

import pytest

from contracts.keys import EVENT_FIELD, GROUP, Keys

PUBLIC = {
    "commands": "pointsman:{default}:commands",
    "services": "pointsman:{default}:services",
    "events": "pointsman:{default}:events",
    "changes": "pointsman:{default}:changes",
    "meta": "pointsman:{default}:meta",
    "dead": "pointsman:{default}:dead",
    "workers": "pointsman:{default}:workers",
    "rooms": "pointsman:rooms",
}


@pytest.mark.parametrize(("name", "key"), PUBLIC.items())
def test_a_public_key_is_spelled_as_the_contract_spells_it(name, key):
    assert getattr(Keys(), name) == key


def test_a_key_of_one_thing_ends_with_its_name():
    keys = Keys("edge-1", "ops:pm")
    assert keys.base == "ops:pm:{edge-1}:"
    assert keys.command("a:b/c") == "ops:pm:{edge-1}:command:a:b/c"
    assert keys.service("web.1") == "ops:pm:{edge-1}:service:web.1"
    assert keys.worker("w") == "ops:pm:{edge-1}:worker:w"
    assert keys.rooms == "ops:pm:rooms"
    assert (GROUP, EVENT_FIELD) == ("workers", "event")


def test_no_two_keys_of_a_room_are_the_same():
    keys = Keys()
    plain = {
        name: getattr(keys, name)
        for name in dir(Keys)
        if isinstance(getattr(Keys, name), property) and name != "base"
    }
    made = {
        name: getattr(keys, name)("x")
        for name in ("command", "service", "worker", "lane", "lease", "joiners", "state")
    }
    names = [*plain.values(), *made.values()]
    assert len(set(names)) == len(names)
    assert all(key.startswith(keys.base) for name, key in (plain | made).items() if name != "rooms")


@pytest.mark.parametrize("room", ["a", "0", "a-", "a" * 63, "edge-1"])
def test_a_room_that_may_be(room):
    assert Keys(room).room == room


@pytest.mark.parametrize("room", ["", "-a", "A", "a" * 64, "a_b", "a}", "ä", "a\n"])
def test_a_room_that_may_not_be(room):
    with pytest.raises(ValueError, match="is not a room's name"):
        Keys(room)


@pytest.mark.parametrize("prefix", ["p", "a:b_c-1", "x" * 32])
def test_a_prefix_that_may_be(prefix):
    assert Keys("r", prefix).commands == f"{prefix}:{{r}}:commands"


@pytest.mark.parametrize("prefix", ["", "P", "x" * 33, "a{b}", "a b", "a\n"])
def test_a_prefix_that_may_not_be(prefix):
    with pytest.raises(ValueError, match="is not a key prefix"):
        Keys("r", prefix)


def test_keys_are_values():
    assert Keys("a") == Keys("a")
    assert hash(Keys("a")) == hash(Keys("a"))
    assert Keys("a") != Keys("b")
