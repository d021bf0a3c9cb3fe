"""The guards, in the contract's order: what a command may do, decided from what is known and seen. Pure."""

from dataclasses import dataclass

from contracts.commands import SELF_HEAL, SHORT_ID, Action
from contracts.errors import (
    ActionNotAllowed,
    AlreadyRunning,
    AlreadyStopped,
    AmbiguousService,
    PointsmanError,
    PreconditionFailed,
    ProtectedService,
    ServiceDisabled,
    ServiceNotFound,
)
from contracts.receipts import Receipt
from contracts.services import Desired, ServiceStatus, Snapshot
from worker.core.look import Clash, Look, Missing, Present
from worker.core.state import ServiceState

#: Actions that change only what is remembered; they run while no engine answers.
STATE_ONLY = frozenset({Action.ENABLE, Action.DISABLE})


@dataclass(frozen=True, slots=True)
class Reject:
    """The command is refused; `error` has code, status and message."""

    error: PointsmanError


@dataclass(frozen=True, slots=True)
class Finish:
    """The command needs no engine call; `changed` says whether anything differs afterwards."""

    changed: bool


@dataclass(frozen=True, slots=True)
class Act:
    """The engine is to be called on this container."""

    look: Present


Decision = Reject | Finish | Act


def decide(
    receipt: Receipt, action: Action, service: str, state: ServiceState, look: Look | None
) -> Decision:
    """Run the guards on a command that is not fenced, cancelled or expired; those the script judges.

    `look` is None for enable and disable, which go by the snapshot. A takeover's second look comes here
    too: what an earlier attempt already did is judged before, in `takeover`.
    """
    snapshot = state.snapshot
    if action in STATE_ONLY:
        if snapshot is None:
            return Reject(ServiceNotFound(service=service))
        if snapshot.reason == "ambiguous":
            return Reject(_ambiguous(service, snapshot.message or ""))
        return _guards(receipt, action, service, state, snapshot, None) or Finish(
            _differs(action, state, snapshot)
        )
    match look:
        case Clash(ids=ids):
            return Reject(_ambiguous(service, ", ".join(one[:SHORT_ID] for one in ids)))
        case Present():
            heal = _needs_no_healing(receipt, action, service, snapshot, look)
            return heal or _decide_present(receipt, action, service, state, look)
        case Missing() | None:
            return Reject(ServiceNotFound(service=service))


def _ambiguous(service: str, containers: str) -> AmbiguousService:
    return AmbiguousService(service=service, containers=containers)


def _needs_no_healing(
    receipt: Receipt, action: Action, service: str, snapshot: Snapshot | None, look: Present
) -> Reject | None:
    """Refuse a heal whose reason is gone: another container or run, disabled, stopped as desired, well again."""
    if receipt.issuer != SELF_HEAL:
        return None
    needless = (
        snapshot is None
        or not snapshot.enabled
        or snapshot.desired is not Desired.RUNNING
        or _expectation(receipt, service, look.container.id, look.container.started_at) is not None
        or (look.container.running if action is Action.START else not _sick(look, snapshot))
        or look.container.restarting
        or look.container.paused
    )
    return Reject(PreconditionFailed(f"Service '{service}' needs no healing")) if needless else None


def _sick(look: Present, snapshot: Snapshot) -> bool:
    """Say whether a running service still fails: by the engine's word, or by the probe's as the observer saw it."""
    if not look.container.running:
        return True
    if look.container.health != "none":
        return look.container.health == "unhealthy"
    return snapshot.status is ServiceStatus.UNHEALTHY


def _decide_present(
    receipt: Receipt, action: Action, service: str, state: ServiceState, look: Present
) -> Decision:
    snapshot = state.snapshot
    running = look.container.running
    desired = snapshot.desired if snapshot is not None else Desired.RUNNING
    heal = receipt.issuer == SELF_HEAL
    if action is Action.START and running and desired is Desired.RUNNING:
        return Reject(AlreadyRunning(service=service))
    if action is Action.STOP and not running and desired is Desired.STOPPED:
        return Reject(AlreadyStopped(service=service))
    refused = _guards(receipt, action, service, state, snapshot, look)
    if refused is not None:
        return refused
    if not heal and ((action is Action.START and running) or (action is Action.STOP and not running)):
        return Finish(changed=True)
    return Act(look)


def _guards(
    receipt: Receipt,
    action: Action,
    service: str,
    state: ServiceState,
    snapshot: Snapshot | None,
    look: Present | None,
) -> Reject | None:
    """Disabled, protected, action allowed, preconditions, in this order."""
    if action in {Action.RESTART, Action.START} and snapshot is not None and not snapshot.enabled:
        return Reject(ServiceDisabled(service=service))
    if look.protected if look is not None else state.memo.protected:
        return Reject(ProtectedService(service=service))
    allowed = look.labels.actions if look is not None else state.memo.actions
    if receipt.issuer != SELF_HEAL and allowed is not None and action.value not in allowed:
        return Reject(ActionNotAllowed(service=service, action=action.value))
    if look is not None:
        wrong = _expectation(receipt, service, look.container.id, look.container.started_at)
    else:
        wrong = _expectation(
            receipt,
            service,
            (snapshot and snapshot.container_id) or "",
            (snapshot and snapshot.started_at) or "",
        )
    return Reject(wrong) if wrong is not None else None


def _expectation(
    receipt: Receipt, service: str, container_id: str, started_at: str
) -> PreconditionFailed | None:
    expected = receipt.expect_container_id
    if expected is not None and expected[:SHORT_ID] != container_id[:SHORT_ID]:
        found = container_id[:SHORT_ID] or "no container"
        return PreconditionFailed(
            f"Service '{service}' is not on container {expected[:SHORT_ID]} but on {found}"
        )
    if receipt.expect_started_at is not None and receipt.expect_started_at != started_at:
        return PreconditionFailed(
            f"Service '{service}' is not on the run of {receipt.expect_started_at} "
            f"but on that of {started_at or 'none'}"
        )
    return None


def _differs(action: Action, state: ServiceState, snapshot: Snapshot) -> bool:
    if action is Action.DISABLE:
        return snapshot.enabled
    return (
        not snapshot.enabled
        or snapshot.desired is not Desired.RUNNING
        or snapshot.failure_count != 0
        or snapshot.restart_scheduled_at is not None
        or state.memo.exhausted
    )
