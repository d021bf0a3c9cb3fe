"""The floor under a drain: what any worker that keeps the same records must at least do.

Per command the same script calls (its share of a take, a begin, a settle), and in them the same writes:
receipt, snapshot and private state as hashes, three events of the same sizes into a capped stream and on a
channel, the acknowledgement. No lanes, no leases, no checks, no decisions, no JSON made here, no answers
read. A task per command, 64 at once; a flusher sends whatever waits on one connection: as a pipeline of
redis-py, or with `--bare` straight through hiredis.
"""

import argparse
import asyncio
import collections
import json
import resource
import time
from pathlib import Path
from typing import Any, Protocol

import hiredis
from redis.asyncio import Redis

CAPACITY = 64
RECEIPT, SNAPSHOT, STATE, STREAM, GROUP, CHANGES, EVENTS = (
    *("floor:command:", "floor:service:", "floor:state:"),
    *("floor:commands", "floor", "floor:changes", "floor:events"),
)

TAKE = """
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], 'c1', 'COUNT', ARGV[2], 'STREAMS', KEYS[1], '>')
local out = {}
for _, entry in ipairs(reply and reply[1][2] or {}) do
  local fields = entry[2]
  redis.call('HSET', ARGV[3] .. fields[6], 'id', fields[6], 'entry', entry[1], 'action', fields[2], 'service',
    fields[4], 'expires_at', '2026-01-01T00:00:00.000Z', 'accepted_at', '2026-01-01T00:00:00.000Z',
    'duplicates', '0', 'status', 'queued')
  out[#out + 1] = {entry[1], fields[4], fields[6]}
end
return out
"""

BEGIN = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', '100000', '*', 'event', ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[1])
redis.call('HSET', ARGV[3], 'called_at', '2026-01-01T00:00:00.000Z', 'status', 'running', 'attempt', '1',
  'started_at', '2026-01-01T00:00:00.000Z', 'worker', 'c1', 'before_container_id', 'aaaaaaaaaaaa', 'before_started_at',
  '2026-01-01T00:00:00.000000000Z')
redis.call('HSET', ARGV[4], 'ver', '1', 'memo', ARGV[5], 'ticket', '1')
return 1
"""

SETTLE = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', '100000', '*', 'event', ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[1])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', '100000', '*', 'event', ARGV[6])
redis.call('PUBLISH', ARGV[2], ARGV[6])
redis.call('HSET', ARGV[7], 'restart_count', '1', 'last_restart_at', '2026-01-01T00:00:00.000Z',
  'started_at', '2026-01-01T00:00:00.000Z', 'observed_at', '2026-01-01T00:00:00.000Z', 'revision', '1', 'name', ARGV[8])
redis.call('HSET', ARGV[4], 'ver', '2', 'memo', ARGV[5], 'ticket', '2')
redis.call('HSET', ARGV[3], 'finished_at', '2026-01-01T00:00:00.000Z', 'lease', 'token', 'revision', '1',
  'started_at', '2026-01-01T00:00:00.000Z', 'status', 'succeeded', 'code', '200', 'message',
  'Service restart initiated', 'changed', '1', 'after_container_id', 'aaaaaaaaaaaa', 'after_started_at',
  '2026-01-01T00:00:00.000000000Z')
redis.call('PEXPIRE', ARGV[3], 86400000)
redis.call('XACK', KEYS[2], ARGV[9], ARGV[10])
redis.call('XDEL', KEYS[2], ARGV[10])
return 1
"""


class Asker(Protocol):
    """One connection that many ask at once."""

    def ask(self, *words: str | int) -> "asyncio.Future[Any]": ...


class PipelineFlusher:
    """redis-py's client: what waits goes out as one pipeline, and the next gathers meanwhile."""

    def __init__(self, host: str, port: int) -> None:
        self._client = Redis(host=host, port=port, decode_responses=True, protocol=2)
        self._waiting: list[tuple[tuple[str | int, ...], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._flush())

    def ask(self, *words: str | int) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((words, future))
        self._wake.set()
        return future

    async def _flush(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            pipeline = self._client.pipeline(transaction=False)
            for words, _ in batch:
                pipeline.execute_command(*words)
            for (_, future), answer in zip(batch, await pipeline.execute(raise_on_error=False), strict=True):
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


class Flusher(asyncio.Protocol):
    """One connection; what is asked for in one turn of the loop goes out as one write."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[asyncio.Future[Any]] = collections.deque()
        self._outbox: list[bytes] = []
        self._reader = hiredis.Reader(encoding="utf-8")

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            future = self._waiting.popleft()
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def ask(self, *words: str | int) -> "asyncio.Future[Any]":
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        batch, self._outbox = self._outbox, []
        self._transport.write(b"".join(batch))


class Floor:
    """Drains `count` commands and reports as a peer does."""

    def __init__(self, redis: Asker, args: argparse.Namespace, shas: list[str]) -> None:
        self._redis = redis
        self._count = args.count
        self._out = Path(args.out)
        self._take, self._begin, self._settle = shas
        started, changed, settled, memo = (int(size) for size in args.sizes.split(","))
        self._started, self._changed, self._settled, self._memo = (
            "s" * started,
            "c" * changed,
            "e" * settled,
            "m" * memo,
        )
        self._done = 0

    async def run(self) -> None:
        slots = asyncio.Semaphore(CAPACITY)
        tasks: set[asyncio.Task[None]] = set()
        began, cpu = 0.0, 0.0
        while self._done + len(tasks) < self._count:
            entries = await self._redis.ask("EVALSHA", self._take, 1, STREAM, GROUP, CAPACITY, RECEIPT)
            if not began:
                began, cpu = time.perf_counter(), _cpu()
            for entry in entries:
                await slots.acquire()
                task = asyncio.create_task(self._one(slots, *entry))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        wall, used = time.perf_counter() - began, _cpu() - cpu
        report = {"n": self._done, "wall_s": wall, "cpu_s": used, "rss_mib": peak}
        fresh = self._out.with_suffix(".fresh")
        fresh.write_text(json.dumps(report))
        fresh.replace(self._out)

    async def _one(self, slots: asyncio.Semaphore, entry: str, service: str, command: str) -> None:
        receipt, state = RECEIPT + command, STATE + service
        await self._redis.ask(
            *("EVALSHA", self._begin, 1, CHANGES, self._started, EVENTS, receipt, state, self._memo)
        )
        await self._redis.ask(
            *("EVALSHA", self._settle, 2, CHANGES, STREAM, self._settled, EVENTS, receipt, state, self._memo),
            *(self._changed, SNAPSHOT + service, service, GROUP, entry),
        )
        self._done += 1
        slots.release()


def _cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


async def serve(args: argparse.Namespace) -> None:
    redis: Asker
    if args.bare:
        loop = asyncio.get_running_loop()
        _, redis = await loop.create_connection(Flusher, args.host, args.port)
    else:
        redis = PipelineFlusher(args.host, args.port)
    shas = [str(await redis.ask("SCRIPT", "LOAD", text)) for text in (TAKE, BEGIN, SETTLE)]
    await Floor(redis, args, shas).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sizes", required=True, help="bytes: started, changed and settled event, memo")
    parser.add_argument("--bare", action="store_true", help="no redis-py between")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
