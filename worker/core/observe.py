"""One look at one service: the projection, the failures it shows, the heal it asks for. Pure."""

from dataclasses import dataclass

from msgspec.structs import replace

from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot
from worker.core.count import count_exits, count_sickness, note_unseen_end
from worker.core.heal import (
    close_heal,
    drop_plan,
    exhaust,
    forget_after_clean_run,
    heal_action,
    keep_clean,
    note_turns,
    plan,
    planned_for,
)
from worker.core.look import Ended, Look, Present, Verdict
from worker.core.policy import Policy
from worker.core.project import project
from worker.core.state import Memo, ServiceState, run_of
from worker.core.words import tell


@dataclass(frozen=True, slots=True)
class Observation:
    """What a look made of a service; `exhausted` says that the budget ran out with it.

    `look_again_ms` is when time alone will change the answer (a grace ends, a run has been clean long
    enough), None when only an event can.
    """

    snapshot: Snapshot
    memo: Memo
    exhausted: bool = False
    look_again_ms: int | None = None


def observe(
    state: ServiceState,
    name: str,
    look: Look,
    policy: Policy,
    *,
    now_ms: int,
    observed_at: str,
    jitter: float,
    verdict: Verdict | None = None,
    ended: Ended | None = None,
    heal: Receipt | None = None,
    waits_for: str | None = None,
) -> Observation:
    """Return the service after a look.

    `verdict` is the probe's, `ended` how the engine said that the last run's process ended, `heal` the
    receipt of the planned heal once that has settled, `waits_for` a needed service that is not well.
    """
    before, old = state.snapshot, state.memo
    snapshot, memo = project(state, name, look, now_ms=now_ms, observed_at=observed_at, verdict=verdict)
    watched = snapshot.enabled and snapshot.desired is Desired.RUNNING
    past_grace, grace_ends_ms = _grace(look, memo, policy, now_ms)

    exits, memo = count_exits(before, old, memo, look)
    turns, memo = count_sickness(memo, look, past_grace=past_grace)
    snapshot = note_unseen_end(snapshot, old, look, ended)
    bad_heal = False
    if heal is not None and heal.id == memo.plan:
        bad_heal = heal.status in {ReceiptStatus.FAILED, ReceiptStatus.DEAD}
        snapshot, memo = close_heal(snapshot, memo, heal, now_ms)
    if watched and (exits or turns or bad_heal):
        failures = snapshot.failure_count + exits + turns + bad_heal
        snapshot = replace(snapshot, failure_count=failures)
        memo = note_turns(memo, exits + turns, now_ms)

    broken = bool(exits or turns) or memo.run != old.run
    memo = keep_clean(memo, now_ms, broken=broken)
    exhausted = False
    if isinstance(look, Present):
        snapshot, memo = forget_after_clean_run(snapshot, memo, policy, now_ms)
        snapshot, memo, exhausted = exhaust(snapshot, memo, look, policy)
    snapshot, memo = _plan(snapshot, memo, name, look, policy, past_grace, now_ms, jitter)
    snapshot = _steady_message(before, tell(snapshot, memo, look, waits_for=waits_for))
    return Observation(snapshot, memo, exhausted, _next_look(snapshot, memo, policy, grace_ends_ms, now_ms))


def _grace(look: Look, memo: Memo, policy: Policy, now_ms: int) -> tuple[bool, int | None]:
    """Say whether the start grace is over, and when it will be; a run that was ready once has none left."""
    if not isinstance(look, Present) or not look.container.running or memo.began is None:
        return True, None
    if memo.ready == run_of(look.container):
        return True, None
    ends = memo.began[1] + int(policy.grace * 1000)
    return (True, None) if now_ms >= ends else (False, ends)


def _plan(
    snapshot: Snapshot,
    memo: Memo,
    name: str,
    look: Look,
    policy: Policy,
    past_grace: bool,
    now_ms: int,
    jitter: float,
) -> tuple[Snapshot, Memo]:
    """Keep, make or drop the plan of the next heal."""
    action = heal_action(snapshot, memo, look, policy, past_grace=past_grace)
    if action is None or not isinstance(look, Present):
        if snapshot.restart_scheduled_at is None and memo.plan is None:
            return snapshot, memo
        return drop_plan(snapshot, memo)
    if snapshot.restart_scheduled_at is not None and planned_for(memo, name, look):
        return snapshot, memo
    return plan(snapshot, memo, name, look, policy, now_ms=now_ms, jitter=jitter)


def _steady_message(before: Snapshot | None, after: Snapshot) -> Snapshot:
    """Keep the sentence while status, health, reason and exit are the same: it may quote what moves."""
    if before is None or after.message is None or before.message is None:
        return after
    same = all(
        getattr(before, field) == getattr(after, field)
        for field in ("status", "health", "reason", "last_exit_code", "last_exit_at")
    )
    return replace(after, message=before.message) if same else after


def _next_look(
    snapshot: Snapshot, memo: Memo, policy: Policy, grace_ends_ms: int | None, now_ms: int
) -> int | None:
    times: list[int] = []
    if grace_ends_ms is not None and snapshot.status in {ServiceStatus.STARTING, ServiceStatus.UNHEALTHY}:
        times.append(grace_ends_ms)
    counted = snapshot.failure_count > 0 or memo.attempts > 0 or memo.exhausted or memo.flapping
    if memo.clean_since_ms and counted and snapshot.enabled:
        times.append(memo.clean_since_ms + int(policy.clean_run * 1000))
    later = [at for at in times if at > now_ms]
    return min(later) if later else None
