"""Redis rolls nothing back: a script that meets a broken key either writes nothing or works around it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from contracts.keys import Keys
from tests.integration.scripts.scene import CALLS, Scene, furnish
from tests.support.host import LOOPBACK
from tests.support.redis import RedisServer
from tests.support.scripts import SET, Room, connect

pytestmark = pytest.mark.redis_versions("7", "6.2")

LAST_STREAM_ID = "18446744073709551615-18446744073709551615"
BASE = Keys().base
SEQ = BASE + "seq"

#: What is one lane's or one command's: a step that is about the whole room goes around it;
#: all other keys make it refuse.
AROUND = ("lane:", "lease:", "state:", "service:", "joiners:", "command:", "worker:w2", "relook")


@dataclass
class Stage:
    """A scene that can be put back as it was, and the keys that each call touches."""

    scene: Scene
    dump: dict[str, bytes]
    raw: "redis.Redis"

    def restore(self) -> None:
        with self.raw.pipeline(transaction=False) as pipe:
            pipe.flushall()
            for name, value in self.dump.items():
                self.put(pipe, name, value)
            pipe.execute()

    @staticmethod
    def put(client: "redis.Redis", name: str, value: bytes) -> None:
        if value.startswith(SET):
            client.sadd(name, *value.removeprefix(SET).split())
        else:
            client.restore(name, 0, value)

    def keys_of(self, name: str) -> list[str]:
        """Return the keys of the room that the call touches, as MONITOR tells it."""
        self.restore()
        found: set[str] = set()
        with self.raw.monitor() as monitor:
            CALLS[name](self.scene)
            self.raw.ping()
            while (seen := monitor.next_command())["command"] != "PING":
                if seen["client_type"] == "lua":
                    found |= {word for word in seen["command"].split() if word.startswith(BASE)}
        self.restore()
        return sorted(found - {BASE + "events", BASE + "test-clock"})

    def refuses(self, name: str, key: str, damage: Callable[[Room, str], None]) -> bool:
        """Call into the damaged room, put it back; say whether an error came (then nothing was written)."""
        damage(self.scene.room, key)
        expected = self.dump | {key: self.scene.room.serialised(key)}
        try:
            CALLS[name](self.scene)
        except redis.ResponseError as error:
            found = self.scene.room.dump()
            written = {at for at in found.keys() | expected.keys() if found.get(at) != expected.get(at)}
            if key != SEQ:
                written.discard(SEQ)  # a number of the room's order may be used up: it says nothing
            if written:
                pytest.fail(f"{name} with a broken {key}: {error}; but it wrote {sorted(written)}")
            self.raw.delete(key)
            if key in self.dump:
                self.put(self.raw, key, self.dump[key])
            return True
        if key != BASE + "changes":
            self.scene.room.events()
        self.restore()
        return False


@pytest.fixture
def stage(redis_server: RedisServer) -> Iterator[Stage]:
    raw = redis.Redis(host=LOOPBACK, port=redis_server.port, protocol=2)
    with connect(redis_server) as client, raw:
        scene = furnish(Room(client))
        yield Stage(scene, scene.room.dump(), raw)


def wrong_type(room: Room, key: str) -> None:
    """Put something of another type where the key was."""
    held = room.client.type(key)
    room.client.delete(key)
    if held == "string" or key.endswith((":seq", ":looks")):
        room.client.rpush(key, "wrong")
    else:
        room.client.set(key, "wrong")


def rotten_values(room: Room, key: str) -> None:
    """Keep the type, spoil what is inside."""
    client = room.client
    match client.type(key):
        case "hash":
            client.hset(key, mapping=dict.fromkeys(client.hkeys(key), 'rot"ten'))
        case "zset":
            client.zadd(
                key, {'rot"ten': 1, "": 2, "rotten:ten": 3} | dict.fromkeys(client.zrange(key, 0, 0), 4)
            )
        case "string":
            client.set(key, "rotten")
        case "list":
            client.lpush(key, 'rot"ten', "")
        case "set":
            client.sadd(key, "rotten")
        case "stream":
            client.xadd(key, {"rotten": ""}, id=LAST_STREAM_ID)


def missing_fields(room: Room, key: str) -> None:
    """Leave one field of a hash, take away anything else."""
    if room.client.type(key) == "hash" and (fields := sorted(room.client.hkeys(key))):
        keep = "status" if "status" in fields else fields[0]
        room.client.hdel(key, *[name for name in fields if name != keep])
    else:
        room.client.delete(key)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_refused_before_anything_is_written(stage: Stage, name: str):
    keys = stage.keys_of(name)
    accepted = [key for key in keys if not stage.refuses(name, key, wrong_type)]
    assert [key for key in accepted if not key.removeprefix(BASE).startswith(AROUND)] == []


@pytest.mark.parametrize("damage", [rotten_values, missing_fields])
@pytest.mark.parametrize("name", CALLS)
def test_rotten_contents_are_refused_before_anything_is_written_or_gone_around(
    stage: Stage, name: str, damage: Callable[[Room, str], None]
):
    for key in stage.keys_of(name):
        stage.refuses(name, key, damage)
