"""The way to a room: what both ways have in common, and the errors that only one of them has."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypedDict

from msgspec import Struct

from contracts.commands import Action
from contracts.errors import PointsmanError
from contracts.receipts import Receipt
from contracts.services import Snapshot
from subscriber import Change, Reset


class Asking(TypedDict, total=False):
    """What may be said with an action.

    `key`: the idempotency key; the same key with the same request is done once. `reason`: kept in
    receipt and events. `timeout`: stop grace in whole seconds. `expect_container_id` and
    `expect_started_at`: act only on this container, only on this run of it. `coalesce`: join the same
    action if it is queued last.
    """

    key: str | None
    reason: str | None
    timeout: int | None
    expect_container_id: str | None
    expect_started_at: str | None
    coalesce: bool


class Lost(Struct, frozen=True):
    """The way is cut; it is tried again."""

    detail: str


class Regained(Struct, frozen=True):
    """The way is there (again): what was missed comes, or a reset."""


class Link(Protocol):
    """A way to one room. Every method raises `contracts.errors` and the errors below, nothing foreign."""

    @property
    def address(self) -> str:
        """Return where the room is, without secrets."""

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return the services, by name."""

    async def ask(self, action: Action, service: str, wait: float, asking: Asking) -> Receipt:
        """Ask for an action and wait so many seconds; 0 does not wait.

        Raises the error that the receipt tells of, and WaitTimeout where the time was not enough.
        """

    def follow(self) -> AsyncIterator[Reset | Change | Lost | Regained]:
        """Follow the room without an end, over breaks of the way."""

    async def aclose(self) -> None:
        """Close the connections."""


class GatewayUnavailable(PointsmanError):
    """The gateway does not answer: {words}."""

    code = "gateway_unavailable"
    status = 503


class Unauthorized(PointsmanError):
    """The gateway asks for a token."""

    code = "unauthorized"
    status = 401


class Forbidden(PointsmanError):
    """The token does not allow that."""

    code = "forbidden"
    status = 403
