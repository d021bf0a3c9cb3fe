"""What commands do to the remembered state: when they begin, and when they have had their effect. Pure."""

from contracts.commands import SELF_HEAL, Action
from contracts.receipts import Receipt
from contracts.services import Desired, ServiceStatus, Snapshot
from msgspec.structs import replace

from worker.core.look import Look, Missing, Present
from worker.core.project import project, remembered_status
from worker.core.state import Memo, ServiceState, run_of


def at_begin(
    state: ServiceState,
    receipt: Receipt,
    action: Action,
    service: str,
    look: Present,
    *,
    now_ms: int,
    observed_at: str,
) -> tuple[Snapshot, Memo]:
    """Return state as the engine is about to be called: `desired` first, so that the exit it causes is no failure.

    A snapshot that is there keeps everything else: what is observed waits for the look after the call, so
    that a restart of a plain running container makes one change. A first snapshot is written whole.
    """
    if state.snapshot is None:
        snapshot, memo = project(state, service, look, now_ms=now_ms, observed_at=observed_at)
    else:
        snapshot, memo = state.snapshot, state.memo
    memo = replace(memo, ending=run_of(look.container) if action is not Action.START else memo.ending)
    if receipt.issuer == SELF_HEAL:
        return snapshot, memo
    desired = Desired.STOPPED if action is Action.STOP else Desired.RUNNING
    snapshot = replace(snapshot, desired=desired, restart_scheduled_at=None)
    return snapshot, replace(memo, settled_desire=True)


def at_settle(
    state: ServiceState,
    receipt: Receipt,
    action: Action,
    service: str,
    look: Look,
    *,
    done: bool,
    now_ms: int,
    observed_at: str,
) -> tuple[Snapshot, Memo]:
    """Return state after the look that ends an engine command; `done` says whether the effect was seen."""
    heal = receipt.issuer == SELF_HEAL
    memo = state.memo
    if done and isinstance(look, Present):
        if action is Action.STOP:
            memo = replace(memo, run=run_of(look.container), alive=False, clean_since_ms=0)
        else:
            # Started by us: alive as far as counting goes, so that an exit already seen counts at the next look.
            memo = replace(memo, run=run_of(look.container), alive=True, clean_since_ms=now_ms)
            if not heal:
                memo = _fresh(memo) if action is Action.RESTART else memo
    snapshot, memo = project(
        ServiceState(state.snapshot, memo, state.ver), service, look, now_ms=now_ms, observed_at=observed_at
    )
    if heal:
        snapshot = replace(snapshot, restart_scheduled_at=None)
    if done and action is Action.RESTART and isinstance(look, Present):
        snapshot = replace(
            snapshot,
            restart_count=snapshot.restart_count + 1,
            last_restart_at=look.container.started_at,
            failure_count=snapshot.failure_count if heal else 0,
        )
    return snapshot, memo


def without_call(
    state: ServiceState, action: Action, service: str, look: Look | None, *, now_ms: int, observed_at: str
) -> tuple[Snapshot, Memo]:
    """Return state after a command that begins and settles without the engine."""
    snapshot, memo = state.snapshot, state.memo
    if snapshot is None:
        snapshot, memo = project(state, service, look or Missing(), now_ms=now_ms, observed_at=observed_at)
    match action:
        case Action.ENABLE:
            snapshot = replace(
                snapshot, enabled=True, desired=Desired.RUNNING, failure_count=0, restart_scheduled_at=None
            )
            if snapshot.status is ServiceStatus.DISABLED:
                status, reason, message = remembered_status(snapshot)
                snapshot = replace(snapshot, status=status, reason=reason, message=message)
            memo = replace(_fresh(memo), settled_desire=True, lost=False)
        case Action.DISABLE:
            snapshot = replace(
                snapshot,
                enabled=False,
                status=ServiceStatus.DISABLED,
                reason="disabled",
                message=f"Disabled; the container is {snapshot.container_state or 'not there'}",
                restart_scheduled_at=None,
            )
            return snapshot, replace(memo, lost=False)
        case Action.START | Action.RESTART:
            snapshot = replace(snapshot, desired=Desired.RUNNING, restart_scheduled_at=None)
            memo = replace(memo, settled_desire=True)
        case Action.STOP:
            snapshot = replace(snapshot, desired=Desired.STOPPED, restart_scheduled_at=None)
            memo = replace(memo, settled_desire=True)
    return snapshot, memo


def _fresh(memo: Memo) -> Memo:
    """Forget what healing counted."""
    return replace(memo, attempts=0, last_attempt_ms=0, exhausted=False, turns_ms=())
