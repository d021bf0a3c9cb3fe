"""What every request must pass before it is looked at: form, size, Host, Origin, and who may come at all."""

import asyncio
import time
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.lines import line_of
from gateway.log import Log
from gateway.problems import Problem
from gateway.settings import GatewaySettings, bare_host, is_loopback

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Headers that say one thing; two of them are a trick.
ONCE = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"authorization",
        b"origin",
        b"idempotency-key",
        b"last-event-id",
        b"sec-fetch-site",
    }
)
#: What a proxy adds: the caller is not on this machine then.
PROXIED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")
#: A body above the limit is read on for so many limits, so that the answer arrives; then the line is cut.
PATIENCE = 16
_DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """The outermost layer. `open_to_all`: there are keys, so that callers show who they are."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings, log: Log, *, open_to_all: bool) -> None:
        self._app = app
        self._settings = settings
        self._log = log
        self._open = open_to_all
        self._hosts = settings.host_names
        self._origins = settings.foreign_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        began = time.monotonic()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()))
            await self._send(scope, send, message)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, sending)
        else:
            await self._app(scope, self._limited(receive), sending)
        tell = self._log.debug if scope["method"] in SAFE else self._log.info
        tell(
            "request",
            "A request was answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            caller=scope["state"].get("caller"),
            ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _check(self, scope: Scope) -> None:
        """Raise what is wrong with the head of a request."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        size += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if size > self._settings.max_headers:
            raise Problem(
                431,
                "headers_too_large",
                f"The head of the request has {size} bytes, the limit is {self._settings.max_headers}",
                close=True,
            )
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in ONCE and name in found:
                raise Problem(400, "bad_request", f"The header {name.decode()} is given twice", close=True)
            found[name] = value
        if b"transfer-encoding" in found and b"content-length" in found:
            raise Problem(
                400, "bad_request", "Transfer-Encoding and Content-Length contradict each other", close=True
            )
        host = self._check_host(found.get(b"host"))
        self._check_caller(scope, found)
        if scope["method"] not in SAFE:
            self._check_origin(found, host)
        length = found.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._settings.max_body * PATIENCE:
            raise self._too_large()

    def _check_host(self, raw: bytes | None) -> str:
        """Return the Host, which must be one of our names: a rebound name is not."""
        host = (raw or b"").decode("latin-1").strip().lower()
        if not host:
            raise Problem(400, "bad_request", "The header Host is missing", missing="host", close=True)
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        elif not port.isdecimal():
            name = ""
        if bare_host(name) not in self._hosts:
            raise Problem(
                421,
                "unknown_host",
                f"Host {host[:200]!a} is not a name of this gateway: use {', '.join(sorted(self._hosts))}, "
                "or add it to POINTSMAN_GATEWAY_HOSTS",
                missing="host",
                close=True,
            )
        return host

    def _check_caller(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Without keys, serve this machine alone."""
        if self._open:
            return
        client = scope.get("client")
        proxied = next((name.decode() for name in PROXIED if name in headers), None)
        if proxied is None and client is not None and is_loopback(client[0]):
            return
        how = f"came through a proxy (header {proxied})" if proxied else "comes from another machine"
        raise Problem(
            403,
            "forbidden",
            f"No key is configured, so only this machine is served, and the request {how}: "
            "set POINTSMAN_GATEWAY_HS256_KEY or POINTSMAN_GATEWAY_EDDSA_KEY and send a token",
            missing="key",
            close=True,
        )

    def _check_origin(self, headers: dict[bytes, bytes], host: str) -> None:
        """Refuse a change that another site's page asks for."""
        origin = headers.get(b"origin")
        if origin is None:
            site = headers.get(b"sec-fetch-site", b"none")
            if site in {b"none", b"same-origin"}:
                return
            asked = f"a page of another site (Sec-Fetch-Site: {site[:40]!a})"
        else:
            text = origin.decode("latin-1").strip().lower()
            if text in self._origins or _same_site(text, host):
                return
            asked = f"a page of {text[:200]!a}"
        raise Problem(
            403, "foreign_origin", f"Changes are not taken from {asked}", missing="own origin", close=True
        )

    def _limited(self, receive: Receive) -> Receive:
        """Return a `receive` that bounds the body's size and the time that it takes."""
        limit = self._settings.max_body
        deadline = time.monotonic() + self._settings.body_timeout
        size = 0
        whole = False

        async def limited() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            while True:
                try:
                    async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                        message = await receive()
                except TimeoutError:
                    raise Problem(408, "body_timeout", "The body did not come in time", close=True) from None
                if message["type"] != "http.request":
                    whole = True
                    return message
                size += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if size <= limit:
                    return message
                if whole or size > limit * PATIENCE:
                    raise self._too_large()

        return limited

    def _too_large(self) -> Problem:
        return Problem(
            413, "body_too_large", f"The body is above {self._settings.max_body} bytes", close=True
        )

    async def _send(self, scope: Scope, send: Send, message: Message) -> None:
        """Send; cut the line to a client that does not take what it asked for."""
        try:
            async with asyncio.timeout(self._settings.send_timeout):
                await send(message)
        except TimeoutError:
            self._log.warning("reader_cut", "A client did not take its answer", path=scope["path"])
            if (line := line_of(scope)) is not None:
                line.cut()


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with those that every answer has; what is set stays."""
    there = {name.lower() for name, _ in headers}
    return [*headers, *((name, value) for name, value in _DEFAULTS if name not in there)]


def _same_site(origin: str, host: str) -> bool:
    """Say whether a page of `origin` was served under the Host that the request names, port and all."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or parts.path or parts.query:
        return False
    usual = 443 if parts.scheme == "https" else 80
    name, colon, given = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, given = host, str(usual)
    return bare_host(name) == bare_host(parts.hostname or "") and given == str(port or usual)
