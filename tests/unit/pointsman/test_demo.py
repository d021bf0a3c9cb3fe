import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contracts.events import EventType, ServiceData, event_of
from contracts.services import ServiceStatus, Snapshot
from pointsman.demo import embedded
from pointsman.demo.containers import Containers, Simulated, Wanted
from pointsman.demo.play import Programme, summary
from pointsman.demo.real import _busybox
from pointsman.demo.screen import Lines, Screen
from pointsman.demo.stage import TIMES, Claim, Stage, worker_environment
from subscriber import Change, Reset, ResetReason
from worker.settings import WorkerSettings

WEB = Wanted("web", "Web shop", "ai", port=8080)


def test_a_server_is_found_in_the_wheel_or_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_server() == server
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(embedded.NoServerError, match=r"pointsman\[demo\]"):
        embedded.find_server()


def test_the_demo_s_times_are_settings_that_go_together(monkeypatch: pytest.MonkeyPatch):
    for name, value in TIMES.items():
        monkeypatch.setenv(f"POINTSMAN_{name}", value)
    settings = WorkerSettings()
    assert settings.lease == 1.5


async def test_workers_get_no_setting_of_ours_but_the_demo_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POINTSMAN_ROOM", "production")
    monkeypatch.setenv("POINTSMAN_SELF_HEAL", "false")
    monkeypatch.setenv("DOCKER_HOST", "tcp://production:2375")
    containers = Simulated("demo-x", tmp_path)
    made = worker_environment("unix:///x", containers)
    assert made["POINTSMAN_ROOM"] == "demo-x"
    assert made["POINTSMAN_REDIS_URL"] == "unix:///x"
    assert made["DOCKER_HOST"] == f"unix://{tmp_path}/engine.sock"
    assert "POINTSMAN_SELF_HEAL" not in made
    await containers.close()


async def test_simulated_containers_are_labelled_and_counted(tmp_path: Path):
    containers = Simulated("demo-x", tmp_path)
    await containers.open((WEB,))
    try:
        assert containers.labels(WEB)["pointsman.room"] == "demo-x"
        assert containers.labels(WEB)["pointsman.port"] == "8080"
        client = containers._engine.client()
        await client.restart((await client.list())[0].id, 1, 5.0)
        await containers.until("web", "start", 1, 1.0)
        assert [containers.count("web", what) for what in ("kill", "die", "start")] == [1, 1, 1]
        with pytest.raises(TimeoutError):
            await containers.until("web", "start", 2, 0.01)
    finally:
        await containers.close()


class _Room:
    """A client whose watch gives what it was given."""

    def __init__(self, items: list[Any]) -> None:
        self.subscriber = self
        self.items = items

    def watch(self) -> "_Room":
        return self

    def __aiter__(self) -> "_Room":
        return self

    async def __anext__(self) -> Any:
        if not self.items:
            raise StopAsyncIteration
        return self.items.pop(0)


def service(revision: int, kind: EventType = EventType.SERVICE_CHANGED, name: str = "web") -> Change:
    snapshot = Snapshot(name=name, status=ServiceStatus.RUNNING, revision=revision)
    return Change(
        event_of(
            kind,
            ServiceData(service=snapshot),
            room="r",
            epoch="e",
            revision=revision,
            time="2026-01-01T00:00:00.000Z",
            subject=name,
        )
    )


def reset(revision: int, *names: str) -> Reset:
    snapshots = tuple(Snapshot(name=name, status=ServiceStatus.RUNNING) for name in names)
    return Reset(snapshots=snapshots, epoch="e", revision=revision, reason=ResetReason.START)


async def followed(tmp_path: Path, *items: Any) -> Stage:
    room: Any = _Room(list(items))
    containers: Any = Containers
    stage = Stage("unix:///x", room, containers, Screen(), tmp_path, 0.0)
    await stage.follow()
    return stage


async def test_the_reader_keeps_the_services_and_finds_no_gap(tmp_path: Path):
    stage = await followed(
        tmp_path, reset(4, "web", "db"), service(5), service(6, EventType.SERVICE_REMOVED, "db"), service(7)
    )
    assert (stage.events, stage.gaps, stage.revision) == (3, [], 7)
    assert list(stage.screen.services) == ["web"]
    await asyncio.wait_for(stage.until_running((WEB,)), 1)


async def test_the_reader_tells_of_gaps(tmp_path: Path):
    stage = await followed(tmp_path, reset(4), service(6), reset(9), service(10))
    assert stage.gaps == ["revision 6 after 4", "begun anew after revision 6: start"]


def test_claims_are_put_down_and_shown():
    file = io.StringIO()
    anything: Any = None
    stage = Stage("", anything, anything, Lines(Console(file=file, width=100)), Path(), 0.0)
    stage.claim("it holds", ok=True, found="1")
    stage.claim("it does not", ok=False, found="0")
    assert [claim.ok for claim in stage.claims] == [True, False]
    assert file.getvalue() == "  ✓ it holds: 1\n  ✗ it does not: 0\n"


def test_the_summary_is_honest():
    claims = [Claim(claim="one", ok=True, found="1"), Claim(claim="two", ok=False, found="0")]
    programme = Programme(ok=False, engine="an engine", seconds=3.0, claims=claims, failure="interrupted")
    file = io.StringIO()
    Lines(Console(file=file, width=100)).end(*summary(programme))
    text = file.getvalue()
    for words in (
        "✓ one  1",
        "✗ two  0",
        "✗ interrupted",
        "1 of 2 claims held, in 3.0 s: NOT as it should be",
    ):
        assert words in text


def test_busybox_is_packed_only_where_it_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _busybox() is None
    program = tmp_path / "busybox"
    program.write_bytes(b"\x7fELF static")
    program.chmod(0o755)
    packed = _busybox()
    assert packed is not None
    assert b"bin/sleep" in packed
    program.write_bytes(b"\x7fELF /lib64/ld-linux-x86-64.so.2")
    assert _busybox() is None
