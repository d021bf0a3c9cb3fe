"""The ledger: begin, settle, renew, hand back; each write fenced by its grant's token."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from contracts.codec import receipt_body
from contracts.commands import SELF_HEAL
from contracts.events import Cause, CauseKind
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Snapshot
from contracts.tables import Kind, kinds_of
from worker.adapters.redis.inbox import read_grants, read_state
from worker.adapters.redis.room import Room
from worker.adapters.redis.telling import Told, tell
from worker.core.delivery import BeginAnswer, Begun, Early, Ended, Fenced, Grant, SettleAnswer, Settled, Stale
from worker.core.state import Memo, ServiceState, differences, memo_to_text, split

#: What `settle.lua` is asked for: no lane, one with all that is known of its service, one without the snapshot.
NONE, WHOLE, ENOUGH = 0, 1, 2
#: What is no text in a receipt, and how to read it.
_TYPED: dict[str, Callable[[Any], object]] = {
    name: int if kind is Kind.INTEGER else "1".__eq__
    for name, kind in kinds_of(Receipt).items()
    if kind in {Kind.INTEGER, Kind.BOOLEAN}
}


def cause_of(grant: Grant) -> str:
    """Return the cause that a command's changes name, as JSON."""
    receipt = grant.receipt
    kind = CauseKind.SELF_HEAL if receipt.issuer == SELF_HEAL else CauseKind.COMMAND
    cause = Cause(kind=kind, command_id=grant.id, issuer=receipt.issuer, reason=receipt.reason)
    return msgspec.json.encode(cause).decode()


class RedisLedger:
    """`worker.ports.Ledger` on Redis."""

    def __init__(self, room: Room) -> None:
        self._room = room
        lease, window = int(room.limits.lease * 1000), int(room.limits.window * 1000)
        self._begin = room.joined("begin", window)
        self._settle = room.joined("settle", window, lease, room.name, room.instance)

    async def begin(
        self, grant: Grant, snapshot: Snapshot, memo: Memo, evidence: Mapping[str, str]
    ) -> BeginAnswer:
        """See `begin.lua`. Raises RedisLost, RoomRefused."""
        room, lease = self._room, self._room.limits.lease
        sent = room.clock.boot()
        prolong = grant.deadline - sent < lease / 2
        flat = differences(grant.state.snapshot, snapshot)
        sets, drops = split(flat)
        found = {name: text for name, text in evidence.items() if text}
        told = tell(grant.state.snapshot, snapshot, flat, cause_of(grant)) if flat else Told()
        body = b""
        if grant.receipt.status is ReceiptStatus.QUEUED:
            body = _body(
                grant.receipt, {"status": "running", "attempt": "1", "worker": room.name, **evidence}
            )
        answer = await room.run_joined(
            self._begin,
            grant.service,
            grant.id,
            grant.token,
            int(lease * 1000) if prolong else 0,
            grant.state.ver,
            memo_to_text(memo) if flat or memo != grant.state.memo else "",
            body,
            told.kind,
            told.body,
            told.rest,
            len(found) * 2 + 2,
            len(evidence) - len(found),
            len(sets),
            "worker",
            room.name,
            *_flat(found),
            *(name for name, text in evidence.items() if not text),
            *sets,
            *drops,
        )
        match answer[0]:
            case "ok":
                room.clock.saw(int(answer[1]))
                if not room.saw(room.epoch, int(answer[2])):
                    await room.ensure_epoch()
                if prolong:
                    grant.deadline = max(grant.deadline, sent + lease)
                return Begun(ver=answer[3], called_at=answer[4])
            case "stale":
                return Stale(read_state(answer[1], answer[2], answer[3]))
            case "ended":
                return Ended()
            case _:
                return Fenced()

    async def settle(
        self,
        grant: Grant,
        outcome: Mapping[str, str],
        change: tuple[Snapshot, Memo] | None,
        *,
        started: bool = False,
        overdue_only: bool = False,
        want: bool = False,
    ) -> SettleAnswer:
        """See `settle.lua`. Raises RedisLost, RoomRefused."""
        room, limits = self._room, self._room.limits
        sent = room.clock.boot()
        flat: list[str] = []
        told, memo = Told(), ""
        if change is not None:
            memo = memo_to_text(change[1])
            flat = differences(grant.state.snapshot, change[0])
            told = tell(grant.state.snapshot, change[0], flat, cause_of(grant)) if flat else told
        held = grant.receipt.status is ReceiptStatus.RUNNING  # the begin wrote whose it is
        begun = {"attempt": "1", "worker": room.name} if started else {}
        sets, drops = split(flat)
        outcome = {**begun, **{name: text for name, text in outcome.items() if text}}
        answer = await room.run_joined(
            self._settle,
            grant.service,
            grant.id,
            grant.token,
            _body(grant.receipt, {**begun, "status": "running"}) if started else "",
            int(overdue_only),
            grant.state.ver,
            memo,
            told.kind,
            told.body,
            told.rest,
            (ENOUGH if room.known.enough else WHOLE) if want else NONE,
            room.token(),
            _body(grant.receipt, {"worker": room.name, **outcome} if held else outcome),
            len(outcome) * 2,
            len(sets),
            *_flat(outcome),
            *sets,
            *drops,
        )
        match answer[0]:
            case "ok":
                room.clock.saw(int(answer[1]))
                if not room.saw(room.epoch, int(answer[2])):
                    await room.ensure_epoch()
                if change is not None:
                    room.known.keep(grant.service, ServiceState(*change, answer[3]), memo)
                grants = answer[4] and await read_grants(room, answer[4], sent + limits.lease)
                return Settled(grants[0] if grants else None)
            case "done":
                return Settled()
            case "stale":
                return Stale(read_state(answer[1], answer[2], answer[3]))
            case "ended":
                return Ended()
            case "early":
                return Early()
            case _:
                return Fenced()

    async def renew(self, grants: Sequence[Grant]) -> None:
        """See `renew.lua`. Raises RedisLost, RoomRefused."""
        if not grants:
            return
        sent = self._room.clock.boot()
        lease = self._room.limits.lease
        answer = await self._room.run("renew", int(lease * 1000), *_named(grants))
        self._room.clock.saw(int(answer[0]))
        for grant, held in zip(grants, answer[1:], strict=True):
            if held == "1":
                grant.deadline = max(grant.deadline, sent + lease)
            else:
                grant.lost = True

    async def hand_back(self, grants: Sequence[Grant], *, rest: float = 0) -> None:
        """See `handback.lua`. Raises RedisLost, RoomRefused."""
        if grants:
            await self._room.run("handback", int(rest * 1000), *_named(grants))

    async def reconcile(self, held: Callable[[], Sequence[Grant]]) -> None:
        """See `reconcile.lua`. Raises RedisLost, RoomRefused.

        The script is there before it is called: a call that went out a second time would free what was
        granted and begun in between.
        """
        await self._room.load("reconcile")
        await self._room.run("reconcile", self._room.instance, *(grant.token for grant in held()))


def _body(receipt: Receipt, facts: Mapping[str, str]) -> bytes:
    """Return the receipt with these facts, as the beginning of JSON; their text is the wire's."""
    typed: dict[str, object] = {
        name: (_TYPED[name](text) if name in _TYPED else text) if text else None
        for name, text in facts.items()
    }
    return receipt_body(receipt, **typed)


def _flat(facts: Mapping[str, str]) -> list[str]:
    return [item for pair in facts.items() for item in pair]


def _named(grants: Sequence[Grant]) -> list[Any]:
    return [item for grant in grants for item in (grant.service, grant.id, grant.token)]
