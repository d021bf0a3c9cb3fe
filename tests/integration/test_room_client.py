"""The room client, through Redis and through a gateway: the same results, the same errors."""

import ast
import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import json as fast

from contracts.errors import (
    AlreadyRunning,
    EngineUnavailable,
    IdempotencyConflict,
    NoWorker,
    PreconditionFailed,
    RedisUnavailable,
    ServiceDisabled,
    ServiceNotFound,
    WaitTimeout,
)
from contracts.events import Event
from gateway.tokens import ServicesScope, mint
from pointsman import RoomClient
from pointsman.rooms.link import Forbidden, GatewayUnavailable, Unauthorized
from pointsman.rooms.specs import RoomStatus, ServiceState, spec_of, state_of
from subscriber import Change, Reset
from tests.support.gateway import Scene, Served
from tests.support.roombook import service
from tests.support.waiting import eventually

SECRET = "a-secret-of-this-test-and-of-nothing-else"  # noqa: S105
WAYS = ("redis", "http")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "room-client.md"

# As documented elsewhere for rooms of this kind, word for word.
LIST = """\
services = await room.services.list()

for service in services:
  print(service.metadata.name)
"""
LIST_WITH_STATE = """\
result = await room.services.list_with_state()

for service in result.services:
  state = result.service_states.get(service.id or "")
  print(service.metadata.name, state.state if state is not None else "unknown")
"""
RESTART = """\
await room.services.restart(service_id="svc-1")
"""

Address = Callable[[], Awaitable[str]]


@pytest.fixture(params=WAYS)
def address(request: pytest.FixtureRequest, scene: Scene) -> Address:
    """Give what returns the address of the room by this way, once a worker is there."""

    async def found() -> str:
        if request.param == "redis":
            return scene.redis.url
        return (await scene.gateway()).url

    return found


@contextlib.asynccontextmanager
async def client(scene: Scene, address: Address, *names: str, **options: Any) -> AsyncIterator[RoomClient]:
    """Start a worker and open a client that sees these services."""
    for name in names:
        scene.add(name)
    await scene.worker()
    async with RoomClient(await address(), room=scene.room, **options) as room:

        async def seen() -> bool:
            try:
                return {spec.id for spec in await room.services.list()} >= set(names)
            except (NoWorker, EngineUnavailable):  # nobody has looked yet
                return False

        await eventually(seen, within=10)
        yield room


async def _has(room: RoomClient, name: str) -> bool:
    return name in (await room.services.list_with_state()).service_states


