"""The one connection for scripts: whatever breaks it, callers get an answer or RedisLost; it comes back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import redis

from contracts.keys import Keys
from contracts.scripts import Script
from tests.support.redis import VERSIONS, MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.wire import MakeWire
from tests.support.workers import RoomView, worker_here
from worker.adapters.redis.blocking import Blocking
from worker.adapters.redis.link import Link
from worker.adapters.simulated import SimulatedEngine
from worker.ports import RedisLost, RoomRefused


@contextlib.asynccontextmanager
async def _linked(url: str, call_timeout: float = 1.0) -> AsyncIterator[Link]:
    link = Link(url, call_timeout=call_timeout)
    run = asyncio.create_task(link.run())
    try:
        yield link
        assert not run.done(), "the link's role ended"
    finally:
        run.cancel()
        await asyncio.wait({run})


class _Load:
    """Callers that count in Redis, each call `pause` seconds after the one before."""

    def __init__(self, link: Link, pause: float = 0.0) -> None:
        self.link = link
        self.pause = pause  # the load's pace; nothing is waited for by it
        self.done = self.lost = 0
        self.over = False
        self.callers = [asyncio.create_task(self._call()) for _ in range(30)]

    async def _call(self) -> None:
        while not self.over:
            try:
                await self.link.command("INCR", "n")
                self.done += 1
                await asyncio.sleep(self.pause)
            except RedisLost:
                self.lost += 1
                await asyncio.sleep(self.pause)

    async def goes_on(self) -> None:
        before = self.done
        await eventually(lambda: self.done > before + 60, within=10, what="calls are answered")

    async def end(self) -> None:
        self.over = True
        await asyncio.gather(*self.callers)
        counted = int(await self.link.command("GET", "n"))
        assert self.done <= counted <= self.done + self.lost
        assert self.lost > 0


async def test_cuts_under_load_cost_answers_and_never_the_link(
    redis_server: RedisServer, make_wire: MakeWire
):
    wire = await make_wire(redis_server)
    async with _linked(wire.url) as link:
        load = _Load(link)
        for _ in range(25):
            await load.goes_on()
            await wire.cut()
        await load.goes_on()
        await load.end()


async def test_silences_under_load_cost_answers_and_never_the_link(
    redis_server: RedisServer, make_wire: MakeWire
):
    wire = await make_wire(redis_server)
    async with _linked(wire.url, call_timeout=0.1) as link:
        load = _Load(link)
        for _ in range(8):
            await load.goes_on()
            wire.block()
            lost = load.lost
            await eventually(lambda lost=lost: load.lost > lost, what="a call is given up")
            wire.unblock()
        await load.goes_on()
        await load.end()


async def test_what_is_no_answer_under_load_costs_answers_and_never_the_link(
    redis_server: RedisServer, make_wire: MakeWire
):
    wire = await make_wire(redis_server)
    async with _linked(wire.url) as link:
        load = _Load(link, pause=0.001)
        for _ in range(5):
            await load.goes_on()
            wire.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await load.goes_on()
        await load.end()


async def test_an_answer_that_nobody_asked_for_ends_the_connection(
    redis_server: RedisServer, make_wire: MakeWire
):
    wire = await make_wire(redis_server)
    async with _linked(wire.url) as link:
        assert await link.command("PING") == "PONG"
        wire.say(b"+OK\r\n")
        await eventually(lambda: not link.up, within=5, what="the connection ends")
        await link.ready()
        assert await link.command("PING") == "PONG"


async def test_what_was_answered_before_the_server_hung_up_is_handed_out(redis_server: RedisServer):
    async with _linked(redis_server.url) as link:
        await link.ready()
        calls = [*[link.command("PING") for _ in range(8)], link.command("QUIT")]
        assert await asyncio.gather(*calls) == ["PONG"] * 8 + ["OK"]
        await link.ready()
        assert await link.command("PING") == "PONG"


async def test_a_word_that_cannot_be_sent_is_its_callers_fault_alone(redis_server: RedisServer):
    echo = Script("echo", "return {ARGV[2]}", "0" * 40)
    async with _linked(redis_server.url) as link:
        joined = link.joined(echo, "key")
        with pytest.raises(UnicodeEncodeError):
            await joined.call("\ud800")
        with pytest.raises(UnicodeEncodeError):
            await link.command("GET", "\ud800")
        assert await joined.call("said") == "said"
        assert link.up


@pytest.mark.parametrize("answer", ["{}", "nil", "{1, 2}"])
async def test_an_answer_of_another_batch_ends_the_connection_and_leaves_nobody_waiting(
    redis_server: RedisServer, answer: str
):
    async with _linked(redis_server.url) as link:
        with pytest.raises(RedisLost):
            await link.joined(Script("odd", f"return {answer}", "0" * 40), "key").call("word")
        await eventually(lambda: not link.up, within=5, what="the connection ends")
        await link.ready()
        assert await link.command("PING") == "PONG"


async def test_a_server_that_loads_its_data_ends_no_role(make_redis: MakeRedis, simulated: SimulatedEngine):
    server = make_redis(key_load_delay=2000, loading_process_events_interval_bytes=1024)
    simulated.add("web")
    async with worker_here(server.url, simulated), async_client(server) as client:
        view = RoomView(client, Keys())
        await client.mset({f"much:{number}": "x" * 100 for number in range(1500)})
        blocking = Blocking(server.url)
        assert await blocking.ask("PING") == "PONG"
        await client.save()
        server.kill()
        server.start(wait=False)

        async def loading() -> bool:
            try:
                await blocking.ask("GET", "much:1")
            except redis.exceptions.BusyLoadingError:
                return True
            except redis.exceptions.ConnectionError:
                pass  # it is not up yet
            return False

        await eventually(loading, within=10, what="the server says that it loads")
        await blocking.close()

        async def sent() -> str:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return await view.add("restart", "web")
            return ""

        command = await eventually(sent, within=20, what="the server answers")
        await view.becomes(command, within=20, status="succeeded")


async def test_a_waiting_read_is_made_anew_after_the_server_hung_up(
    redis_server: RedisServer, make_wire: MakeWire
):
    wire = await make_wire(redis_server)
    blocking = Blocking(wire.url)
    assert await blocking.ask("PING") == "PONG"
    waiting = asyncio.create_task(blocking.ask("BLPOP", "nothing", 0))
    await eventually(lambda: redis_server.admin.info("clients")["blocked_clients"], what="the read waits")
    await wire.cut()
    with pytest.raises(redis.exceptions.ConnectionError):
        await waiting
    assert await blocking.ask("PING") == "PONG"
    await wire.cut()  # while nobody asks

    async def answered() -> bool:
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return await blocking.ask("PING") == "PONG"
        return False

    await eventually(answered, within=5, what="it is connected again")
    with pytest.raises(redis.exceptions.ResponseError):
        await blocking.ask("LPUSH", "nothing")
    assert await blocking.ask("PING") == "PONG"
    await blocking.close()


async def test_a_process_that_stood_still_keeps_its_link(redis_server: RedisServer):
    """All timers are due at once then: the watch ends the connection while others are about to write."""
    async with _linked(redis_server.url, call_timeout=0.05) as link:
        load = _Load(link, pause=0.001)
        for _ in range(40):
            await load.goes_on()
            until = time.monotonic() + 0.08
            while time.monotonic() < until:
                pass
        await load.goes_on()
        await load.end()


async def test_a_lull_ends_with_the_last_answer(redis_server: RedisServer):
    async with _linked(redis_server.url) as link:
        await link.command("PING")
        ended = asyncio.Event()
        calls = [asyncio.ensure_future(link.command("INCR", "lulled")) for _ in range(3)]
        link.after_lull(60, ended.set)
        async with asyncio.timeout(5):
            assert await asyncio.gather(*calls) == [1, 2, 3]
            await ended.wait()


async def test_a_lull_in_which_nothing_is_answered_ends_by_itself(redis_server: RedisServer):
    async with _linked(redis_server.url) as link:
        await link.ready()
        began, ended = link.loop.time(), [asyncio.Event(), asyncio.Event()]
        for one in ended:
            link.after_lull(0.05, one.set)
        await asyncio.gather(*(one.wait() for one in ended))
        assert 0.04 < link.loop.time() - began < 5


async def test_a_greeting_that_is_refused_is_tried_again(redis_server: RedisServer):
    link = Link(redis_server.url, call_timeout=1.0)
    refusals = 3

    async def greet() -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise RoomRefused("a key holds what it should not")

    link.greet = greet
    run = asyncio.create_task(link.run())
    try:
        await link.ready()
        assert await link.command("PING") == "PONG"
        assert not run.done()
    finally:
        run.cancel()
        await asyncio.wait({run})


@pytest.mark.redis_versions(*VERSIONS)
async def test_a_script_refused_by_a_replica_is_no_verdict(redis_server: RedisServer, make_redis: MakeRedis):
    """Another server may take the place of one that became a replica, so calls are to be repeated."""
    replica = make_redis(redis_server.version, replicaof=redis_server)
    write = Script("write", "return redis.call('INCR', KEYS[1])", "0" * 40)
    async with _linked(replica.url) as link:
        with pytest.raises(RedisLost, match=r"READONLY|read only"):
            await link.call(write, "n")
        await asyncio.to_thread(replica.admin.replicaof, "NO", "ONE")
        assert await link.call(write, "n") == 1


async def test_a_server_at_work_on_another_script_is_no_verdict(make_redis: MakeRedis):
    server = make_redis(lua_time_limit=20)
    async with _linked(server.url, call_timeout=5.0) as link, async_client(server) as other:
        long = asyncio.create_task(other.eval("while true do end", 0))

        async def refused() -> bool:
            with pytest.raises(RedisLost, match="BUSY"):
                await link.command("GET", "n")
            return True

        await eventually(refused, what="the server says that it is busy")
        async with async_client(server) as killer:
            await killer.script_kill()
        with pytest.raises(redis.exceptions.ResponseError):
            await long
        assert await link.command("INCR", "n") == 1
