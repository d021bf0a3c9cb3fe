"""Probes asked over real sockets: what is ready, what is not, and one that hangs beside others that answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.clinic import Clinic
from tests.support.host import LOOPBACK, free_port
from tests.support.waiting import holds
from worker.adapters.probe import NetworkAsker
from worker.core.labels import Probe


class Houses:
    """Small servers on loopback. What each is asked is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, answer: str | None) -> int:
        """Serve this status line and return the port; None answers nothing."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            line = (await reader.readline()).decode().strip()
            if line:
                self.asked.append(line)
            if answer is not None:
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                writer.close()

        server = await asyncio.start_server(serve, LOOPBACK, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def houses() -> AsyncIterator[Houses]:
    made = Houses()
    yield made
    made.close()


@pytest.fixture
async def asker() -> AsyncIterator[NetworkAsker]:
    made = NetworkAsker(0.3)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("200 OK", None),
        ("204 No Content", None),
        ("299 Odd", None),
        ("302 Found\r\nLocation: /elsewhere", "HTTP 302"),
        ("404 Not Found", "HTTP 404"),
        ("503 Busy", "HTTP 503"),
        (None, "no answer within 0.3 s"),
    ],
)
async def test_any_2xx_is_ready_and_nothing_else(
    houses: Houses, asker: NetworkAsker, answer: str | None, why: str | None
) -> None:
    port = await houses.open(answer)
    assert await asker.ask(Probe("http", "", port, "/health?x=1"), ()) == why
    assert houses.asked == ["GET /health?x=1 HTTP/1.1"]


async def test_a_connection_that_opens_is_ready_and_one_that_is_refused_is_not(
    houses: Houses, asker: NetworkAsker
) -> None:
    port = await houses.open(None)
    assert await asker.ask(Probe("tcp", "", port), ()) is None
    refused = await asker.ask(Probe("tcp", "", free_port()), ())
    assert refused is not None
    assert "refused" in refused.lower() or "connect" in refused.lower()


async def test_the_containers_own_address_is_asked_unless_the_label_has_a_host(
    houses: Houses, asker: NetworkAsker
) -> None:
    port = await houses.open("200 OK")
    nobody = "127.0.0.2"
    assert await asker.ask(Probe("http", "", port, "/"), (LOOPBACK, nobody)) is None
    assert await asker.ask(Probe("http", LOOPBACK, port, "/"), (nobody,)) is None
    assert await asker.ask(Probe("http", "", port, "/"), (nobody,)) is not None


async def test_a_probe_that_hangs_fails_by_its_deadline_and_delays_no_other(
    clinic: Clinic, houses: Houses
) -> None:
    """Its deadline, its row of failures and how many are asked at once are settings."""
    well, hung = await houses.open("200 OK"), await houses.open(None)
    quick = {"probe_every": 0.1, "probe_again": 0.05, "probe_deadline": 0.2, "probe_failures": 2}
    left_alone = {"pointsman.self-heal": "false", "pointsman.grace": "0"}
    for n in range(3):
        clinic.add(f"hung{n}", labels=left_alone | {"pointsman.probe": f"http://:{hung}/health"})
        clinic.add(f"well{n}", labels=left_alone | {"pointsman.probe": f"http://:{well}/health"})
    async with clinic.worker(**quick, probes_at_once=4):
        for n in range(3):
            await clinic.becomes(f"well{n}", status="running", within=3)
        for n in range(3):
            one = await clinic.becomes(f"hung{n}", status="unhealthy", reason="probe_failed", within=3)
            assert one["message"] == "The probe fails: no answer within 0.2 s"
        await clinic.at_rest()
        at = await clinic.revision()
        await holds(lambda: clinic.is_at(at), during=0.6, what="nothing turns")
