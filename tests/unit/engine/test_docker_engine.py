"""What the adapter makes of answers, errors and crowds."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.waiting import eventually
from tests.unit.engine.scripted import ID, adapter, scripted
from worker.adapters.docker import DockerEngine
from worker.adapters.simulated import SimulatedEngine
from worker.adapters.simulated.server import SimulatedServer
from worker.ports import EngineBusy, EngineFailed, EngineUnavailable

JSON = "application/json"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "words"),
    [
        (409, JSON, '{"message":"Container is paused"}', "Container is paused"),
        (500, f"{JSON}; charset=utf-8", '{"message":"no space left"}', "no space left"),
        (403, "text/html", "<b>denied</b>", "<b>denied</b>"),
        (500, "text/plain", "{odd", "{odd"),
        (500, "text/plain", "", "restart: status 500"),
        (500, JSON, '{"cause":"unknown"}', "restart"),
        (500, JSON, "{nonsense", "restart"),
    ],
)
async def test_an_error_answer_in_the_engines_own_words(
    short_directory: Path, status: int, content_type: str, body: str, words: str
):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body.encode(), headers={"Content-Type": content_type})

    async with scripted(short_directory) as server, adapter(server) as engine:
        server.answers[f"/containers/{ID}/restart"] = answer
        with pytest.raises(EngineFailed) as failed:
            await engine.restart(ID, 1, 5)
    assert words in failed.value.message
    assert failed.value.http_status == status


@pytest.mark.parametrize(
    ("status", "acting", "looking"),
    [
        (502, EngineUnavailable, EngineUnavailable),
        (503, EngineUnavailable, EngineUnavailable),
        (504, EngineBusy, EngineUnavailable),
    ],
)
async def test_a_proxy_speaks_for_an_engine_that_does_not(
    short_directory: Path, status: int, acting: type[Exception], looking: type[Exception]
):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>gateway</html>", content_type="text/html")

    async with scripted(short_directory) as server, adapter(server) as engine:
        for path in ("/stop", "/json"):
            server.answers[f"/containers/{ID}{path}"] = answer
        server.answers["/_ping"] = answer
        with pytest.raises(acting):
            await engine.stop(ID, 1, 5)
        with pytest.raises(looking):
            await engine.inspect(ID)
        with pytest.raises(looking):
            await engine.ping()


async def test_answers_that_make_no_sense(short_directory: Path):
    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(body=b"{nonsense", content_type=JSON)

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with scripted(short_directory) as server, adapter(server) as engine:
        server.answers[f"/containers/{ID}/json"] = nonsense
        server.answers["/containers/json"] = cut
        with pytest.raises(EngineFailed, match="no sense"):
            await engine.inspect(ID)
        with pytest.raises(EngineUnavailable):
            await engine.list()
        with pytest.raises(EngineFailed, match="no answer for /info"):
            await engine.identify()


async def test_not_modified_is_success(short_directory: Path):
    async def unchanged(_: web.Request) -> web.Response:
        return web.Response(status=304)

    async with scripted(short_directory) as server, adapter(server) as engine:
        for verb in ("start", "stop"):
            server.answers[f"/containers/{ID}/{verb}"] = unchanged
        await engine.start(ID)
        await engine.stop(ID, 3, 5)
        assert server.paths("/stop") == [f"/v1.41/containers/{ID}/stop?t=3"]


async def test_an_engine_without_an_id_is_known_by_its_name(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        for info, identity in (({"ID": "", "Name": "box"}, "box"), ({"ID": "X:Y", "Name": "box"}, "X:Y")):

            async def answer(_: web.Request, info: dict[str, str] = info) -> web.Response:
                return web.json_response(info)

            server.answers["/info"] = answer
            assert await engine.identify() == identity


async def test_another_version_may_answer_after_an_outage(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        assert await engine.inspect(ID) is None

        async def hang(_: web.Request) -> web.Response:
            await server.over.wait()
            return web.Response()

        server.answers["/_ping"] = hang
        with pytest.raises(EngineUnavailable):
            await engine.ping()
        del server.answers["/_ping"]
        server.api_version = "1.44"
        assert await engine.inspect(ID) is None
        assert [path.split("/")[1] for path in server.paths("/json")] == ["v1.41", "v1.44"]


async def test_no_call_waits_for_another(short_directory: Path):
    """More restarts at work than aiohttp keeps connections, while the event stream is open."""
    count = 150
    leave = asyncio.Event()

    async def sleep(_: float) -> None:
        await leave.wait()

    simulated = SimulatedEngine(sleep=sleep)
    ids = [simulated.add(f"c{number}", stop_delay=1) for number in range(count)]
    async with SimulatedServer(simulated, socket=short_directory / "docker.sock") as server:
        engine = DockerEngine(server.url)
        async with aclosing(engine.signals()) as signals:
            await anext(signals)
            restarts = [asyncio.create_task(engine.restart(one, 5, 60)) for one in ids]
            await eventually(lambda: server.requests.get("restart", 0) == count, within=20)
            assert len(await engine.list()) == count
            assert await engine.inspect(ids[0]) is not None
            assert not any(task.done() for task in restarts), "looks do not wait for actions"
            leave.set()
            await asyncio.gather(*restarts)
        await engine.close()
    await simulated.close()
    assert len(simulated.effects(kind="start")) == 2 * count
    assert not simulated.overlaps


async def test_many_who_list_at_once_make_few_requests(
    simulated: SimulatedEngine, simulated_server: SimulatedServer
):
    simulated.add("c")
    engine = DockerEngine(simulated_server.url)
    try:
        lists = await asyncio.gather(*(engine.list() for _ in range(100)))
        assert all(len(rows) == 1 for rows in lists)
        assert simulated_server.requests["list"] == 1
    finally:
        await engine.close()


async def test_over_tcp_and_close_leaves_nothing_behind(simulated: SimulatedEngine):
    one = simulated.add("c")
    async with SimulatedServer(simulated) as server:
        engine = DockerEngine(server.url)
        before = asyncio.all_tasks()
        signals = engine.signals()
        await anext(signals)
        await engine.restart(one, 1, 5)
        await engine.close()
        assert asyncio.all_tasks() <= before | {asyncio.current_task()} | server_tasks()


def server_tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())}
