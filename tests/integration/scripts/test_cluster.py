"""A room lives in one slot, so that every script may touch all of its keys in a cluster too."""

import pytest
import redis

from contracts.keys import Keys
from tests.integration.scripts.scene import CALLS, furnish
from tests.support.redis import VERSIONS, MakeRedis
from tests.support.scripts import Room, connect
from tests.support.waiting import eventually_sync

SLOTS = 16_384


@pytest.mark.parametrize("version", VERSIONS)
def test_every_script_works_on_a_node_of_a_cluster(make_redis: MakeRedis, version: str):
    server = make_redis(version, cluster_enabled=True)
    with connect(server) as client:
        client.execute_command("CLUSTER ADDSLOTS", *range(SLOTS))
        eventually_sync(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        slot = client.execute_command("CLUSTER KEYSLOT", Keys().commands)
        for name, call in CALLS.items():
            client.flushall()
            try:
                call(furnish(Room(client)))
            except redis.ResponseError as error:
                raise AssertionError(name) from error
            keys = client.execute_command("CLUSTER GETKEYSINSLOT", slot, 10_000)
            assert len(keys) == client.dbsize() > 50
