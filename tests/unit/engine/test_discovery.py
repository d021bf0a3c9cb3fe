"""Which containers are services of a room, and which one a name means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.container import Listed
from worker.core.discovery import Absent, Ambiguous, Found, group, resolve, room_of, service_name

ENABLED = {"pointsman.enable": "true"}


def row(container_id: str, name: str = "c", state: str = "running", **labels: str) -> Listed:
    given_labels = {f"pointsman.{key}": value for key, value in labels.items()}
    return Listed(container_id, name, ENABLED | given_labels, state)


def test_the_name_is_the_label_else_composes_else_the_containers():
    compose = {"com.docker.compose.service": "web"}
    assert service_name({"pointsman.service": "api", **compose}, "project-web-1") == "api"
    assert service_name({"pointsman.service": " ", **compose}, "project-web-1") == "web"
    assert service_name({}, "plain") == "plain"


def test_the_room_is_default_unless_labelled():
    assert room_of({}) == "default"
    assert room_of({"pointsman.room": ""}) == "default"
    assert room_of({"pointsman.room": "gpu-1"}) == "gpu-1"


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"pointsman.enable": "false"},
        {"pointsman.enable": "TRUE"},
        {"pointsman.enable": "true", "com.docker.compose.oneoff": "True"},
        {"pointsman.enable": "true", "pointsman.room": "other"},
    ],
)
def test_what_is_not_ours_is_not_seen(labels: dict[str, str]):
    listed = [Listed("a" * 64, "web", labels, "running")]
    assert resolve(listed, "default", "web") == Absent()
    grouping = group(listed, "default")
    assert not grouping.services
    assert not grouping.ignored


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_of_two_with_one_name_the_only_one_that_runs_is_it(state: str):
    listed = [row("a", service="web", state="exited"), row("b", service="web", state=state)]
    assert resolve(listed, "default", "web") == Found("b")
    assert group(listed, "default").services == {"web": Found("b")}


@pytest.mark.parametrize("states", [("running", "running"), ("exited", "created"), ("dead", "removing")])
def test_two_or_none_that_run_are_ambiguous(states: tuple[str, str]):
    listed = [row("b", service="web", state=states[0]), row("a", service="web", state=states[1])]
    assert resolve(listed, "default", "web") == Ambiguous(("a", "b"))


def test_one_container_is_the_service_whether_it_runs_or_not():
    assert resolve([row("a", name="web", state="exited")], "default", "web") == Found("a")


def test_a_bad_service_or_room_name_is_left_out_and_reported():
    listed = [
        row("a", service="no spaces"),
        row("b", name="fine"),
        row("c", room="NOT A ROOM"),
        row("d", service="x" * 129),
        row("e", room="elsewhere", service="no spaces"),
    ]
    grouping = group(listed, "default")
    assert grouping.services == {"fine": Found("b")}
    assert [one.container_id for one in grouping.ignored] == ["a", "c", "d"]
    assert "'no spaces' is no service name" in grouping.ignored[0].why
    assert "'NOT A ROOM' is no room name" in grouping.ignored[1].why
    assert resolve(listed, "default", "no spaces") == Absent()


rows = st.builds(
    Listed,
    id=st.uuids().map(lambda one: one.hex),
    name=st.sampled_from(["web", "db", "bad name"]),
    labels=st.dictionaries(
        st.sampled_from(
            ["pointsman.enable", "pointsman.room", "pointsman.service", "com.docker.compose.service"]
        ),
        st.sampled_from(["true", "default", "web", "db", "", "é"]),
    ),
    state=st.sampled_from(["running", "exited", "paused", "created"]),
)


@given(st.lists(rows, max_size=8, unique_by=lambda one: one.id))
def test_group_and_resolve_agree_in_any_order(listed: list[Listed]):
    services = group(listed, "default").services
    assert services == group(listed[::-1], "default").services
    for name in ("web", "db", "bad name", "true", "default", "é"):
        assert resolve(listed, "default", name) == services.get(name, Absent())
    for found in services.values():
        ids = (found.id,) if isinstance(found, Found) else found.ids
        assert set(ids) <= {one.id for one in listed if one.labels.get("pointsman.enable") == "true"}
