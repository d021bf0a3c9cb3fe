"""The example files: what the structs make, one of everything, and readable by the codec."""

import json
from pathlib import Path

import pytest

from contracts import codec, fixtures
from contracts.events import EventType
from contracts.receipts import ReceiptStatus

FIXTURES = {fixture.name: fixture for fixture in fixtures.fixtures()}


@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=FIXTURES)
def test_the_file_is_what_the_structs_make(fixture):
    assert fixtures.path_of(fixture).read_text("utf-8") == fixture.text(), "run python -m contracts.fixtures"


def test_there_is_no_other_file():
    folder = fixtures.path_of(FIXTURES["meta"]).parent
    assert {path.stem for path in Path(folder).glob("*.json")} == set(FIXTURES)


def test_there_is_one_of_everything():
    assert {f"receipt-{status}" for status in ReceiptStatus} <= set(FIXTURES)
    assert {FIXTURES[name].json["type"] for name in FIXTURES if name.startswith("event-")} == set(EventType)
    assert {"command", "snapshot", "dead-letter", "worker", "meta"} <= set(FIXTURES)


@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=FIXTURES)
def test_the_codec_reads_the_file(fixture):
    document = json.loads(fixtures.path_of(fixture).read_text("utf-8"))
    match fixture.schema:
        case "Command":
            got = codec.decode_command(document["fields"])
        case "Receipt":
            got = codec.decode_receipt(document["fields"])
        case "Snapshot":
            got = codec.decode_snapshot(document["fields"])
        case "Meta":
            got = codec.decode_meta(document["fields"])
        case "WorkerInfo":
            got = codec.decode_worker(document["json"]["name"], document["fields"])
        case "DeadLetter":
            got = codec.decode_dead(document["entry"], document["fields"])
        case _:
            got = codec.event_from_json(json.dumps(document["json"]))
    assert got == fixture.value


def test_writing_again_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fixtures, "path_of", lambda fixture: tmp_path / f"{fixture.name}.json")
    fixtures.write()
    assert {path.stem: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        name: fixture.text() for name, fixture in FIXTURES.items()
    }
