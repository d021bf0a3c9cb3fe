"""The way to a room through a gateway."""

import asyncio
import json
import math
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from contracts.codec import event_from_json
from contracts.commands import Action
from contracts.errors import (
    BY_CODE,
    CancelRefused,
    MalformedRecord,
    NoWorker,
    PointsmanError,
    RedisUnavailable,
    StreamFull,
    UnknownCommand,
    WaitTimeout,
)
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Snapshot
from pointsman.rooms.link import Asking, Forbidden, GatewayUnavailable, Link, Lost, Regained, Unauthorized
from subscriber import Change, Reset, ResetReason

#: Seconds for an answer beyond the wait that was asked for.
MARGIN = 15.0
#: Seconds of one request's wait; whatever is between may not let a longer one be.
TURN = 30.0
#: Seconds without a byte after which a stream counts as lost; the gateway's heartbeat comes every five.
SILENCE = 16.0
#: A request that the line has lost is sent again so often, with the same key.
TRIES = 4
LONGEST_PAUSE = 5.0

_ERRORS: dict[str, type[PointsmanError]] = BY_CODE | {
    error.code: error
    for error in (
        RedisUnavailable,
        NoWorker,
        StreamFull,
        UnknownCommand,
        CancelRefused,
        MalformedRecord,
        Unauthorized,
        Forbidden,
    )
}
# A room that was never served has no worker yet.
_ERRORS["room_not_found"] = NoWorker
#: What another try will not mend.
_FINAL = frozenset({400, 401, 403, 404, 405, 421})
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError)


