"""Whether an engine call that may have been made had its effect, and what to do while that is not known. Pure."""

from dataclasses import dataclass

from contracts.commands import SHORT_ID, Action
from contracts.receipts import Receipt
from contracts.times import parse_ms
from worker.core.look import Clash, Look, Missing, Present


@dataclass(frozen=True, slots=True)
class Happened:
    """The effect is there."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet; the call may still be at work until `until_ms`."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """Not there, and grace and margin are over."""


@dataclass(frozen=True, slots=True)
class Void:
    """Another container has the name, or none, or several: the evidence says nothing, the guards decide anew."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another container has the name, and the command was meant for one container only."""


Judgement = Happened | Wait | Overdue | Void | Elsewhere


def has_evidence(receipt: Receipt) -> bool:
    """Say whether a begin stored what the container was before the call."""
    return receipt.before_container_id is not None and receipt.called_at is not None


def judge(
    receipt: Receipt, action: Action, look: Look, *, now_ms: int, grace: float, margin: float
) -> Judgement:
    """Compare a look with the evidence in the receipt. `grace` and `margin` are seconds, `now_ms` is Redis TIME."""
    match look:
        case Missing() | Clash():
            return Void()
        case Present(container=container):
            pass
    if container.id[:SHORT_ID] != (receipt.before_container_id or "")[:SHORT_ID]:
        if receipt.expect_container_id is not None:
            return Elsewhere()
        return _judge_other(action, container.started_at, _called_ms(receipt))
    if action is Action.STOP:
        if not container.running:
            return Happened()
    elif container.ever_started and container.started_at != (receipt.before_started_at or ""):
        return Happened()
    until = _called_ms(receipt) + int((grace + margin) * 1000)
    return Wait(until) if now_ms < until else Overdue()


def _called_ms(receipt: Receipt) -> int:
    return parse_ms(receipt.called_at or "1970-01-01T00:00:00Z")


def _judge_other(action: Action, started_at: str, called_ms: int) -> Judgement:
    """Another container: a restart or start is satisfied when that one started after the call."""
    if action is Action.STOP:
        return Void()
    try:
        return Happened() if parse_ms(started_at) >= called_ms else Void()
    except ValueError:
        return Void()