async def run(source: str, room: RoomClient) -> None:
    """Run a snippet as it stands inside `async with … as room`."""
    code = compile(source, "<documented>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    coroutine = eval(code, {"room": room})  # noqa: S307 -- the snippets above
    if coroutine is not None:
        await coroutine


async def test_the_documented_snippets_run_unchanged(
    scene: Scene, address: Address, capsys: pytest.CaptureFixture[str]
):
    async with client(scene, address, "svc-1", "svc-2") as room:
        await run(LIST, room)
        await run(LIST_WITH_STATE, room)
        await run(RESTART, room)
        assert capsys.readouterr().out == "svc-1\nsvc-2\nsvc-1 running\nsvc-2 running\n"
        result = await room.services.list_with_state()
        assert result.service_states["svc-1"].restart_count == 1


async def test_the_guides_first_example_runs(
    scene: Scene, address: Address, capsys: pytest.CaptureFixture[str]
):
    example = GUIDE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    assert 'RoomClient("redis://localhost:6379", room="myroom")' in example
    async with client(scene, address, "rtdetr") as room:
        here = example.replace("redis://localhost:6379", await address()).replace("myroom", scene.room)
        await run(here, room)
        state = (await room.services.list_with_state()).service_states["rtdetr"]
    assert state.restart_count == 1
    assert capsys.readouterr().out.startswith("rtdetr rtdetr\nrunning ")


async def test_specs_and_states_are_typed_and_whole(scene: Scene, address: Address):
    container = scene.add("rtdetr", category="ai", display="Object detector", port=8001, image="org/rtdetr:1")
    scene.add("gone", running=False)
    async with client(scene, address, "more") as room:
        result = await room.services.list_with_state()
        spec = next(one for one in result.services if one.id == "rtdetr")
        assert (spec.kind, spec.version, spec.metadata.name) == ("Service", "v1", "rtdetr")
        assert spec.metadata.description == "Object detector"
        assert spec.metadata.annotations == {"pointsman.category": "ai"}
        assert spec.container is not None
        assert (spec.container.image, [port.num for port in spec.ports]) == ("org/rtdetr:1", [8001])
        state = result.service_states["rtdetr"]
        assert (state.state, state.container_id, state.restart_count) == ("running", container[:12], 0)
        assert isinstance(state.started_at, datetime)
        assert state.started_at.tzinfo is not None
        assert (state.last_exit_code, state.restart_scheduled_at) == (None, None)
        assert result.service_states["gone"].state == "stopped"


async def test_a_state_tells_how_a_run_ended_and_when_the_next_begins(scene: Scene, address: Address):
    scene.add("broken", labels={"pointsman.backoff-base": "60"})
    async with client(scene, address) as room:
        await eventually(lambda: _has(room, "broken"), within=10)
        scene.engine.kill("broken", 3)

        async def planned() -> ServiceState | None:
            state = (await room.services.list_with_state()).service_states["broken"]
            return state if state.restart_scheduled_at else None

        state = await eventually(planned, within=10)
        assert state is not None
        assert (state.state, state.last_exit_code, state.restart_count) == ("stopped", 3, 0)
        assert "code 3" in (state.message or "")
        assert state.last_exit_at is not None
        assert state.restart_scheduled_at is not None
        assert 30 < (state.restart_scheduled_at - state.last_exit_at).total_seconds() < 90


async def test_every_action_returns_its_receipt(scene: Scene, address: Address):
    async with client(scene, address, "rtdetr") as room:
        services = room.services
        for ask, message, state in (
            (services.restart, "restart initiated", "running"),
            (services.stop, "stop initiated", "stopped"),
            (services.start, "start initiated", "running"),
            (services.disable, "disabled", "disabled"),
            (services.enable, "enabled", "running"),
        ):
            receipt = await ask(service_id="rtdetr", reason="trying")
            assert (receipt.succeeded, receipt.message) == (True, f"Service 'rtdetr' {message}")
            assert (receipt.service, receipt.reason) == ("rtdetr", "trying")
            assert (await services.list_with_state()).service_states["rtdetr"].state == state


async def test_errors_are_the_contracts(scene: Scene, address: Address):
    async with client(scene, address, "rtdetr") as room:
        services = room.services
        with pytest.raises(ServiceNotFound, match="'nobody' not found") as unknown:
            await services.restart(service_id="nobody")
        assert (unknown.value.code, unknown.value.status) == ("service_not_found", 404)
        for odd in ("", "../rtdetr", "a b", "rtdetr/restart", "x" * 500):
            with pytest.raises(ServiceNotFound):
                await services.restart(service_id=odd)
        with pytest.raises(AlreadyRunning):
            await services.start(service_id="rtdetr")
        with pytest.raises(PreconditionFailed):
            await services.stop(service_id="rtdetr", expect_container_id="0" * 12)
        await services.disable(service_id="rtdetr", key="k")
        await services.disable(service_id="rtdetr", key="k")
        with pytest.raises(IdempotencyConflict):
            await services.enable(service_id="rtdetr", key="k")
        with pytest.raises(ServiceDisabled, match="Enable it first"):
            await services.restart(service_id="rtdetr")


async def test_a_wait_that_is_too_short_raises_and_none_at_all_returns(scene: Scene, address: Address):
    scene.add("slow", stop_delay=2.0)
    async with client(scene, address, "other") as room:
        with pytest.raises(WaitTimeout) as short:
            await room.services.restart(service_id="slow", wait=1)
        assert short.value.code == "wait_timeout"
        receipt = await room.services.restart(service_id="other", wait=0)
        assert receipt.service == "other"

        async def done() -> bool:
            states = (await room.services.list_with_state()).service_states
            return all(states[name].restart_count == 1 for name in ("slow", "other"))

        await eventually(done, within=15)


async def test_a_long_wait_is_made_of_several_turns(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pointsman.rooms.remote.TURN", 1.0)
    scene.add("slow", stop_delay=2.5)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "slow")
    async with RoomClient(served.url, room=scene.room) as room:
        receipt = await room.services.restart(service_id="slow", wait=20)
    assert receipt.succeeded
    assert len(scene.engine.effects("slow", "start")) == 2


async def test_nobody_there_is_an_error_with_a_code(scene: Scene, address: Address):
    async with RoomClient(await address(), room=scene.room) as room:
        with pytest.raises(NoWorker):
            await room.services.restart(service_id="rtdetr")


async def test_handlers_hear_events_in_order_and_a_failing_one_disturbs_nobody(
    scene: Scene, address: Address, caplog: pytest.LogCaptureFixture
):
    heard: list[tuple[str, Any]] = []
    tries: list[Event] = []

    def failing(event: Event) -> None:
        tries.append(event)
        raise ValueError("this handler is broken")

    async def slow(event: Event) -> None:
        await asyncio.sleep(60)

    async with client(scene, address, "a", "b") as room:
        room.on("service.changed", failing)
        room.on("service.changed", slow)
        room.on("service.changed", lambda event: heard.append(("changed", event)))
        room.on("command.settled", lambda event: heard.append(("settled", event)))
        with caplog.at_level(logging.ERROR, logger="pointsman.room"):
            await room.services.restart(service_id="a")
            await room.services.disable(service_id="b")
            await eventually(lambda: len([1 for kind, _ in heard if kind == "settled"]) == 2, within=10)
        changed = [event.data.service.name for kind, event in heard if kind == "changed"]
        assert changed == ["a", "b"], "an action waits until handlers hear"
        revisions = [event.number for _, event in heard if _ is not None]
        assert sorted(revisions) == sorted(set(revisions))
        await eventually(lambda: len(tries) == len(changed))
        assert "this handler is broken" in caplog.text
        room.off("service.changed", failing)
        count = len(tries)
        await room.services.enable(service_id="b")
        await eventually(lambda: len([1 for kind, _ in heard if kind == "settled"]) == 3, within=10)
        assert len(tries) == count


async def test_an_async_handler_is_awaited_and_a_star_hears_all(scene: Scene, address: Address):
    heard: list[Any] = []

    async def hear(event: Any) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    async with client(scene, address, "a") as room:
        room.on("*", hear)
        await room.services.restart(service_id="a")
        await eventually(lambda: any(getattr(e, "type", "").endswith("settled") for e in heard), within=10)
        assert any(isinstance(event, RoomStatus) for event in heard)
        room.emit("my.event", 42)
        await eventually(lambda: 42 in heard)
        assert room.status.status == "connected"


async def test_watch_begins_with_all_and_goes_on_without_a_gap(scene: Scene, address: Address):
    async with client(scene, address, "a", "b") as room:
        items: list[Reset | Change] = []
        async with contextlib.aclosing(room.services.watch()) as watch, asyncio.timeout(10):
            async for item in watch:
                items.append(item)
                if len(items) == 1:
                    await room.services.restart(service_id="a")
                if isinstance(item, Change) and item.event.type.endswith("settled"):
                    break
        first = items[0]
        assert isinstance(first, Reset)
        assert [snapshot.name for snapshot in first.snapshots] == ["a", "b"]
        changes = [item.event for item in items[1:] if isinstance(item, Change)]
        assert [event.number for event in changes] == list(
            range(first.revision + 1, first.revision + 1 + len(changes))
        )


@pytest.mark.parametrize("way", WAYS)
async def test_a_break_is_told_and_mended_and_nothing_is_missed(
    scene: Scene, make_redis, make_wire, way: str
):
    scene.add("a")
    await scene.worker()
    wire = await make_wire(scene.redis)
    url = wire.url
    statuses: list[RoomStatus] = []
    changed: list[int] = []
    if way == "http":
        served = await scene.gateway()
        url = served.url
    async with (
        RoomClient(url, room=scene.room) as room,
        RoomClient(scene.redis.url, room=scene.room) as other,
    ):
        room.on("room.status", statuses.append)
        room.on("service.changed", lambda event: changed.append(event.data.service.restart_count))
        await eventually(lambda: [one.status for one in statuses] == ["connected"], within=10)
        await room.services.restart(service_id="a")
        await eventually(lambda: changed == [1], within=10)
        if way == "redis":
            await wire.sever()
        else:
            port = served.port
            await served.stop()
        await eventually(lambda: statuses[-1].status == "reconnecting", within=20)
        await other.services.restart(service_id="a")
        if way == "redis":
            await wire.mend()
        else:
            await scene.gateway(port=port)
        await eventually(lambda: statuses[-1].status == "connected", within=20)
        assert statuses[-1].reconnects == 1
        await eventually(lambda: changed[-1] == 2, within=10)
        assert [one.status for one in statuses] == ["connected", "reconnecting", "connected"]


async def test_a_token_is_sent_and_its_lack_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.add("a")
    await scene.worker()
    served = await scene.gateway(hs256_key=SECRET)
    url = served.url

    def token(**scope: Any) -> str:
        return mint(
            SECRET.encode(), subject="me", rooms=[scene.room], scope=ServicesScope(**scope), seconds=60
        )

    async with RoomClient(url, room=scene.room) as room:
        with pytest.raises(Unauthorized):
            await room.services.list()
        statuses: list[RoomStatus] = []
        room.on("room.status", statuses.append)
        await eventually(lambda: statuses and statuses[-1].status == "closed")
    async with RoomClient(url, room=scene.room, token=token(list=True)) as room:

        async def seen() -> bool:
            return bool(await room.services.list())

        await eventually(seen, within=10)
        with pytest.raises(Forbidden, match="restart"):
            await room.services.restart(service_id="a")
    monkeypatch.setenv("POINTSMAN_TOKEN", token(restart=("a",)))
    async with RoomClient(url, room=scene.room) as room:
        receipt = await room.services.restart(service_id="a")
        assert (receipt.succeeded, receipt.message) == (True, "Service 'a' restart initiated")
    async with RoomClient(scene.redis.url, room=scene.room) as room:
        receipts = await room.subscriber.commands()
        assert [receipt.issuer for receipt in receipts] == ["me"]


async def test_what_cannot_be_reached_is_an_error_with_a_code(scene: Scene, served_nowhere: str):
    async with RoomClient(served_nowhere, room=scene.room) as room:
        with pytest.raises(GatewayUnavailable) as raised:
            await room.services.list()
        assert raised.value.code == "gateway_unavailable"
        with pytest.raises(RuntimeError, match=r"room\.services"):
            _ = room.publisher
    async with RoomClient(served_nowhere.replace("http", "redis"), room=scene.room) as room:
        with pytest.raises(RedisUnavailable):
            await room.services.list()


@pytest.fixture
async def served_nowhere(scene: Scene) -> str:
    """Give the address of a gateway that is gone."""
    served: Served = await scene.gateway()
    await served.stop()
    return served.url


def test_addresses_are_shown_without_secrets_and_judged_early():
    assert RoomClient("redis://user:secret@host:6380/1").room_url == "redis://host:6380/1"
    assert RoomClient("https://user:secret@gate.example/prefix/").room_url == "https://gate.example/prefix"
    assert RoomClient("http://[::1]:8000").room_url == "http://[::1]:8000"
    for wrong in ({"room": "NO"}, {"prefix": "A"}, {"url": "http://"}, {"url": "gopher://x"}):
        with pytest.raises(ValueError, match=r".+"):
            RoomClient(**wrong)


def test_results_are_json_when_that_is_asked_for():
    snapshot = service(1)
    spec = json.loads(fast.encode(spec_of(snapshot)))
    assert (spec["id"], spec["metadata"]["name"]) == (snapshot.name, snapshot.name)
    state = json.loads(fast.encode(state_of(snapshot)))
    assert state["started_at"].startswith("2026-01-01T00:00:00.123")
    assert (
        json.loads(fast.encode(state_of(service(2, started_at="0001-01-01T00:00:00Z"))))["started_at"] is None
    )
