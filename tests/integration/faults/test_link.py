"""The one connection for scripts: whatever breaks it, callers get an answer or RedisLost; it comes back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import redis

from contracts.scripts import Script
from tests.support.redis import VERSIONS, MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.wire import MakeWire
from worker.adapters.redis.blocking import Blocking
from worker.adapters.redis.link import Link
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
