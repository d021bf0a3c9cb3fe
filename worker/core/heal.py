"""When a failing service is healed next: backoff, budget, the clean run that forgets. Pure; times are ms of Redis TIME."""

from contracts.commands import Action
from contracts.services import Desired, ServiceStatus, Snapshot
from contracts.times import format_ms, parse_ms
from msgspec.structs import replace

from worker.core.look import Look, Present
from worker.core.policy import Policy
from worker.core.state import Memo

#: The sliding window in which turns from good to bad are counted, seconds.
FLAP_WINDOW = 600.0
#: So many turns in the window are called flapping.
FLAPPING = 4


def backoff(attempt: int, policy: Policy, jitter: float) -> float:
    """Return the seconds before the n-th attempt (from 1): min(base * 2^(n-1), longest), and up to 10 % more.

    `jitter` is in [0, 1). The power is taken of a bounded exponent, so no n overflows.
    """
    doublings = min(max(attempt, 1) - 1, 60)
    return min(policy.base * 2.0**doublings, policy.longest) * (1 + 0.1 * jitter)


def heal_action(
    snapshot: Snapshot, memo: Memo, look: Look, policy: Policy, *, past_grace: bool
) -> Action | None:
    """Return what would heal the service, None when nothing is to be done (or by others)."""
    if not isinstance(look, Present) or look.protected or not policy.heal:
        return None
    if not snapshot.enabled or snapshot.desired is not Desired.RUNNING:
        return None
    container = look.container
    if container.paused or container.restarting or container.state == "removing":
        return None
    if not container.running:
        return Action.START
    if snapshot.status is ServiceStatus.UNHEALTHY and past_grace:
        return Action.RESTART
    return None


def plan_id(name: str, look: Present, due_ms: int) -> str:
    """Return the one id that any worker derives for this plan."""
    return f"self-heal:{name}:{look.container.short_id}:{due_ms}"


def plan(
    snapshot: Snapshot, memo: Memo, name: str, look: Present, policy: Policy, *, now_ms: int, jitter: float
) -> tuple[Snapshot, Memo]:
    """Write down when the next heal is due: the first measured from now, later ones from the last attempt."""
    if memo.exhausted:
        delay, start = policy.longest * (1 + 0.1 * jitter), memo.last_attempt_ms or now_ms
    elif memo.attempts == 0:
        delay, start = backoff(1, policy, jitter), now_ms
    else:
        delay, start = backoff(memo.attempts + 1, policy, jitter), memo.last_attempt_ms or now_ms
    due_ms = max(now_ms, start + int(delay * 1000))
    return (
        replace(snapshot, restart_scheduled_at=format_ms(due_ms)),
        replace(memo, plan=plan_id(name, look, due_ms)),
    )


def drop_plan(snapshot: Snapshot, memo: Memo) -> tuple[Snapshot, Memo]:
    """Take the plan back."""
    return replace(snapshot, restart_scheduled_at=None), replace(memo, plan=None)


def note_turn(memo: Memo, now_ms: int) -> Memo:
    """Count a turn from good to bad in the sliding window."""
    since = now_ms - int(FLAP_WINDOW * 1000)
    return replace(memo, turns_ms=(*(at for at in memo.turns_ms if at > since), now_ms)[-50:])


def forget_after_clean_run(
    snapshot: Snapshot, memo: Memo, policy: Policy, now_ms: int
) -> tuple[Snapshot, Memo]:
    """Reset the counters when the present run has been clean for long enough."""
    counted = snapshot.failure_count > 0 or memo.attempts > 0 or memo.exhausted
    if not counted or not memo.clean_since_ms or now_ms - memo.clean_since_ms < policy.clean_run * 1000:
        return snapshot, memo
    return (
        replace(snapshot, failure_count=0),
        replace(memo, attempts=0, last_attempt_ms=0, exhausted=False, turns_ms=()),
    )


def due_ms(snapshot: Snapshot) -> int | None:
    """Return when the planned heal is due, None when none is planned."""
    if snapshot.restart_scheduled_at is None:
        return None
    try:
        return parse_ms(snapshot.restart_scheduled_at)
    except ValueError:
        return None
