from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from contracts.events import Meta, WorkerInfo
from pointsman.checks import (
    PACKAGES,
    Check,
    Verdict,
    _binding,
    _memory,
    _persistence,
    _policy,
    _served,
    _server,
    _workers,
    packages,
    versions,
    without_password,
    worst,
)

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def spec_at(place: str, name: str) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [f"{place}/{name}"]
    return spec


def test_packages_are_of_one_place():
    found = packages()
    assert found.status is OK
    assert packages(lambda name: spec_at("/site", name)) == Check(
        name="packages", status=OK, message="all from /site"
    )


def test_a_stranger_of_the_same_name_is_named():
    found = packages(lambda name: spec_at("/elsewhere" if name == "worker" else "/site", name))
    assert found.status is FAIL
    assert "worker from /elsewhere" in found.message


@pytest.mark.parametrize("spec", [None, ModuleSpec("worker", None)])
def test_a_package_that_is_missing_or_a_mere_module(spec: ModuleSpec | None):
    found = packages(lambda name: spec if name == "worker" else spec_at("/site", name))
    assert (found.status, found.message) == (FAIL, "package worker is missing")


def test_the_versions_at_work_are_named():
    told = versions().message
    for word in ("pointsman", "contract 1", "Python 3", "redis", "aiodocker"):
        assert word in told
    assert "not installed" not in told
    assert set(PACKAGES) >= {"contracts", "publisher", "subscriber", "worker", "pointsman"}


@pytest.mark.parametrize(
    ("info", "status", "words"),
    [
        ({"redis_version": "7.0.15", "role": "master"}, OK, "Redis 7.0.15"),
        ({"redis_version": "6.2.14"}, OK, "Redis 6.2.14"),
        ({"redis_version": "6.0.20"}, FAIL, "6.2 or newer"),
        ({"redis_version": "10.0"}, OK, "10.0"),
        ({"redis_version": "7.0.15", "role": "slave"}, FAIL, "name the primary"),
        ({}, WARN, "tells nothing"),
    ],
)
def test_the_server(info: dict[str, Any], status: Verdict, words: str):
    found = _server(info, "redis://here", 0.5)
    assert found.status is status
    assert words in found.message


def test_its_policy_and_its_memory_of_things():
    assert _policy({"maxmemory_policy": "noeviction"}).status is OK
    assert _policy({"maxmemory_policy": "volatile-lru"}).status is FAIL
    assert _policy({}).status is WARN
    assert _persistence({"aof_enabled": 1}).status is OK
    assert _persistence({"aof_enabled": 0}).status is WARN


@pytest.mark.parametrize(("used", "status"), [(10, OK), (91, WARN), (100, FAIL), (101, FAIL)])
def test_how_full_it_is(used: int, status: Verdict):
    found = _memory(used * 2**20, 100 * 2**20)
    assert (found.status, found.message.split(" MiB")[0]) == (status, f"{used} of 100")


@pytest.mark.parametrize(
    ("room_of", "ours", "status"),
    [(None, "A", OK), (None, None, OK), ("A", "A", OK), ("A", None, WARN), ("A", "B", FAIL)],
)
def test_whose_room_it_is(room_of: str | None, ours: str | None, status: Verdict):
    found = _binding(Meta(engine_id=room_of), ours, "default")
    assert found.status is status
    if status is FAIL:
        assert "A" in found.message
        assert "B" in found.message


def test_the_room_and_its_workers():
    assert _served(Meta()).status is WARN
    assert _served(Meta(epoch="e", contract="1", engine_status="available")).status is OK
    assert _served(Meta(epoch="e", contract="1", engine_status="unavailable")).status is FAIL
    assert _served(Meta(epoch="e", contract="2")).status is FAIL
    w1 = WorkerInfo(name="w1", version="1", engine_status="available", running=1, capacity=8)
    assert _workers([]).status is FAIL
    assert _workers([w1]).message == "1 worker alive: w1 (1 of 8 busy)"
    assert _workers([w1, WorkerInfo(name="w2", version="2")]).status is WARN
    assert _workers([WorkerInfo(name="w2", engine_status="unavailable")]).status is WARN


def test_the_worst_verdict_is_that_of_all():
    def check(status: Verdict) -> Check:
        return Check(name="x", status=status, message="")

    assert worst([]) is OK
    assert worst([check(OK), check(WARN), check(OK)]) is WARN
    assert worst([check(FAIL), check(WARN)]) is FAIL


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:sec:ret@host/1?x=1", "rediss://user:***@host/1?x=1"),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str):
    assert without_password(url) == shown
