"""What labels ask, and that no value of any label stops anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.labels import Probe, ServiceLabels, compose_dependencies

NAMES = [
    "category",
    "display-name",
    "port",
    "actions",
    "protected",
    "desired",
    "stop-timeout",
    "grace",
    "self-heal",
    "max-failures",
    "backoff-base",
    "backoff-max",
    "on-exhausted",
    "probe",
    "depends-on",
]


def parse(**labels: str) -> ServiceLabels:
    return ServiceLabels.parse(
        {f"pointsman.{name.replace('_', '-')}": value for name, value in labels.items()}
    )


def test_without_labels_nothing_is_asked_and_nothing_is_wrong():
    assert ServiceLabels.parse({"other": "label"}) == ServiceLabels()
    assert ServiceLabels().category == "infrastructure"


def test_empty_values_are_absent():
    assert ServiceLabels.parse({f"pointsman.{name}": "" for name in NAMES}) == ServiceLabels()


def test_every_label_is_read():
    read = parse(
        category="ai",
        display_name="Détection",
        port="8001",
        actions="restart, stop",
        protected="True",
        desired="stopped",
        stop_timeout="12.2",
        grace="1.5",
        self_heal="no",
        max_failures="7",
        backoff_base="0.25",
        backoff_max="60",
        on_exhausted="disable",
        probe="http://:8001/health?full=1",
        depends_on="db, cache,db",
    )
    assert read == ServiceLabels(
        category="ai",
        display_name="Détection",
        port=8001,
        actions=frozenset({"restart", "stop"}),
        protected=True,
        desired="stopped",
        stop_timeout=13,
        grace=1.5,
        self_heal=False,
        max_failures=7,
        backoff_base=0.25,
        backoff_max=60.0,
        on_exhausted="disable",
        probe=Probe("http", "", 8001, "/health?full=1"),
        depends_on=("db", "cache"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("category", "Big Data"),
        ("category", "x" * 33),
        ("display-name", "two\nlines"),
        ("display-name", "x" * 257),
        ("port", "0"),
        ("port", "65536"),
        ("port", "80.0"),
        ("port", "٣"),
        ("actions", "restart,explode"),
        ("actions", "restart,"),
        ("protected", "maybe"),
        ("desired", "up"),
        ("stop-timeout", "10s"),
        ("stop-timeout", "-1"),
        ("stop-timeout", "3601"),
        ("grace", "nan"),
        ("grace", "inf"),
        ("grace", "1e3"),
        ("grace", "1_000"),
        ("self-heal", "2"),
        ("max-failures", "0"),
        ("backoff-base", "0"),
        ("backoff-max", "86401"),
        ("on-exhausted", "explode"),
        ("probe", "http://:8001 /health"),
        ("probe", "tcp://:5432/path"),
        ("probe", "http://:0/"),
        ("probe", "http://:99999/"),
        ("probe", "ftp://:21"),
        ("probe", "http://user@host:80/"),
        ("depends-on", "db,no spaces"),
    ],
)
def test_a_bad_value_is_told_and_its_default_used(name: str, value: str):
    read = ServiceLabels.parse({f"pointsman.{name}": value})
    assert len(read.problems) == 1
    assert f"pointsman.{name}" in read.problems[0]
    assert read == ServiceLabels(problems=read.problems)


def test_one_bad_value_leaves_the_others_alone():
    read = parse(port="eighty", grace="5")
    assert read.grace == 5.0
    assert len(read.problems) == 1


def test_a_pause_cannot_end_below_where_it_begins():
    read = parse(backoff_base="10", backoff_max="5")
    assert (read.backoff_base, read.backoff_max) == (10.0, None)
    assert "backoff-max" in read.problems[0]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("tcp://:5432", "tcp://:5432"),
        ("http://:80", "http://:80/"),
        ("https://web:8443/x", "https://web:8443/x"),
    ],
)
def test_a_probe_is_written_as_it_is_read(text: str, written: str):
    probe = parse(probe=text).probe
    assert str(probe) == written
    assert parse(probe=written).probe == probe


def test_composes_dependencies_are_used_without_a_label_of_ours():
    labels = {
        "com.docker.compose.depends_on": "db:service_healthy:true,cache:service_started:false,:x:y,db::"
    }
    assert compose_dependencies(labels) == ("db", "cache")
    assert ServiceLabels.parse(labels).depends_on == ("db", "cache")
    assert ServiceLabels.parse(labels | {"pointsman.depends-on": "queue"}).depends_on == ("queue",)


@given(st.dictionaries(st.sampled_from([f"pointsman.{name}" for name in NAMES]), st.text(max_size=300)))
def test_no_value_raises_and_every_bad_one_is_told(labels: dict[str, str]):
    read = ServiceLabels.parse(labels)
    assert len(read.problems) <= len(labels)
    assert all("\n" not in problem and len(problem) < 400 for problem in read.problems)


@given(st.integers(0, 3600), st.integers(0, 999))
def test_seconds_are_decimal_and_a_stop_timeout_is_rounded_up(whole: int, thousandths: int):
    text = f"{whole}.{thousandths:03d}"
    read = parse(grace=text, stop_timeout=text)
    assert read.grace == pytest.approx(whole + thousandths / 1000)
    if whole < 3600:
        assert read.stop_timeout == whole + (thousandths > 0)
