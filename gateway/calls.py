"""One request on its way: who asks, in which room, and what every answer needs."""

import hashlib
import re
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import ID_PATTERN
from gateway.desk import Desk
from gateway.log import Log
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from gateway.tokens import Caller

#: Characters of an Idempotency-Key; what stands before it in the id needs the rest.
LONGEST_KEY = 100
_KEY = re.compile(ID_PATTERN)
_WAIT = re.compile(r"wait=\"?([0-9]{1,9})\"?")
_encode = msgspec.json.Encoder().encode

B = TypeVar("B", bound=BaseModel)


class Call:
    """A request whose caller is known and whose room is open."""

    def __init__(
        self, request: Request, desk: Desk, caller: Caller, settings: GatewaySettings, base: str, log: Log
    ) -> None:
        self.request = request
        self.desk = desk
        self.caller = caller
        self.settings = settings
        self.base = base
        self.log = log

    @property
    def room(self) -> str:
        """Return the room's name."""
        return self.desk.room

    def path(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """Return a parameter of the query. Raises 400 for one that is given twice."""
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise Problem(400, "bad_request", f"The parameter {name} is given twice: give it once")
        return values[0] if values else None

    def count(self, name: str, default: int, most: int) -> int:
        """Return a parameter of the query that counts, from 1 to `most`."""
        text = self.query(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
            raise Problem(400, "bad_request", f"The parameter {name} is a number from 1 to {most}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a parameter of the query that is true or false."""
        match self.query(name):
            case None | "false" | "0":
                return False
            case "true" | "1":
                return True
            case _:
                raise Problem(400, "bad_request", f"The parameter {name} is true or false")

    async def body(self, model: type[B]) -> B:
        """Return the body; an empty one says nothing. Raises 400 and 415."""
        raw = await self.request.body()
        if not raw:
            return model()
        kind = self.request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, "unsupported_media_type", "The body must be application/json")
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            detail = f"The body is not valid{f' at {where}' if where else ''}: {first['msg']}"
            raise Problem(400, "bad_request", detail) from error

    def wait(self) -> tuple[float, str | None]:
        """Return how long to wait for a receipt, and the preference that was followed."""
        asked: float | None = None
        for header in self.request.headers.getlist("prefer"):
            for preference in header.split(","):
                word = preference.partition(";")[0].strip().lower()
                found = _WAIT.fullmatch(word)
                if asked is None and (found or word == "respond-async"):  # RFC 7240: the first one counts
                    asked = float(found[1]) if found else 0.0
        if asked is None:
            return self.settings.wait, None
        seconds = min(asked, self.settings.max_wait)
        return seconds, f"wait={seconds:.0f}"

    def command_id(self) -> str | None:
        """Return the id that the Idempotency-Key stands for. Raises 400 for a key that cannot be one."""
        key = self.request.headers.get("idempotency-key")
        if key is None:
            return None
        if len(key) > LONGEST_KEY or not _KEY.fullmatch(key):
            raise Problem(
                400,
                "bad_request",
                f"The Idempotency-Key is 1 to {LONGEST_KEY} of A-Z, a-z, 0-9, '.', '_', ':', '/' and '-'",
            )
        return f"http/{hashlib.sha256(self.caller.key.encode()).hexdigest()[:12]}/{key}"

    def address(self, command_id: str) -> str:
        """Return the address of a command's receipt."""
        return f"{self.base}/commands/{quote(command_id, safe='/:')}"

    def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """Return an answer."""
        return Response(_encode(value), status, headers, "application/json")
