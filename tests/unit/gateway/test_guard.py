"""The outermost layer, one request at a time, without a socket."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from gateway.guard import Guard
from gateway.log import LibraryLog
from gateway.problems import Problem
from gateway.settings import GatewaySettings

Headers = Iterable[tuple[str, str]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size of the body."""
    try:
        body = await Request(scope, receive).body()
    except Problem as problem:
        await problem.response()(scope, receive, send)
        return
    await PlainTextResponse(str(len(body)))(scope, receive, send)


class Asked:
    """An answer of the guard."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def code(self) -> str:
        return str(msgspec.json.decode(self.body)["code"])

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


async def ask(
    headers: Headers = (("host", "localhost"),),
    *,
    method: str = "GET",
    client: str | None = "127.0.0.1",
    open_to_all: bool = False,
    chunks: Iterable[bytes] = (b"",),
    **settings: Any,
) -> Asked:
    """Send one request through a guard."""
    guard = Guard(echo, GatewaySettings(**settings), LibraryLog(), open_to_all=open_to_all)
    scope = {
        "type": "http",
        "method": method,
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": (client, 1) if client else None,
        "http_version": "1.1",
        "scheme": "http",
    }
    left = list(chunks)

    async def receive() -> Any:
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    asked = Asked()
    await guard(scope, receive, asked.send)
    return asked


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000", "localhost."]
)
async def test_our_own_names_are_hosts(host: str):
    assert (await ask([("host", host)])).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8000",
        "127.0.0.1.nip.io",
        "localhost@evil.example",
        "localhost:8000:80",
        "localhost:x",
        "192.168.0.7",
        "a" * 300,
        "[::1",
        "xn--localhst-4za",
    ],
)
@pytest.mark.parametrize("open_to_all", [True, False])
async def test_a_rebound_name_is_refused(host: str, open_to_all: bool):
    asked = await ask([("host", host)], open_to_all=open_to_all)
    assert (asked.status, asked.code) == (421, "unknown_host")
    assert asked.headers["connection"] == "close"


async def test_a_host_must_be_there_once():
    assert (await ask([])).status == 400
    assert (await ask([("host", "")])).status == 400
    assert (await ask([("host", "localhost"), ("host", "evil.example")])).status == 400


async def test_configured_hosts_are_ours():
    assert (await ask([("host", "ops.example")], hosts="ops.example, Other.example")).status == 200
    assert (await ask([("host", "other.example")], hosts="ops.example, Other.example")).status == 200
    assert (await ask([("host", "localhost")], hosts="ops.example")).status == 421
    assert (await ask([("host", "10.0.0.1")], host="10.0.0.1", open_to_all=True)).status == 200


def post(*headers: tuple[str, str], host: str = "localhost:8000") -> dict[str, Any]:
    return {"headers": [("host", host), *headers], "method": "POST"}


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8000",
        "HTTP://LOCALHOST:8000",
        "https://localhost:8000",
    ],
)
async def test_our_own_page_may_ask_for_changes(origin: str):
    assert (await ask(**post(("origin", origin)))).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://localhost:8000.evil.example",
        "http://localhost:8000@evil.example",
        "http://127.0.0.1:8000",
        "file://localhost:8000",
        "http://localhost:8000/path",
        "http://[::1",
        "http://localhost:99999",
        "",
        "chrome-extension://abcdef",
    ],
)
@pytest.mark.parametrize("open_to_all", [True, False])
async def test_another_sites_page_may_not(origin: str, open_to_all: bool):
    for method in ("POST", "DELETE", "PUT", "PATCH", "BREW"):
        given = post(("origin", origin)) | {"method": method}
        asked = await ask(**given, open_to_all=open_to_all)
        assert (asked.status, asked.code) == (403, "foreign_origin"), method


async def test_sec_fetch_site_speaks_where_no_origin_does():
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert (await ask(**post(("sec-fetch-site", site)))).status == status
    assert (await ask(**post())).status == 200, "curl sends neither"


async def test_a_default_port_is_the_same_site():
    assert (await ask(**post(("origin", "http://localhost"), host="localhost"))).status == 200
    assert (await ask(**post(("origin", "http://localhost"), host="localhost:80"))).status == 200
    assert (await ask(**post(("origin", "https://localhost"), host="localhost:80"))).status == 403


async def test_configured_origins_may_ask_for_changes():
    settings = {"origins": "https://ops.example, https://two.example/"}
    assert (await ask(**post(("origin", "https://ops.example")), **settings)).status == 200
    assert (await ask(**post(("origin", "https://two.example")), **settings)).status == 200
    assert (await ask(**post(("origin", "http://ops.example")), **settings)).status == 403


async def test_reading_is_left_to_the_browsers_own_rule():
    asked = await ask([("host", "localhost"), ("origin", "https://evil.example")])
    assert asked.status == 200
    assert not [name for name in asked.headers if name.startswith("access-control")]


@pytest.mark.parametrize("client", ["10.0.0.9", "::ffff:10.0.0.9", "2001:db8::1", None])
async def test_without_keys_only_this_machine_is_served(client: str | None):
    asked = await ask(client=client)
    assert (asked.status, msgspec.json.decode(asked.body)["missing"]) == (403, "key")
    assert (await ask(client=client, open_to_all=True)).status == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_is_served_without_keys_but_for_proxies(client: str):
    assert (await ask(client=client)).status == 200
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host"):
        assert (await ask([("host", "localhost"), (name, "127.0.0.1")], client=client)).status == 403


@pytest.mark.parametrize(
    "name", ["content-length", "authorization", "origin", "idempotency-key", "content-type", "last-event-id"]
)
async def test_headers_that_say_one_thing_stand_once(name: str):
    value = "0" if name == "content-length" else "http://localhost"
    asked = await ask([("host", "localhost"), (name, value), (name, value)])
    assert (asked.status, asked.headers["connection"]) == (400, "close")


async def test_two_lengths_of_one_body_are_smuggling():
    asked = await ask(**post(("content-length", "5"), ("transfer-encoding", "chunked")))
    assert asked.status == 400


async def test_a_head_that_is_too_large_is_431():
    asked = await ask([("host", "localhost"), ("x-filler", "y" * 2000)], max_headers=1024)
    assert (asked.status, asked.code) == (431, "headers_too_large")


async def test_a_body_that_is_too_large_is_413():
    limit = {"max_body": 1024}
    assert (await ask(**post(), chunks=[b"x" * 1024], **limit)).body == b"1024"
    for chunks in ([b"x" * 1025], [b"x" * 600] * 2, [b"x" * 1000] * 100):
        asked = await ask(**post(), chunks=chunks, **limit)
        assert (asked.status, asked.code) == (413, "body_too_large")
    huge = await ask(**post(("content-length", str(10**9))), chunks=[], **limit)
    assert (huge.status, huge.headers["connection"]) == (413, "close")


async def test_every_answer_has_the_headers_of_safety():
    for asked in (await ask(), await ask([("host", "evil.example")])):
        assert asked.headers["x-content-type-options"] == "nosniff"
        assert asked.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in asked.headers["content-security-policy"]
