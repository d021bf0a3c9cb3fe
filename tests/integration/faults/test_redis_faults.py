"""Redis restarts, freezes, fills up, forgets: workers go on by themselves, and nothing acknowledged is lost."""

import time
from typing import Any

import pytest

from contracts.keys import GROUP, Keys
from tests.support.load import Load, MakeLoad
from tests.support.redis import VERSIONS, MakeRedis, RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.wire import MakeWire
from tests.support.workers import RoomView, worker_here
from worker.adapters.redis.room import script
from worker.adapters.simulated import SimulatedEngine


async def _passes(seconds: float) -> None:
    """Let the fault last."""
    until = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() >= until, within=seconds + 5, what="the fault lasts")


async def _exact(load: Load) -> None:
    """Nothing was lost, so each acknowledged restart happened once."""
    done = await load.account()
    assert load.starts() == done


async def test_a_restart_with_an_append_only_file_loses_and_repeats_nothing(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with load.view() as view:
            before = await view.epoch()
        for _ in range(2):
            private_redis.restart(kill=True)
            await load.goes_on()
        await _exact(load)
        async with load.view() as view:
            assert await view.epoch() != before
        assert load.told("epoch_made")


async def test_connections_killed_every_tenth_of_a_second_cost_no_command(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with async_client(private_redis) as killer:
            for _ in range(40):
                await killer.client_kill_filter(_type="normal", skipme=True)
                await _passes(0.1)
        await load.goes_on()
        await _exact(load)


async def test_lost_replies_cost_no_command_and_make_no_second_effect(
    private_redis: RedisServer, make_wire: MakeWire, make_load: MakeLoad
):
    wire = await make_wire(private_redis)
    async with make_load(private_redis, url=wire.url) as load:
        for _ in range(30):
            lost = wire.lost
            wire.lose_reply_to("EVALSHA")
            await eventually(lambda lost=lost: wire.lost > lost, what="a reply is lost")
            await _passes(0.05)
        await load.goes_on()
        await _exact(load)


@pytest.mark.parametrize("name", ["take", "begin", "settle", "renew"])
async def test_no_script_whose_reply_is_lost_is_carried_out_twice_or_not_at_all(
    private_redis: RedisServer, make_wire: MakeWire, make_load: MakeLoad, name: str
):
    wire = await make_wire(private_redis)
    async with make_load(private_redis, url=wire.url) as load:
        for one in load.services:
            load.engine.container(one).behaviour.stop_delay = 0.1
        for _ in range(8):
            lost = wire.lost
            wire.lose_reply_to(script(name).sha)
            await eventually(lambda lost=lost: wire.lost > lost, what="a reply is lost")
        await load.goes_on()
        await _exact(load)
        async with load.view() as view:
            for command in load.published:
                receipt = await view.receipt(command)
                assert receipt["attempt"] == "1", receipt


async def test_a_lane_that_came_with_a_lost_reply_does_not_wait_for_a_lease(
    private_redis: RedisServer, make_wire: MakeWire, simulated: SimulatedEngine, room: str
):
    wire = await make_wire(private_redis)
    for name in ("one", "two"):
        simulated.add(name, labels={"pointsman.room": room}, stop_delay=0.5)
    long = {"lease": 20, "margin": 30, "alive": 20, "capacity": 1}
    async with async_client(private_redis) as client, worker_here(wire.url, simulated, room=room, **long):
        view = RoomView(client, Keys(room))
        await view.settled(await view.add("restart", "one"))  # from here on Redis knows the scripts
        first = await view.add("restart", "one")
        await view.becomes(first, status="running")
        second = await view.add("restart", "two")
        wire.lose_reply_to(script("settle").sha)
        assert (await view.settled(second, within=8))["attempt"] == "1"
        assert wire.lost == 1
        assert (await view.settled(first))["attempt"] == "1"
        await view.rests()


async def test_a_freeze_longer_than_the_lease_costs_no_command(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        private_redis.freeze()
        await _passes(3.0)
        private_redis.thaw()
        await load.goes_on()
        await _exact(load)
        assert load.told("redis_lost")


async def test_a_script_cache_flushed_again_and_again_is_filled_again(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with async_client(private_redis) as client:
            for _ in range(20):
                await client.script_flush()
                await _passes(0.05)
        await load.goes_on()
        await _exact(load)


async def test_a_destroyed_group_is_made_again_in_a_new_epoch(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with load.view() as view:
            before = await view.epoch()
            for _ in range(3):
                await view.client.xgroup_destroy(load.keys.commands, GROUP)
                await load.goes_on()
            await _exact(load)
            assert await view.epoch() != before


async def test_a_deleted_stream_loses_only_what_nobody_had_read(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with load.view() as view:
            before = await view.epoch()
            for _ in range(3):
                await view.client.delete(load.keys.commands)
                await load.goes_on()
            receipts = await load.receipts()
            ends = {receipt["status"] for receipt in receipts.values()}
            assert ends <= {"succeeded", "dead"}
            for receipt in receipts.values():
                assert receipt["status"] == "succeeded" or receipt["error"] == "entry_lost", receipt
            done = sum(receipt["status"] == "succeeded" for receipt in receipts.values())
            assert load.starts().total() == done
            assert await view.epoch() != before


async def test_a_flushed_server_is_a_new_epoch_and_work_goes_on(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        async with load.view() as view:
            before = await view.epoch()
            await view.client.flushall()
            await load.goes_on()
            receipts = await load.receipts()
            assert await view.epoch() != before
        assert load.told("epoch_made")
        kept = {command: receipt for command, receipt in receipts.items() if receipt}
        assert {receipt["status"] for receipt in kept.values()} == {"succeeded"}
        assert load.starts().total() >= len(kept)


async def test_a_promoted_replica_with_lost_writes_is_a_new_epoch_and_work_goes_on(
    make_redis: MakeRedis, make_wire: MakeWire, make_load: MakeLoad
):
    leader = make_redis()
    replica = make_redis(replicaof=leader)
    wire = await make_wire(leader)
    async with make_load(leader, url=wire.url) as load:
        async with load.view() as view:
            before = await view.epoch()
        replica.admin.replicaof("NO", "ONE")  # from here on it misses what the leader acknowledges
        await load.goes_on()
        wire._target_port = replica.port
        load.server = replica
        leader.kill()
        await wire.cut()
        await load.goes_on()
        receipts = await load.receipts()
        async with load.view() as view:
            assert await view.epoch() != before
        assert load.told("epoch_made")
        lost = [command for command, receipt in receipts.items() if not receipt]
        kept = [receipt for receipt in receipts.values() if receipt]
        assert lost, "the replica was to have missed something"
        assert {receipt["status"] for receipt in kept} == {"succeeded"}
        assert load.starts().total() >= len(kept)


@pytest.mark.redis_versions(*VERSIONS)
async def test_a_leader_that_became_a_replica_is_left(
    redis_server: RedisServer, make_redis: MakeRedis, make_wire: MakeWire, make_load: MakeLoad
):
    """A planned failover: nothing is lost, and the old leader keeps the connections that it has."""
    old, new = make_redis(redis_server.version), make_redis(redis_server.version)
    new.admin.replicaof("127.0.0.1", str(old.port))
    wire = await make_wire(old)
    async with make_load(old, url=wire.url) as load:
        async with async_client(old) as one, async_client(new) as other:
            await one.client_pause(2000, all=False)  # no writes; replicas get the rest

            async def caught_up() -> bool:
                ahead = (await one.info("replication"))["master_repl_offset"]
                return (await other.info("replication"))["slave_repl_offset"] >= ahead

            await eventually(caught_up, what="the replica has all")
            await other.replicaof("NO", "ONE")
            await one.replicaof("127.0.0.1", new.port)
            wire._target_port = new.port
            load.server = new
            await one.client_unpause()
        await load.goes_on()
        await _exact(load)


async def test_out_of_memory_nothing_is_taken_and_what_runs_settles(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        for name in load.services:
            load.engine.container(name).behaviour.stop_delay = 1.0
        async with load.view() as view:
            await eventually(lambda: view.client.zcard(load.keys.leases), what="something runs")
            private_redis.config_set(maxmemory="1")
            await eventually(lambda: _nothing_runs(load), within=10, what="what runs settles")
            began = load.engine.journal[-1]
            await _passes(1.0)
            assert load.engine.journal[-1] is began, "something was begun out of memory"
            refusals = len(load.told("take_refused"))
            assert 0 < refusals < 30, "a refused take is tried again, but not in haste"
            for name in load.services:
                load.engine.container(name).behaviour.stop_delay = 0.02
            private_redis.config_set(maxmemory="0")
            await load.goes_on()
            await _exact(load)
            for command in load.published:
                assert (await view.receipt(command))["attempt"] == "1"


async def test_entries_that_cannot_be_taken_out_of_memory_are_not_asked_for_in_haste(
    private_redis: RedisServer, make_load: MakeLoad
):
    async with make_load(private_redis) as load:
        await load.account()
        async with load.view() as view:
            async with view.client.pipeline(transaction=True) as pipe:
                for name in load.services:
                    pipe.xadd(load.keys.commands, {"action": "restart", "service": name})
                pipe.config_set("maxmemory", "1")
                await pipe.execute()
            calls = await _calls(view.client)
            await _passes(2.0)
            assert await _calls(view.client) - calls < 100
            private_redis.config_set(maxmemory="0")
            await view.rests()


async def _calls(client: Any) -> int:
    return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def _nothing_runs(load: Load) -> bool:
    async with load.view() as view:
        running = [
            command
            for command in tuple(load.published)
            if (await view.receipt(command)).get("status") == "running"
        ]
    assert not running, running
    return True


async def test_a_restart_out_of_memory_is_outlived(private_redis: RedisServer, make_load: MakeLoad):
    async with make_load(private_redis) as load:
        private_redis.options["maxmemory"] = "1"
        private_redis.restart(kill=True)
        await _passes(2.0)
        private_redis.config_set(maxmemory="0")
        await load.goes_on()
        await _exact(load)


async def test_an_outage_of_redis_is_outlived(private_redis: RedisServer, make_load: MakeLoad):
    async with make_load(private_redis) as load:
        private_redis.kill()
        await _passes(3.0)
        private_redis.start()
        await load.goes_on()
        await _exact(load)
