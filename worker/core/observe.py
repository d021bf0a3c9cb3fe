"""One look at one service: the projection, the failures it shows, the heal it asks for. Pure."""

from dataclasses import dataclass

from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Desired, ServiceStatus, Snapshot
from contracts.times import parse_ms
from msgspec.structs import replace

from worker.core.heal import (
    FLAPPING,
    drop_plan,
    forget_after_clean_run,
    heal_action,
    note_turn,
    plan,
)
from worker.core.look import Look, Present
from worker.core.policy import Policy
from worker.core.project import project
from worker.core.state import Memo, ServiceState, run_of


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
    probe: bool | None = None,
    heal: Receipt | None = None,
) -> Observation:
    """Return the service after a look. `heal` is the receipt of the planned heal, once that has settled."""
    before = state.snapshot
    snapshot, memo = project(state, name, look, now_ms=now_ms, observed_at=observed_at, probe=probe)
    watched = snapshot.enabled and snapshot.desired is Desired.RUNNING
    past_grace, grace_ends_ms = _grace(look, memo, policy, now_ms)

    failures, memo = _count_exit(state.memo, memo, look, watched=watched)
    sick, memo = _count_sickness(snapshot, memo, look, watched=watched, past_grace=past_grace)
    failures += sick
    if heal is not None:
        failures += heal.status in {ReceiptStatus.FAILED, ReceiptStatus.DEAD} and watched
        snapshot, memo = _close_heal(snapshot, memo, heal, now_ms)
    if failures:
        snapshot = replace(snapshot, failure_count=snapshot.failure_count + failures)
        memo = note_turn(memo, now_ms)
        if len(memo.turns_ms) >= FLAPPING and snapshot.message:
            snapshot = replace(
                snapshot,
                message=f"{snapshot.message}; flapping: {len(memo.turns_ms)} failures in ten minutes",
            )

    memo = _keep_clean(snapshot, memo, now_ms)
    snapshot, memo = forget_after_clean_run(snapshot, memo, policy, now_ms)
    snapshot, memo, exhausted = _exhaust(snapshot, memo, policy)
    snapshot, memo = _plan(
        snapshot, memo, name, look, policy, past_grace=past_grace, now_ms=now_ms, jitter=jitter
    )
    if memo.exhausted and snapshot.status not in {ServiceStatus.RUNNING, ServiceStatus.STARTING}:
        snapshot = replace(snapshot, reason="exhausted")
    snapshot = _steady_message(before, snapshot)
    return Observation(snapshot, memo, exhausted, _next_look(snapshot, memo, policy, grace_ends_ms, now_ms))


def _grace(look: Look, memo: Memo, policy: Policy, now_ms: int) -> tuple[bool, int | None]:
    """Say whether the start grace is over, and when it will be; a run that was ready once has none left."""
    if not isinstance(look, Present) or not look.container.running:
        return True, None
    if memo.ready is not None and memo.ready == run_of(look.container):
        return True, None
    try:
        ends = parse_ms(look.container.started_at) + int(policy.grace * 1000)
    except ValueError:
        return True, None
    return (True, None) if now_ms >= ends else (False, ends)


def _count_exit(old: Memo, memo: Memo, look: Look, *, watched: bool) -> tuple[int, Memo]:
    """Count the end of the run that was alive at the last look, once, unless a command set out to end it."""
    run, alive = old.run, False
    if isinstance(look, Present):
        run = run_of(look.container)
        alive = look.container.running and not look.container.restarting
    ended = old.alive and old.run is not None and (run != old.run or not alive)
    failure = ended and watched and old.run not in {old.ending, old.counted}
    counted = old.run if ended else old.counted
    if (
        old.run is not None
        and run != old.run
        and run is not None
        and not alive
        and run not in {old.ending, counted}
    ):
        # A run that began and ended between two looks ended all the same.
        failure_too = watched and old.run is not None
        return int(failure) + int(failure_too), replace(memo, run=run, alive=False, counted=run)
    return int(failure), replace(memo, run=run, alive=alive, counted=counted)


def _count_sickness(
    snapshot: Snapshot, memo: Memo, look: Look, *, watched: bool, past_grace: bool
) -> tuple[int, Memo]:
    """Count a turn to unhealthy past the grace, once until the service is well again."""
    run = run_of(look.container) if isinstance(look, Present) else None
    if snapshot.status is ServiceStatus.UNHEALTHY and past_grace and run is not None:
        if memo.sick == run:
            return 0, memo
        return int(watched), replace(memo, sick=run)
    if snapshot.status is ServiceStatus.RUNNING and memo.sick is not None:
        return 0, replace(memo, sick=None)
    return 0, memo


def _close_heal(snapshot: Snapshot, memo: Memo, heal: Receipt, now_ms: int) -> tuple[Snapshot, Memo]:
    """Count the attempt that has ended; the next delay is measured from its end."""
    begun = heal.started_at is not None
    try:
        ended = parse_ms(heal.finished_at or "")
    except ValueError:
        ended = now_ms
    snapshot, memo = drop_plan(snapshot, memo)
    return snapshot, replace(memo, attempts=memo.attempts + int(begun), last_attempt_ms=ended)


def _keep_clean(snapshot: Snapshot, memo: Memo, now_ms: int) -> Memo:
    if snapshot.status is not ServiceStatus.RUNNING:
        return replace(memo, clean_since_ms=0) if memo.clean_since_ms else memo
    return memo if memo.clean_since_ms else replace(memo, clean_since_ms=now_ms)


def _exhaust(snapshot: Snapshot, memo: Memo, policy: Policy) -> tuple[Snapshot, Memo, bool]:
    """Declare the budget spent, once; disable the service where that is asked for."""
    if memo.exhausted or not policy.heal or snapshot.failure_count < policy.limit or not snapshot.enabled:
        return snapshot, memo, False
    memo = replace(memo, exhausted=True)
    if policy.disable_when_exhausted:
        snapshot, memo = drop_plan(snapshot, memo)
        text = f"Disabled after {snapshot.failure_count} failures; enable it to try again"
        snapshot = replace(
            snapshot, enabled=False, status=ServiceStatus.DISABLED, reason="exhausted", message=text
        )
    return snapshot, memo, True


def _plan(
    snapshot: Snapshot,
    memo: Memo,
    name: str,
    look: Look,
    policy: Policy,
    *,
    past_grace: bool,
    now_ms: int,
    jitter: float,
) -> tuple[Snapshot, Memo]:
    """Keep, make or drop the plan of the next heal."""
    action = heal_action(snapshot, memo, look, policy, past_grace=past_grace)
    if action is None:
        return drop_plan(snapshot, memo) if snapshot.restart_scheduled_at is not None else (snapshot, memo)
    if snapshot.restart_scheduled_at is not None and memo.plan is not None:
        return snapshot, memo
    assert isinstance(look, Present)  # noqa: S101 -- heal_action answers for nothing else
    return plan(snapshot, memo, name, look, policy, now_ms=now_ms, jitter=jitter)


def _steady_message(before: Snapshot | None, after: Snapshot) -> Snapshot:
    """Keep the sentence while status, health, reason and exit are the same: it may count or quote what moves."""
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
    if memo.clean_since_ms and (snapshot.failure_count > 0 or memo.attempts > 0 or memo.exhausted):
        times.append(memo.clean_since_ms + int(policy.clean_run * 1000))
    later = [at for at in times if at > now_ms]
    return min(later) if later else None
