"""A Docker engine that is killed with restarts under way, and comes back."""

import asyncio
import time
from pathlib import Path

from contracts.keys import Keys
from tests.support.mortal import MortalEngine
from tests.support.redis import RedisServer, async_client
from tests.support.waiting import eventually
from tests.support.workers import RoomView, Workers


async def test_an_engine_killed_in_the_middle_of_restarts_does_each_once(
    redis_server: RedisServer, mortal_engine: MortalEngine, workers: Workers, room: str, tmp_path: Path
):
    """Each process writes down that it starts, so nothing that the engine forgets matters.

    All are killed in their stop. An engine that dies between starting a process and writing that down may
    come back not knowing of it, and refuses to start it again: that ends as `engine_error`, in its own words.
    """
    names = [f"s{number}" for number in range(4)]
    diaries = {name: tmp_path / name for name in names}
    for name, diary in diaries.items():
        diary.mkdir()
        await asyncio.to_thread(
            mortal_engine.running.run,
            name,
            labels={"pointsman.room": room},
            script="echo started >> /needs/starts",
            slow_term=3.0,
            network="none",
            needs=diary,
        )

    def starts(name: str) -> int:
        return len((diaries[name] / "starts").read_text().splitlines())

    async with async_client(redis_server) as client:
        view = RoomView(client, Keys(room))
        worker = workers.start(redis_server.url, mortal_engine.url, room=room, name="w", resync=2)
        for name in names:
            await view.knows(name)
        commands = {}
        for name in names[:3]:  # the kill meets each at another moment of its stop
            commands[name] = await view.add("restart", name, timeout=5)
            published = time.monotonic()
            await eventually(lambda since=published: time.monotonic() > since + 0.7, what="time passes")
        mortal_engine.kill()
        commands[names[3]] = await view.add("restart", names[3], timeout=5)
        await eventually(lambda: _engine_is(view, "unavailable"), within=10, what="the outage is told")
        statuses = {name: (await view.snapshot(name))["status"] for name in names}
        assert set(statuses.values()) <= {"running"}, statuses
        mortal_engine.revive()
        for command in commands.values():
            receipt = await view.settled(command, within=40)
            assert (receipt["status"], receipt["code"], receipt["attempt"]) == ("succeeded", "200", "1"), (
                receipt
            )
        await view.rests()
        await eventually(lambda: _engine_is(view, "available"), within=10, what="the return is told")
        for name in names:
            running = (await asyncio.to_thread(mortal_engine.running.inspect, name))["State"]
            assert running["Running"], name
            assert running["StartedAt"] == (await view.receipt(commands[name]))["after_started_at"]
            assert starts(name) == 2, name
        assert worker.running


async def _engine_is(view: RoomView, word: str) -> bool:
    return bool(await view.client.hget(view.keys.meta, "engine_status") == word)