class RemoteLink(Link):
    """Speak HTTP with a gateway, with a token where it asks for one."""

    def __init__(self, url: str, room: str, token: str | None) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url!r} names no gateway: write http://host:8000")
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._address = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        self._base = f"{self._address}/api/rooms/{room}"
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._opened: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """Return the gateway's address."""
        return self._address

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return the services, by name."""
        _, _, body = await self._request("GET", "/services?view=full")
        return [_snapshot(service) for service in _parsed(body)["services"]]

    async def ask(self, action: Action, service: str, wait: float, asking: Asking) -> Receipt:
        """Send the request, again with the same key where the line is lost, and wait."""
        said: dict[str, Any] = {name: value for name, value in asking.items() if name != "key" and value}
        if asking.get("timeout") == 0:
            said["timeout"] = 0
        key = asking.get("key") or str(uuid.uuid4())
        path = f"/services/{quote(service, safe='')}/{action}"
        ends = asyncio.get_running_loop().time() + wait
        while True:
            left = max(0.0, ends - asyncio.get_running_loop().time())
            headers = {"idempotency-key": key, "prefer": f"wait={math.ceil(min(left, TURN))}"}
            status, answered, body = await self._request(
                "POST", path, headers=headers, json=said or None, wait=min(left, TURN), repeated=True
            )
            # A repeat of a key waits on the same command: a long wait is made of several turns.
            if status != 202 or left <= TURN:
                break
        command_id = answered.get("pointsman-command", "")
        receipt = await self._receipt(command_id, action, service, status, body)
        if status == 202 and wait and not receipt.settled:
            error = WaitTimeout(id=command_id, seconds=f"{wait:g}")
            error.receipt = receipt
            raise error
        return receipt

    async def follow(self) -> AsyncIterator[Reset | Change | Lost | Regained]:
        """Read the stream of events; after a break go on behind the last one."""
        last: str | None = None
        failures = 0
        while True:
            try:
                async for event in self._stream(last):
                    match event:
                        case str():
                            failures = 0
                            yield Regained()
                        case (name, last_id, data):
                            last = last_id or last
                            if name == "reset":
                                yield _reset(data)
                            elif name != "heartbeat":
                                yield Change(event_from_json(data))
                detail = "the gateway ended the stream"
            except GatewayUnavailable as error:
                detail = error.message
            except PointsmanError as error:
                if error.status in _FINAL:
                    raise
                detail = error.message
            failures += 1
            yield Lost(detail)
            await asyncio.sleep(min(LONGEST_PAUSE, 0.1 * 2 ** min(failures - 1, 8)))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(headers=self._headers, cookie_jar=aiohttp.DummyCookieJar())
        return self._opened

    async def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        wait: float = 0.0,
        repeated: bool = False,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of an answer; raise the error that it tells of."""
        timeout = aiohttp.ClientTimeout(total=wait + MARGIN, connect=5)
        pause = 0.1
        for left in reversed(range(TRIES if repeated else 2)):
            try:
                async with self._session.request(
                    method, self._base + path, headers=headers, json=json, timeout=timeout
                ) as response:
                    body = await response.read()
                    break
            except _BROKEN as error:
                if not left:
                    raise GatewayUnavailable(words=str(error) or "no answer in time") from error
            await asyncio.sleep(pause)
            pause *= 3
        if response.status >= 400:
            raise _error(response.status, body)
        return response.status, response.headers, body

    async def _receipt(
        self, command_id: str, action: Action, service: str, status: int, body: bytes
    ) -> Receipt:
        """Return the receipt; a token that may act and not read gets what the answer told."""
        try:
            _, _, text = await self._request("GET", f"/commands/{quote(command_id, safe='/:')}")
            return msgspec.json.decode(text, type=Receipt)
        except (Forbidden, UnknownCommand):
            return Receipt(
                id=command_id,
                status=ReceiptStatus.SUCCEEDED if status == 200 else ReceiptStatus.QUEUED,
                action=action,
                service=service,
                code=200 if status == 200 else None,
                message=_parsed(body).get("message") if status == 200 else None,
            )

    async def _stream(self, last: str | None) -> AsyncIterator[str | tuple[str, str | None, bytes]]:
        """Give `open` once the stream is there, then (event, id, data) of each."""
        headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": last})
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=SILENCE)
        url = f"{self._base}/services/events?snapshots=true"
        try:
            async with self._session.get(url, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    raise _error(response.status, await response.read())
                yield "open"
                rest = b""
                async for piece in response.content.iter_any():
                    *whole, rest = (rest + piece).split(b"\n\n")
                    for block in whole:
                        if (event := _event(block)) is not None:
                            yield event
        except _BROKEN as error:
            raise GatewayUnavailable(words=str(error) or "silence") from error


def _event(block: bytes) -> tuple[str, str | None, bytes] | None:
    """Return one server-sent event; None for a comment or a retry."""
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    if b"data" not in fields:
        return None
    event_id = fields.get(b"id")
    return (
        fields.get(b"event", b"message").decode(),
        None if event_id is None else event_id.decode(),
        fields[b"data"],
    )


def _reset(data: bytes) -> Reset:
    notice = _parsed(data)
    try:
        reason = ResetReason(notice["reason"])
    except ValueError:
        reason = ResetReason.TRIMMED  # the gateway's own words for it: what comes next is not to be had
    return Reset(
        snapshots=tuple(_snapshot(service) for service in notice.get("services", ())),
        epoch=notice["epoch"],
        revision=notice["revision"],
        reason=reason,
    )


def _snapshot(service: Any) -> Snapshot:
    try:
        return msgspec.convert(service, Snapshot)
    except msgspec.ValidationError as error:
        raise MalformedRecord(f"the gateway's answer is not a service: {error}") from error


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise MalformedRecord(f"the gateway's answer is no JSON: {error}") from error


def _error(status: int, body: bytes) -> PointsmanError:
    """Return the error that an answer tells of: the contract's where it has one of its words."""
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "error", f"The gateway answered {status}"
    kind = _ERRORS.get(code, PointsmanError)
    error = kind(detail)
    if kind is PointsmanError:
        error.code, error.status = code, status
    return error
