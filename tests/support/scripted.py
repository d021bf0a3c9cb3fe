"""A worker made of the scripts alone: no engine, no tasks, each step when the test says so."""

import itertools
import json
from typing import Any

import redis.asyncio

from contracts.keys import Keys
from contracts.scripts import Script, load

WINDOW_MS = 86_400_000
TTL_MS = 300_000
LEASE_MS = 10_000
ALIVE_MS = 10_000
MAX_ATTEMPTS = 5
OBSERVATION = '{"kind":"observation","command_id":null,"issuer":null,"reason":null}'


class ScriptedWorker:
    """Drive one room as a worker does, through the worker's own scripts.

    `client` answers in text. `open` makes the epoch; `take` returns what was granted as
    `(service, id, token)`; `begin` and `settle` move one granted command on; `observe` writes a snapshot.
    """

    def __init__(self, client: "redis.asyncio.Redis", keys: Keys, name: str = "w1") -> None:
        self.client = client
        self.keys = keys
        self.name = name
        self._numbers = itertools.count(1)
        self._looks = itertools.count(1_000_000)

    async def call(self, script: str, *arguments: object) -> Any:
        """Call a worker's script."""
        return await call_script(self.client, load("worker.adapters.redis", script), self.keys, *arguments)

    async def open(self, *, forced: bool = False) -> str:
        """Make the room's epoch if it has none (or `forced`), stand as its observer, and return the epoch."""
        epoch: str = (await self.call("epoch", f"{next(self._numbers):08x}", "", 0, int(forced)))[0]
        await self.call("observer", self.name, f"{self.name}:observer", 3_600_000, 1)
        return epoch

    async def beat(self, **fields: object) -> None:
        """Say that this worker is alive."""
        flat = [str(item) for pair in fields.items() for item in pair]
        await self.call("beat", self.name, self.name, ALIVE_MS, *flat)

    async def take(self, free: int = 100) -> list[tuple[str, str, str]]:
        """Read new entries and take up to `free` lanes."""
        token = f"{self.name}:{next(self._numbers)}"
        answer = await self.call(
            "take", self.name, self.name, token, free, 0, 1000, LEASE_MS, WINDOW_MS, TTL_MS, MAX_ATTEMPTS
        )
        return [(grant[0], grant[1], grant[2]) for grant in answer[6]]

    async def begin(self, grant: tuple[str, str, str]) -> Any:
        """Begin a granted command."""
        ver = await self.client.hget(f"{self.keys.state(grant[0])}", "ver") or "0"
        return await self.call("begin", *grant, LEASE_MS, WINDOW_MS, ver, "", OBSERVATION, 0)

    async def settle(self, grant: tuple[str, str, str], *, started: bool = True, **outcome: str) -> Any:
        """Settle a granted command, as succeeded unless `outcome` says otherwise."""
        service = grant[0]
        said = {"status": "succeeded", "code": "200", "message": f"Service '{service}' restart initiated"}
        flat = [item for pair in (said | outcome).items() for item in pair]
        return await self.call(
            "settle",
            *grant,
            WINDOW_MS,
            int(started),
            0,
            "0",
            "",
            OBSERVATION,
            0,
            self.name,
            self.name,
            "none",
            LEASE_MS,
            MAX_ATTEMPTS,
            len(flat),
            *flat,
        )

    async def work(self) -> list[str]:
        """Take all there is and settle it as succeeded; return the ids."""
        grants = await self.take()
        for grant in grants:
            await self.settle(grant)
        return [grant[1] for grant in grants]

    async def observe(self, service: str, status: str = "running", **fields: str) -> Any:
        """Write a snapshot of a service."""
        ver = await self.client.hget(f"{self.keys.state(service)}", "ver") or "0"
        said = {"status": status, "enabled": "1", "desired": "running", "category": "infrastructure"}
        said |= {"failure_count": "0", "restart_count": "0"} | fields
        flat = [item for pair in said.items() for item in pair]
        return await self.call(
            "observe",
            f"{self.name}:observer",
            service,
            next(self._looks),
            ver,
            "{}",
            OBSERVATION,
            0,
            0,
            *flat,
        )

    async def heartbeat(self) -> None:
        """Publish a heartbeat at the room's present revision."""
        epoch, revision = await self.client.hmget(self.keys.meta, "epoch", "revision")
        event = {
            "specversion": "1.0",
            "id": f"{epoch}/{revision}/hb/1",
            "source": f"/rooms/{self.keys.room}",
            "type": "pointsman.room.heartbeat",
            "time": "2026-01-01T00:00:00.000Z",
            "epoch": epoch,
            "revision": revision,
            "data": {},
        }
        await self.client.publish(self.keys.events, json.dumps(event))


async def call_script(client: "redis.asyncio.Redis", script: Script, keys: Keys, *arguments: object) -> Any:
    """Call a script on a room; loads it where Redis does not know it."""
    texts = [str(argument) for argument in arguments]
    try:
        return await client.evalsha(script.sha, 1, keys.commands, *texts)
    except redis.exceptions.NoScriptError:
        return await client.eval(script.text, 1, keys.commands, *texts)
