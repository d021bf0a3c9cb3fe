"""Who is healed first, who waits for whom, and rings."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from contracts.services import ServiceStatus, Snapshot
from worker.core.order import blocked_by, find_rings, heal_order

names = st.sampled_from("abcdefg")
graphs = st.dictionaries(names, st.lists(names, max_size=4, unique=True).map(tuple), max_size=7)


def snapshots(**categories: str) -> dict[str, Snapshot | None]:
    return {
        name: Snapshot(name=name, status=ServiceStatus.STOPPED, category=category)
        for name, category in categories.items()
    }


def test_infrastructure_comes_before_ai_before_monitoring() -> None:
    known = snapshots(a="monitoring", b="ai", c="infrastructure", d="other")
    assert heal_order("abcd", known, {}) == ["c", "d", "b", "a"]


def test_what_others_need_comes_first_within_a_category() -> None:
    known = snapshots(app="infrastructure", cache="infrastructure", db="infrastructure")
    needs = {"app": ("db", "cache"), "cache": ("db",)}
    assert heal_order(["app", "cache", "db"], known, needs) == ["db", "cache", "app"]


def test_a_service_waits_for_what_it_needs_directly() -> None:
    needs = {"app": ("db", "cache")}
    assert blocked_by("app", needs, lambda name: name == "db") == "cache"
    assert blocked_by("app", needs, lambda _: True) is None
    assert blocked_by("db", needs, lambda _: False) is None


def test_a_ring_is_found_and_not_followed() -> None:
    needs = {"a": ("b",), "b": ("c",), "c": ("a", "d"), "e": ("e",), "f": ("a",)}
    assert find_rings(needs) == [("a", "b", "c"), ("e",)]
    assert blocked_by("a", needs, lambda _: False) is None
    assert blocked_by("c", needs, lambda _: False) == "d"
    assert blocked_by("e", needs, lambda _: False) is None
    assert blocked_by("f", needs, lambda _: False) == "a"


@given(graphs)
def test_whatever_needs_whom_not_all_wait_when_all_are_down(needs: Mapping[str, Sequence[str]]) -> None:
    everyone = set(needs) | {need for all_of in needs.values() for need in all_of}
    free = [name for name in everyone if blocked_by(name, needs, lambda _: False) is None]
    assert bool(free) == bool(everyone)


@given(graphs, st.sets(names))
def test_healing_in_rounds_brings_up_everything(needs: Mapping[str, Sequence[str]], broken: set[str]) -> None:
    down, rounds = set(broken), 0
    while down:
        free = {name for name in down if blocked_by(name, needs, lambda one: one not in down) is None}  # noqa: B023
        assert free
        down -= free
        rounds += 1
    assert rounds <= 7


@given(graphs, st.lists(names, unique=True))
def test_the_order_has_everybody_once(needs: Mapping[str, Sequence[str]], due: list[str]) -> None:
    assert sorted(heal_order(due, {}, needs)) == sorted(due)
