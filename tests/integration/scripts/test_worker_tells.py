"""What a real worker begins as JSON and the scripts number is, in the end, what the hashes hold."""

import json
from typing import Any

import pytest

from contracts.keys import Keys
from contracts.receipts import SETTLED
from tests.support.redis import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import worker_here
from worker.adapters.simulated.engine import SimulatedEngine

pytestmark = pytest.mark.redis_versions("7", "6.2")

KEYS = Keys()


def wire(value: object) -> str | None:
    """Return a JSON value as a hash has it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return None if value is None else str(value)


async def test_every_event_of_a_worker_is_what_the_hashes_hold(redis_server: RedisServer):
    admin: Any = redis_server.admin
    actions = ("stop", "stop", "start", "restart", "disable", "restart", "enable", "start", "stop", "restart")
    engine = SimulatedEngine()
    try:
        for name in ("a", "b", "c"):
            engine.add(name)
        async with worker_here(redis_server.url, engine):
            await eventually(lambda: admin.scard(KEYS.services) == 3)
            ids = [
                admin.xadd(KEYS.commands, {"action": action, "service": name, "issuer": 'q"', "timeout": "1"})
                for action in actions
                for name in ("a", "b", "c", "nobody")
            ]
            ids += [
                admin.xadd(
                    KEYS.commands, {"action": "restart", "service": "a", "coalesce": "1", "id": f"j{n}"}
                )
                and f"j{n}"
                for n in range(20)
            ]
            await eventually(
                lambda: all(admin.hget(KEYS.command(one), "status") in SETTLED for one in ids), within=20
            )
    finally:
        await engine.close()
    snapshots: dict[str, dict[str, Any]] = {}
    settled: set[str] = set()
    for _, fields in admin.xrange(KEYS.changes):
        event = json.loads(fields["event"])
        if event["type"].startswith("pointsman.service."):
            snapshots[event["subject"]] = event["data"]["service"]
            assert event["data"]["service"]["revision"] == int(event["revision"])
        elif event["type"] in {"pointsman.command.settled", "pointsman.command.dead"}:
            settled.add(event["subject"])
            held = admin.hgetall(KEYS.command(event["subject"]))
            for name, value in event["data"]["command"].items():
                assert held.get(name) == wire(value), (event["subject"], name)
    assert settled == set(ids)
    assert {admin.hget(KEYS.command(one), "code") for one in ids} >= {"200", "400", "404"}
    assert sum(admin.hexists(KEYS.command(f"j{n}"), "coalesced_into") for n in range(20)) > 0
    for name in ("a", "b", "c"):
        held = admin.hgetall(KEYS.service(name))
        told = snapshots[name]
        assert {key: wire(value) for key, value in told.items() if key != "observed_at"} == {
            key: held.get(key) for key in told if key != "observed_at"
        }
