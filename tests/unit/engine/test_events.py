"""The event stream is kept alive, and tells each event once, whatever the engine does to it."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.waiting import eventually
from tests.unit.engine.scripted import QUICK, Scripted, Streams, adapter, event, scripted
from worker.core.container import EngineConnected, EngineHint


async def take(signals, count: int) -> list[int | str]:
    """Take so many signals; a hint is the second that it is stamped with."""
    taken: list[int | str] = []
    async with asyncio.timeout(5):
        while len(taken) < count:
            match await anext(signals):
                case EngineConnected():
                    taken.append("connected")
                case EngineHint(time_ns=time_ns):
                    taken.append(time_ns // 1_000_000_000)
    return taken


async def test_events_are_asked_for_from_now_on_and_then_from_the_last_one(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        start = 2_000_000_000
        streams = Streams(
            server, [event(start), event(start + 5)], [event(start + 5), event(start + 6), None]
        )
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 5) == ["connected", start, start + 5, "connected", start + 6]
        first, second = (request.query for request in streams.opened)
        assert 0 <= await date(server) - float(first["since"]) <= 3, (
            "the engine's own clock, at the time of the connect"
        )
        assert second["since"] == f"{start + 4}.000000000", "a second's overlap, for what came out of order"
        assert first["filters"] == '{"type":["container"],"label":["pointsman.enable=true"]}'


async def date(server: Scripted) -> float:
    """Return the server's clock."""
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(server.url.removeprefix("unix://"))
    ) as http:
        async with http.get("http://localhost/_ping") as response:
            return parsedate_to_datetime(response.headers["Date"]).timestamp()


async def test_an_event_is_told_once_however_often_it_is_replayed(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        Streams(server, [event(1), event(2)], [event(1), event(2)], [event(2), event(1), event(3), None])
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 6) == ["connected", 1, 2, "connected", "connected", 3]


async def test_events_out_of_order_move_no_clock_back(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        streams = Streams(server, [event(10**10), event(10**10 - 1)], [None])
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 4) == ["connected", 10**10, 10**10 - 1, "connected"]
        assert streams.opened[1].query["since"].startswith(f"{10**10 - 1}.")


async def test_lines_may_be_long_cut_anywhere_or_nonsense(short_directory: Path):
    long = event(1, **{"pointsman.note": "x" * 300_000})
    async with scripted(short_directory) as server, adapter(server) as engine:
        Streams(
            server,
            [long[:7], long[7:], b"\n{nonsense\n[]\n", event(2)[:-1], b"\n", event(3) + event(4), None],
        )
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 5) == ["connected", 1, 2, 3, 4]


async def test_a_silent_stream_is_left_when_the_ping_fails(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        streams = Streams(server, [event(1), None])
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 2) == ["connected", 1]
            await eventually(lambda: len(server.paths("_ping")) > 3, what="an idle stream makes for pings")
            assert len(streams.opened) == 1

            async def hang(_: web.Request) -> web.Response:
                await server.over.wait()
                return web.Response()

            server.answers["/_ping"] = hang
            assert await take(signals, 1) == ["connected"]


async def test_a_silent_stream_is_renewed_quietly_though_the_ping_answers(short_directory: Path):
    timing = replace(QUICK, renew=0.2)
    async with scripted(short_directory) as server, adapter(server, timing) as engine:
        streams = Streams(server, [event(1), None], [event(1), event(2), None])
        async with aclosing(engine.signals()) as signals:
            assert await take(signals, 3) == ["connected", 1, 2], "nothing was missed, so nothing is said"
            assert len(streams.opened) == 2


async def test_a_refused_or_ending_stream_is_asked_for_again_ever_more_slowly(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:

        async def refuse(request: web.Request) -> web.Response:
            return web.json_response({"message": "forbidden"}, status=403)

        server.answers["/events"] = refuse
        async with aclosing(engine.signals()) as signals:
            await eventually(lambda: len(server.paths("/events")) >= 4)
            began = asyncio.get_running_loop().time()
            await eventually(lambda: len(server.paths("/events")) >= 9)
            assert asyncio.get_running_loop().time() - began >= 5 * QUICK.backoff_most * 0.5 * 0.9
            Streams(server, [event(1), None])
            assert await take(signals, 2) == ["connected", 1]


async def test_two_readers_each_hear_everything(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        Streams(server, [event(1), None])
        first, second = engine.signals(), engine.signals()
        assert await take(first, 2) == await take(second, 2) == ["connected", 1]


async def test_a_dropped_reader_lets_its_connection_go(short_directory: Path):
    async with scripted(short_directory) as server, adapter(server) as engine:
        Streams(server, [event(1), None])
        signals = engine.signals()
        assert await take(signals, 1) == ["connected"]
        assert len(engine._readers) == 1
        del signals
        await eventually(lambda: not engine._readers)
