"""Errors as Problem Details (RFC 9457), with the contract's word as `code` and the sentence as `detail`."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from contracts.errors import MalformedRecord, PointsmanError, RedisUnavailable

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 writes it.

    `detail` is the sentence for people, `code` the word for machines. `missing` is what a token lacks;
    `command` the address of the command's receipt, where one was published.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    missing: str | None = None
    command: str | None = None


class Problem(Exception):
    """A request that is answered with an error.

    `missing` and `command` are those of `ProblemDetails`; `close` ends the connection after the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        missing: str | None = None,
        command: str | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.missing = missing
        self.command = command
        self.headers = dict(headers or {})
        if close:
            self.headers["connection"] = "close"

    def body(self) -> bytes:
        """Return the JSON."""
        return msgspec.json.encode(
            ProblemDetails(
                type=f"urn:pointsman:problem:{self.code}",
                title=self.code.replace("_", " ").capitalize(),
                status=self.status,
                detail=self.detail,
                code=self.code,
                missing=self.missing,
                command=self.command,
            )
        )

    def response(self) -> Response:
        """Return the answer."""
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: PointsmanError, command: str | None = None) -> Problem:
    """Return the answer that an error of ours gives; what only operators should read is left out."""
    headers: dict[str, Any] = {}
    detail = error.message
    if isinstance(error, RedisUnavailable):
        detail = "Redis is not available"
    elif isinstance(error, MalformedRecord):
        detail = "A record in Redis is not what the contract says"
    if error.status == 503:
        headers["retry-after"] = "2"
    return Problem(error.status, error.code, detail, command=command, headers=headers)
