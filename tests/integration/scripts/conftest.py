"""Rooms on a real server, the scripts called one by one."""

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer
from tests.support.scripts import Room, connect


@pytest.fixture
def bare(redis_server: RedisServer) -> Iterator[Room]:
    """Give an empty room that has no epoch yet."""
    with connect(redis_server) as client:
        yield Room(client)


@pytest.fixture
def room(bare: Room) -> Room:
    """Give an empty room with an epoch, its clock at START."""
    bare.epoch()
    return bare
