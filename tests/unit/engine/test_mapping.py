"""From the engine's JSON to our words, whatever the engine leaves out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.docker.mapping import to_container, to_hint, to_listed
from worker.core.container import NEVER, Container, Health, Listed

ID = "4287587a9617f632831ac70d3645f4a40600b496046e4e9caeaad576975d88d0"
STARTED = "2026-11-24T07:10:19.12864843Z"


def inspected(**state: Any) -> dict[str, Any]:
    """Return what Docker 20.10 shows of a running container, as far as it is read."""
    return {
        "Id": ID,
        "Name": "/web-1",
        "Image": "sha256:63f1",
        "RestartCount": 2,
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": STARTED,
            "FinishedAt": NEVER,
        }
        | state,
        "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
        "Config": {"Image": "web:1.2", "Labels": {"pointsman.enable": "true"}, "StopTimeout": 7},
        "NetworkSettings": {
            "IPAddress": "172.17.0.2",
            "Networks": {
                "bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": "fd00::2"},
                "back": {"IPAddress": "10.1.0.2", "GlobalIPv6Address": ""},
                "gone": None,
            },
        },
    }


def test_a_running_container():
    assert to_container(inspected()) == Container(
        id=ID,
        name="web-1",
        image="web:1.2",
        labels={"pointsman.enable": "true"},
        state="running",
        running=True,
        started_at=STARTED,
        restart_policy="on-failure",
        engine_restarts=2,
        stop_timeout=7,
        addresses=("172.17.0.2", "10.1.0.2", "fd00::2"),
    )


def test_health_and_its_last_words():
    log = [{"Output": "first"}, {"Output": "  connection refused" + "!" * 600 + "\n"}]
    seen = to_container(inspected(Health={"Status": "unhealthy", "Log": log}))
    assert seen.health is Health.UNHEALTHY
    assert seen.health_output == ("connection refused" + "!" * 600)[:500]


@pytest.mark.parametrize(
    "health", [None, {}, {"Status": ""}, {"Status": "odd", "Log": None}, {"Status": "none", "Log": []}]
)
def test_no_health(health: Any):
    seen = to_container(inspected(Health=health))
    assert (seen.health, seen.health_output) == (Health.NONE, "")


def test_an_older_podman():
    seen = to_container(
        {
            "Id": ID,
            "Name": "web",
            "ImageName": "docker.io/library/web:1",
            "State": {
                "Running": True,
                "StartedAt": "2026-11-24T07:10:19.1+01:00",
                "Healthcheck": {"Status": "healthy", "Log": None},
            },
            "Config": {"Labels": None},
            "HostConfig": {"RestartPolicy": {"Name": ""}},
            "NetworkSettings": {"IPAddress": "10.88.0.2", "Networks": None},
        }
    )
    assert (seen.name, seen.image, seen.state) == ("web", "docker.io/library/web:1", "running")
    assert (seen.health, seen.restart_policy) == (Health.HEALTHY, "no")
    assert (seen.started_at, seen.finished_at) == ("2026-11-24T07:10:19.1+01:00", NEVER)
    assert seen.addresses == ("10.88.0.2",)


def test_a_row_of_the_list():
    row = {"Id": ID, "Names": ["/other/alias", "/web-1"], "Labels": {"a": "b"}, "State": "exited"}
    assert to_listed(row) == Listed(ID, "web-1", {"a": "b"}, "exited")
    assert to_listed({"Id": ID, "Names": None, "Labels": None}) == Listed(ID, "", {}, "")


def test_an_event():
    attributes = {"image": "web:1", "name": "web-1", "exitCode": "137", "pointsman.enable": "true"}
    hint = to_hint(
        {
            "status": "die",
            "id": ID,
            "Type": "container",
            "Action": "die",
            "Actor": {"ID": ID, "Attributes": attributes},
            "time": 1795504219,
            "timeNano": 1795504219962520537,
        }
    )
    assert hint is not None
    assert (hint.container_id, hint.name, hint.action, hint.exit_code) == (ID, "web-1", "die", 137)
    assert hint.time_ns == 1795504219962520537
    assert hint.labels == {"pointsman.enable": "true"}


def test_an_event_of_an_old_engine_and_what_is_no_hint():
    old = to_hint({"status": "start", "id": ID, "time": 5})
    assert old is not None
    assert (old.action, old.time_ns) == ("start", 5_000_000_000)
    noise = ["exec_create: /bin/sh -c test", "exec_die", "kill", "attach", "top", ""]
    assert not any(to_hint({"Action": action, "Actor": {"ID": ID}}) for action in noise)
    assert to_hint({"Type": "network", "Action": "connect", "Actor": {"ID": ID}}) is None
    assert to_hint({"Action": "start"}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
shapes = st.dictionaries(
    st.sampled_from(
        [*inspected(), "Names", "Labels", "State", "Actor", "Action", "Type", "time", "timeNano", "id"]
    ),
    json_values
    | st.dictionaries(st.sampled_from(["Health", "Networks", "Labels", "ID", "Attributes"]), json_values),
)


@given(shapes)
def test_no_answer_is_too_odd(data: dict[str, Any]):
    assert isinstance(to_container(data), Container)
    to_hint(data)
    to_listed(data | {"Names": ["/a"]})
