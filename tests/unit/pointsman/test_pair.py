import subprocess
import sys

import pytest

from pointsman.pair import Pair

HEAVY = ("redis", "typer", "rich", "aiodocker", "pydantic", "worker", "publisher")


async def test_one_room_for_asking_and_reading():
    async with Pair("redis://localhost:1/0", room="edge", prefix="p", issuer="me") as room:
        assert room.keys == room.publisher.keys == room.subscriber.keys
        assert room.keys.commands == "p:{edge}:commands"
        assert room.publisher.issuer == "me"


@pytest.mark.parametrize(
    ("url", "room"),
    [
        ("redis://localhost", "Not A Room"),
        ("gopher://localhost", "default"),
        ("http://localhost:8000", "default"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(url: str, room: str):
    with pytest.raises(ValueError, match=r"room|URL"):
        Pair(url, room=room)


def test_importing_the_package_imports_nothing_that_costs():
    code = f"import sys, pointsman, pointsman.cli; print([m for m in {HEAVY} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert told.stdout == "[]\n"
