"""Ten thousand services and five hundred readers, from the real program."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.host import free_port
from tests.support.processes import Programs
from tests.support.redis import RedisServer
from tests.support.roombook import RoomBook
from tests.support.waiting import eventually

SERVICES = 10_000
STREAMS = 500
CHANGES = 200
#: The promise, in seconds; a machine that is busy with other things gets a stretch.
P50 = 0.1


@pytest.fixture
async def served(redis_server: RedisServer, programs: Programs) -> AsyncIterator[tuple[RoomBook, str]]:
    """Give a room written by hand, with a worker that beats, and a gateway's address."""
    book = RoomBook(redis_server, "default")
    book.open()
    book.fill(SERVICES)
    port = free_port()
    async with book.served():
        program = programs.start("gateway", "run", "--port", str(port), "--redis-url", redis_server.url)
        await program.says("serving", within=30)
        yield book, f"http://127.0.0.1:{port}"
        assert (await program.stop(within=15)).code == 0


async def test_a_list_of_ten_thousand_takes_less_than_a_tenth_of_a_second(served: tuple[RoomBook, str]):
    _, url = served
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await eventually(ready, within=30)
        took: list[float] = []
        for _ in range(30):
            began = time.perf_counter()
            response = await http.get("/api/system/services")
            took.append(time.perf_counter() - began)
        body = response.json()
        assert len(body["services"]) == SERVICES
        assert sum(summary["total"] for summary in body["by_category"].values()) == SERVICES
        assert [s["name"] for s in body["services"]] == sorted(s["name"] for s in body["services"])
        print(f"{SERVICES} services: p50 {statistics.median(took) * 1000:.0f} ms")  # noqa: T201 -- shown with -s
        assert statistics.median(took) < P50, sorted(took)


async def test_five_hundred_streams_are_each_complete_and_in_order(served: tuple[RoomBook, str]):
    book, url = served
    port = int(url.rpartition(":")[2])
    begun = asyncio.Semaphore(0)

    async def read(number: int) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/system/services/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found: list[int] = []
        try:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            while len(found) <= CHANGES:
                line = await reader.readline()
                assert line, f"stream {number} ended after {len(found)}"
                if line.startswith(b"id: "):
                    found.append(int(line.rpartition(b"/")[2]))
                    if len(found) == 1:
                        begun.release()
        finally:
            writer.close()
        return found

    async with asyncio.timeout(90):
        readers = [asyncio.create_task(read(number)) for number in range(STREAMS)]
        for _ in range(STREAMS):
            await begun.acquire()
        names = sorted(book.snapshots)
        began = time.perf_counter()
        for start in range(0, CHANGES, 20):
            book.change_many((names[n], {"failure_count": n}) for n in range(start, start + 20))
            await asyncio.sleep(0)  # a turn of the loop, so that the readers take part meanwhile
        everything = await asyncio.gather(*readers)
        took = time.perf_counter() - began
    assert {tuple(found) for found in everything} == {tuple(range(CHANGES + 1))}
    print(f"{STREAMS} streams x {CHANGES} events in {took:.1f} s")  # noqa: T201 -- shown with -s
