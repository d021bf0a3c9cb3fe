"""What must not be possible: through a real socket, as somebody would try it."""

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from gateway.tokens import ServicesScope, mint
from tests.support.gateway import Scene, Served, stream, take
from tests.support.waiting import eventually

SECRET = "a-secret-of-this-test-and-of-nothing-else"  # noqa: S105
BASE = "/api/system/services"
RESTART = f"POST {BASE}/rtdetr/restart HTTP/1.1\r\nHost: localhost\r\n"


async def raw(served: Served, *pieces: str | bytes, wait: float = 5) -> bytes:
    """Send bytes over a connection of our own; return all that comes until it is closed or quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    answer = b""
    try:
        async with asyncio.timeout(wait):
            for piece in pieces:
                writer.write(piece if isinstance(piece, bytes) else piece.encode())
                await writer.drain()
            while chunk := await reader.read(65_536):
                answer += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    finally:
        writer.close()
    return answer


async def room(scene: Scene, **settings: Any) -> Served:
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway(**settings)
    if "hs256_key" not in settings:
        await scene.known(served, "rtdetr")
    return served


def restarts(scene: Scene) -> int:
    """Count what happened to the container beyond its first start."""
    return len(scene.engine.effects("rtdetr", "start")) - 1


def bearer(
    subject: str = "alice", rooms: tuple[str, ...] = (), seconds: float = 60, **scope: Any
) -> dict[str, str]:
    """Return the header of a token."""
    token = mint(SECRET.encode(), subject=subject, rooms=rooms, scope=ServicesScope(**scope), seconds=seconds)
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "content-type": "text/plain"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "content-type": "application/x-www-form-urlencoded"},
        {"host": "rebound.example"},
        {"host": "rebound.example", "origin": "http://rebound.example"},
        {"x-forwarded-for": "203.0.113.9"},
    ],
)
async def test_no_page_of_another_site_restarts_anything(scene: Scene, headers: dict[str, str]):
    served = await room(scene)
    response = await served.act("rtdetr", "restart", headers=headers, content=b"a=b")
    assert response.status_code in {403, 421}
    assert response.headers["content-type"] == "application/problem+json"
    for path in ("/api/system/dlq/1-1/requeue", "/api/system/commands/x"):
        method = "DELETE" if "commands" in path else "POST"
        assert (await served.http.request(method, path, headers=headers)).status_code in {403, 421}
    assert restarts(scene) == 0
    if "host" in headers:
        assert (await served.http.get(BASE, headers=headers)).status_code == 421
        assert (await served.http.get("/healthz", headers=headers)).status_code == 421


async def test_a_preflight_gets_no_permission(scene: Scene):
    served = await room(scene)
    response = await served.http.options(
        f"{BASE}/rtdetr/restart",
        headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
    )
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x5\r\n\r\nhello",
        "Host: evil.example\r\nContent-Length: 0\r\n\r\n",
        "X-Bad : space\r\nContent-Length: 0\r\n\r\n",
        "X-Null: a\x00b\r\nContent-Length: 0\r\n\r\n",
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_smuggled_heads_are_refused_and_the_line_is_closed(scene: Scene, head: str):
    served = await room(scene)
    hidden = f"POST {BASE}/rtdetr/restart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    answer = await raw(served, RESTART + head + hidden)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1 ") == 1, "nothing behind it is answered"
    assert restarts(scene) == 0


async def test_a_body_above_the_limit_is_413_and_does_nothing(scene: Scene):
    served = await room(scene, max_body=1024)
    for options in (
        {"content": b'{"reason":"' + b"x" * 5000 + b'"}', "headers": {"content-type": "application/json"}},
        {"content": b"x" * 2_000_000},
    ):
        response = await served.act("rtdetr", "restart", **options)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    endless = await raw(
        served,
        RESTART + "Transfer-Encoding: chunked\r\n\r\n",
        *(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(16)),
    )
    assert endless.startswith(b"HTTP/1.1 413")
    assert restarts(scene) == 0


async def test_heads_are_bounded_in_size_and_time(scene: Scene):
    served = await room(scene, head_timeout=0.3, max_headers=2048)
    filler = "".join(f"X-{number}: {'y' * 80}\r\n" for number in range(30))
    assert (await raw(served, RESTART + filler + "\r\n")).startswith(b"HTTP/1.1 431")
    assert (await raw(served, RESTART + "X: " + "y" * 20_000)).startswith(b"HTTP/1.1 400")
    began = time.monotonic()
    assert await raw(served, "POST / HT") == b"", "a head that does not end"
    assert await raw(served) == b"", "a connection that says nothing"
    assert time.monotonic() - began < 5
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    await reader.readuntil(b'"ok"}')
    writer.write(b"GET /hea")  # a second head on the same line has its time too
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_body_that_does_not_come_is_408(scene: Scene):
    served = await room(scene, body_timeout=0.3)
    answer = await raw(served, RESTART + "Content-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408")
    assert restarts(scene) == 0


async def test_nonsense_is_a_problem_and_not_a_crash(scene: Scene):
    served = await room(scene)
    for nonsense in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        answer = await raw(served, nonsense)
        assert answer.startswith(b"HTTP/1.1 4")
        assert b"application/problem+json" in answer
    absolute = "GET http://evil.example/api/system/services HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert b" 404 " in await raw(served, absolute, wait=0.5)
    upgrade = await served.http.get(BASE, headers={"connection": "upgrade", "upgrade": "websocket"})
    assert upgrade.status_code == 200
    assert (await served.http.get("/healthz")).status_code == 200


async def test_who_asks_too_often_is_told_when(scene: Scene):
    served = await room(scene)
    paced = await scene.gateway(rate=5, burst=3)
    codes = [(await paced.http.get("/api/rooms")).status_code for _ in range(6)]
    assert (codes[:3], 429 in codes[3:]) == ([200, 200, 200], True)
    refused = await paced.http.post(f"{BASE}/rtdetr/restart")
    if refused.status_code == 429:
        assert int(refused.headers["retry-after"]) >= 1

    async def allowed() -> bool:
        return (await paced.http.get("/api/rooms")).status_code == 200

    await eventually(allowed)
    assert (await served.http.get("/api/rooms")).status_code == 200


async def test_with_a_key_nothing_is_done_without_a_token(scene: Scene):
    served = await room(scene, hs256_key=SECRET)
    for method, path in (
        ("GET", BASE),
        ("GET", f"{BASE}/events"),
        ("POST", f"{BASE}/rtdetr/restart"),
        ("GET", "/api/system/commands"),
        ("GET", "/api/system/dlq"),
        ("GET", "/api/system/room"),
        ("GET", "/api/rooms"),
    ):
        response = await served.http.request(method, path)
        assert (response.status_code, response.json()["missing"]) == (401, "token"), path
        assert response.headers["www-authenticate"].startswith("Bearer")
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await served.http.get(path)).status_code == 200
    assert restarts(scene) == 0


async def test_a_token_allows_what_it_says_and_its_subject_is_the_issuer(scene: Scene):
    scene.add("ai-one")
    served = await room(scene, hs256_key=SECRET)
    alice = bearer("alice", (scene.room,), list=True, restart=("rtdetr", "ai-*"))

    async def listed() -> bool:
        response = await served.http.get(BASE, headers=alice)
        return response.status_code == 200 and len(response.json()["services"]) == 2

    await eventually(listed, within=10)
    for name in ("rtdetr", "ai-one"):
        response = await served.act(name, "restart", headers=alice)
        assert response.status_code == 200
        receipt = await served.http.get(
            f"/api/system/commands/{response.headers['pointsman-command']}", headers=alice
        )
        assert receipt.json()["issuer"] == "alice"
    for action, missing in (("stop", "services.stop:rtdetr"), ("disable", "services.disable:rtdetr")):
        response = await served.act("rtdetr", action, headers=alice)
        assert (response.status_code, response.json()["missing"]) == (403, missing)
    assert (await served.act("other", "restart", headers=alice)).status_code == 403, (
        "not 404: names are not told"
    )
    other = await served.http.get("/api/rooms/elsewhere/services", headers=alice)
    assert (other.status_code, other.json()["missing"]) == (403, "room:elsewhere")
    assert (await served.http.get("/api/rooms", headers=alice)).json() == {"rooms": [scene.room]}
    assert (await served.http.get("/api/rooms", headers=bearer("bob", ("x",)))).json() == {"rooms": []}
    may = (await served.http.get("/api/system/room", headers=alice)).json()["may"]
    assert (may["subject"], may["restart"], may["stop"]) == ("alice", ["rtdetr", "ai-*"], [])


async def test_reading_acting_and_burying_are_granted_apart(scene: Scene):
    served = await room(scene, hs256_key=SECRET)
    reader = bearer("r", (scene.room,), list=True)
    actor = bearer("a", (scene.room,), restart=("*",))
    keeper = bearer("k", (scene.room,), list=True, dead_letters=True, restart=("rtdetr",))

    async def known() -> bool:
        return (await served.http.get(f"{BASE}/rtdetr", headers=reader)).status_code == 200

    await eventually(known, within=10)
    assert (await served.http.get(BASE, headers=actor)).json()["missing"] == "services.list"
    assert (await served.http.get(f"{BASE}/events", headers=actor)).status_code == 403
    assert (await served.act("rtdetr", "restart", headers=reader)).status_code == 403
    queued = await served.act(
        "rtdetr", "restart", headers=actor | {"idempotency-key": "k", "prefer": "wait=0"}
    )
    assert queued.status_code in {200, 202}
    cancel = await served.http.delete(
        f"/api/system/commands/{queued.headers['pointsman-command']}", headers=reader
    )
    assert cancel.json()["missing"] == "services.restart:rtdetr"
    for service in ("rtdetr", "secret"):
        scene.redis.admin.xadd(
            f"pointsman:{{{scene.room}}}:commands", {"action": "rstart", "service": service}
        )

    async def letters() -> list[Any]:
        found: list[Any] = (await served.http.get("/api/system/dlq", headers=reader)).json()["dead"]
        return found if len(found) == 2 else []

    second, first = await eventually(letters, within=10)
    still = await served.http.post(f"/api/system/dlq/{first['dead_id']}/requeue", headers=keeper)
    assert (still.status_code, still.json()["code"]) == (400, "invalid_command"), "no token would help"
    mend = {"set": {"action": "restart"}}
    address = f"/api/system/dlq/{first['dead_id']}"
    refused = await served.http.post(f"{address}/requeue", json=mend, headers=reader)
    assert refused.json()["missing"] == "services.dead_letters"
    assert (await served.http.delete(address, headers=reader)).status_code == 403
    foreign = await served.http.post(
        f"/api/system/dlq/{second['dead_id']}/requeue", json=mend, headers=keeper
    )
    assert foreign.json()["missing"] == "services.restart:secret"
    turned = await served.http.post(f"{address}/requeue", json={"set": {"action": "disable"}}, headers=keeper)
    assert turned.json()["missing"] == "services.disable:rtdetr"
    done = await served.http.post(f"{address}/requeue", json=mend, headers=keeper)
    assert (done.status_code, done.json()["issuer"]) == (202, "k")
    assert (await served.http.delete(address, headers=keeper)).status_code == 204


async def test_keys_of_two_callers_never_meet(scene: Scene):
    served = await room(scene, hs256_key=SECRET)
    tokens = [bearer(name, (scene.room,), disable=("*",), enable=("*",)) for name in ("a", "b")]
    answers = [
        await served.act("rtdetr", action, headers=token | {"idempotency-key": "same"})
        for token, action in zip(tokens, ("disable", "enable"), strict=True)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "idempotency-replayed" not in answers[1].headers


async def test_a_stream_ends_with_its_token(scene: Scene):
    served = await room(scene, hs256_key=SECRET, heartbeat=0.1)
    short = bearer("a", (scene.room,), seconds=2, list=True)
    payload = short["authorization"].split(".")[1]
    ends = json.loads(base64.urlsafe_b64decode(payload + "=="))["exp"]
    async with stream(served, **short) as events:
        await take(events, 1)
        async with asyncio.timeout(20):
            assert [event async for event in events]
    assert ends <= time.time() < ends + 5
    assert (
        await served.http.get(BASE, headers=bearer("a", (scene.room,), seconds=-60, list=True))
    ).status_code == 401


async def test_guessing_has_a_limit_too(scene: Scene):
    served = await scene.gateway(hs256_key=SECRET, rate=1, burst=5)
    codes = [
        (await served.http.get(BASE, headers={"authorization": f"Bearer guess-{number}"})).status_code
        for number in range(7)
    ]
    assert codes[:5] == [401] * 5
    assert codes[5:] == [429] * 2
