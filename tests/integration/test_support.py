"""The servers and programs that other tests stand on do as they are told."""

import signal
import sys

import pytest
import redis.asyncio

from tests.support.processes import Programs
from tests.support.redis import VERSIONS, MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually, holds
from tests.support.wire import MakeWire


@pytest.mark.redis_versions(*VERSIONS)
async def test_a_shared_server_is_empty(redis_server: RedisServer, redis_client: redis.asyncio.Redis):
    assert await redis_client.dbsize() == 0
    await redis_client.set("left", "over")
    assert redis_server.admin.info("server")["redis_version"].startswith(redis_server.version)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_killed_server_comes_back_with_what_it_acknowledged(make_redis: MakeRedis, version: str):
    server = make_redis(version, appendonly=True, appendfsync="always")
    run_id = server.admin.info("server")["run_id"]
    server.admin.set("kept", "1")
    server.restart(kill=True)
    async with async_client(server) as client:
        assert await client.get("kept") == "1"
    assert server.admin.info("server")["run_id"] != run_id


async def test_a_frozen_server_answers_after_the_thaw(private_redis: RedisServer):
    async with async_client(private_redis, socket_timeout=0.05) as client:
        private_redis.freeze()
        with pytest.raises(redis.TimeoutError):
            await client.ping()
        private_redis.thaw()
    async with async_client(private_redis) as client:
        assert await client.ping()


async def test_a_replica_follows(make_redis: MakeRedis):
    leader = make_redis()
    replica = make_redis(replicaof=leader)
    leader.admin.set("a", "1")
    await eventually(lambda: replica.admin.get("a") == "1", what="the replica has the key")


async def test_a_full_server_refuses(make_redis: MakeRedis):
    server = make_redis(maxmemory="1mb")
    server.config_set(maxmemory="1")
    with pytest.raises(redis.OutOfMemoryError):
        server.admin.set("a", "1")


async def test_programs_are_signalled_and_heard(programs: Programs):
    code = "import signal; print('up'); signal.pause()"
    program = programs.start_command([sys.executable, "-c", code], name="sleeper")
    await program.says("up")
    program.freeze()
    program.terminate()
    await holds(lambda: program.running, during=0.05, what="a frozen program stays")
    program.thaw()
    finished = await program.ends()
    assert finished.code == -signal.SIGTERM
    assert finished.stdout == "up\n"


async def test_a_wait_that_runs_out_tells_what_it_saw():
    with pytest.raises(AssertionError, match=r"the sun rises: not within 0.05 s .* last look: 0"):
        await eventually(lambda: 0, within=0.05, what="the sun rises")


async def test_a_wire_loses_a_reply_and_not_the_request(make_wire: MakeWire, redis_server: RedisServer):
    wire = await make_wire(redis_server)
    async with async_client(redis_server, port=wire.port) as client:
        await client.ping()
        wire.lose_reply_to("INCR")
        with pytest.raises(redis.ConnectionError):
            await client.incr("n")
        assert await client.get("n") == "1"
    assert wire.lost == 1


async def test_a_blocked_wire_holds_and_a_severed_one_refuses(make_wire: MakeWire, redis_server: RedisServer):
    wire = await make_wire(redis_server)
    async with async_client(redis_server, port=wire.port, socket_timeout=0.05) as client:
        await client.ping()
        wire.block()
        with pytest.raises(redis.TimeoutError):
            await client.ping()
        wire.unblock()
        await client.ping()
        await wire.sever()
        with pytest.raises(redis.ConnectionError):
            await client.ping()
        await wire.mend()
        await client.ping()
