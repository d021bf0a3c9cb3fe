"""What commands do to the remembered state: when they begin, and when they have had their effect. Pure."""

from msgspec.structs import replace

from contracts.commands import SELF_HEAL, Action
from contracts.receipts import Receipt
from contracts.services import Desired, Snapshot
from worker.core.heal import drop_plan, fresh
from worker.core.look import Look, Missing, Present
from worker.core.project import project
from worker.core.state import Memo, ServiceState, run_of
from worker.core.words import tell


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
    """Return state as the engine is about to be called: `desired` first, so that the exit is no failure.

    A snapshot that is there keeps everything else: what is observed waits for the look after the call, so
    that a restart of a plain running container makes one change. A first snapshot is written whole.
    """
    if state.snapshot is None:
        snapshot, memo = project(state, service, look, now_ms=now_ms, observed_at=observed_at)
    else:
        snapshot, memo = state.snapshot, state.memo
    # The run that the evidence names does not count as a failure, whatever ends it.
    run = run_of(look.container)
    counted, ending = (run, memo.ending) if action is Action.START else (memo.counted, run)
    if receipt.issuer == SELF_HEAL:
        return snapshot, replace(memo, counted=counted, ending=ending)
    desired = Desired.STOPPED if action is Action.STOP else Desired.RUNNING
    if snapshot.desired is not desired:
        snapshot = replace(snapshot, desired=desired)
    snapshot, memo = drop_plan(snapshot, memo)
    return snapshot, replace(
        memo, counted=counted, ending=ending, settled_desire=True, commanded=True, lost=False
    )


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
        # Started by us: alive as far as counting goes, so that an exit already seen counts at the next look.
        memo = replace(memo, run=run_of(look.container), alive=action is not Action.STOP, clean_since_ms=0)
        if action is Action.RESTART and not heal:
            memo = fresh(memo)
    snapshot, memo = project(
        ServiceState(state.snapshot, memo, state.ver), service, look, now_ms=now_ms, observed_at=observed_at
    )
    if heal:
        snapshot = replace(snapshot, restart_scheduled_at=None)
    if not isinstance(look, Present):
        return snapshot, memo
    if done and action is Action.RESTART:
        snapshot = replace(
            snapshot,
            restart_count=snapshot.restart_count + 1,
            last_restart_at=look.container.started_at,
            failure_count=snapshot.failure_count if heal else 0,
        )
    elif not done and look.container.error:
        snapshot = replace(snapshot, last_start_error_at=observed_at)
    return snapshot, memo


def at_end_unseen(state: ServiceState, receipt: Receipt) -> tuple[Snapshot, Memo] | None:
    """Return state after a command that ends without a look: a heal is planned no more; None as it was."""
    snapshot, memo = state.snapshot, state.memo
    if receipt.issuer != SELF_HEAL or snapshot is None or memo.plan != receipt.id:
        return None
    if snapshot.restart_scheduled_at is None:
        return None
    return replace(snapshot, restart_scheduled_at=None), memo


def without_call(
    state: ServiceState, action: Action, service: str, look: Look | None, *, now_ms: int, observed_at: str
) -> tuple[Snapshot, Memo]:
    """Return state after a command that begins and settles without the engine."""
    snapshot, memo = state.snapshot, state.memo
    if snapshot is None:
        snapshot, memo = project(state, service, look or Missing(), now_ms=now_ms, observed_at=observed_at)
    match action:
        case Action.ENABLE:
            # What ended while it was disabled is no failure, even where the observer has yet to see it.
            alive = memo.alive and snapshot.enabled
            snapshot = replace(snapshot, enabled=True, desired=Desired.RUNNING, failure_count=0)
            memo = replace(fresh(memo), settled_desire=True, commanded=True, lost=False, alive=alive)
            return _told(*drop_plan(snapshot, memo))
        case Action.DISABLE:
            if not snapshot.enabled:
                return snapshot, replace(memo, lost=False)
            return _told(*drop_plan(replace(snapshot, enabled=False), replace(memo, lost=False)))
        case Action.START | Action.RESTART | Action.STOP:
            desired = Desired.STOPPED if action is Action.STOP else Desired.RUNNING
            memo = replace(memo, settled_desire=True, commanded=True, lost=False)
            snapshot, memo = drop_plan(replace(snapshot, desired=desired), memo)
            if look is None:
                return snapshot, memo
            # Why it runs or not may read otherwise now; told here, the observer's next look changes nothing.
            known = ServiceState(snapshot, memo, state.ver)
            return project(known, service, look, now_ms=now_ms, observed_at=observed_at)


def _told(snapshot: Snapshot, memo: Memo) -> tuple[Snapshot, Memo]:
    return tell(snapshot, memo), memo
