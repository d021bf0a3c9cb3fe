"""When a failing service is healed next: backoff, budget, the clean run that forgets. Pure."""

import hashlib

from msgspec.structs import replace

from contracts.commands import SELF_HEAL, Action
from contracts.receipts import Receipt
from contracts.services import Desired, ServiceStatus, Snapshot
from contracts.times import format_ms, parse_ms
from worker.core.look import Look, Present
from worker.core.policy import Policy
from worker.core.state import Memo

#: The sliding window in which turns from good to bad are counted, seconds.
FLAP_WINDOW = 600.0
#: So many turns in the window are called flapping.
FLAPPING = 4
#: No more turns than this are remembered.
_MOST_TURNS = 50
#: An id of a command has at most so many characters (contract 2).
_LONGEST_ID = 128


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
    if container.paused or container.restarting or container.dead or container.state == "removing":
        return None
    if not container.running:
        return Action.START
    unhealthy = memo.seen is not None and memo.seen[0] is ServiceStatus.UNHEALTHY
    return Action.RESTART if unhealthy and past_grace else None


def plan_id(name: str, short_id: str, due_ms: int) -> str:
    """Return the one id that any worker derives for this plan.

    A name so long that the id would be none is cut and told apart by its hash; "/" is in no service's name.
    """
    found = f"{SELF_HEAL}:{name}:{short_id}:{due_ms}"
    if len(found) <= _LONGEST_ID:
        return found
    digest = hashlib.sha256(name.encode()).hexdigest()[:24]
    return f"{SELF_HEAL}:{name[:48]}/{digest}:{short_id}:{due_ms}"


def plan(
    snapshot: Snapshot, memo: Memo, name: str, look: Present, policy: Policy, *, now_ms: int, jitter: float
) -> tuple[Snapshot, Memo]:
    """Write down when the next heal is due: the first measured from now, later ones from the last attempt.

    It is later than the plan that it replaces, so that it has an id of its own.
    """
    longest = policy.longest * (1 + 0.1 * jitter)
    delay = longest if memo.exhausted else backoff(memo.attempts + 1, policy, jitter)
    start = memo.last_attempt_ms if memo.attempts and memo.last_attempt_ms else now_ms
    before = _due_of(memo.plan)
    due_ms = max(now_ms, start + int(delay * 1000), before + 1 if before else 0)
    return (
        replace(snapshot, restart_scheduled_at=format_ms(due_ms)),
        replace(memo, plan=plan_id(name, look.container.short_id, due_ms)),
    )


def planned_for(memo: Memo, name: str, look: Present) -> bool:
    """Say whether the plan that there is is for this container."""
    due = _due_of(memo.plan)
    return due is not None and memo.plan == plan_id(name, look.container.short_id, due)


def drop_plan(snapshot: Snapshot, memo: Memo) -> tuple[Snapshot, Memo]:
    """Take the plan back."""
    if snapshot.restart_scheduled_at is not None:
        snapshot = replace(snapshot, restart_scheduled_at=None)
    return snapshot, replace(memo, plan=None) if memo.plan is not None else memo


def close_heal(snapshot: Snapshot, memo: Memo, heal: Receipt, now_ms: int) -> tuple[Snapshot, Memo]:
    """Take the planned heal as ended; one that had begun was an attempt: the next delay is from its end.

    `memo.plan` keeps the id of one that did not begin until another is made, whose time must be later.
    """
    snapshot = replace(snapshot, restart_scheduled_at=None)
    if heal.started_at is None:
        return snapshot, memo
    try:
        ended = parse_ms(heal.finished_at or "")
    except ValueError:
        ended = now_ms
    return snapshot, replace(memo, attempts=memo.attempts + 1, last_attempt_ms=min(ended, now_ms))


def note_turns(memo: Memo, turns: int, now_ms: int) -> Memo:
    """Count turns from good to bad in the sliding window."""
    if not turns:
        return memo
    since = now_ms - int(FLAP_WINDOW * 1000)
    kept = (*(at for at in memo.turns_ms if at > since), *(now_ms,) * turns)[-_MOST_TURNS:]
    return replace(memo, turns_ms=kept, flapping=memo.flapping or len(kept) >= FLAPPING)


def keep_clean(memo: Memo, now_ms: int, *, broken: bool) -> Memo:
    """Note since when the run is clean: ready and without a failure; `broken` says that it begins anew."""
    if memo.seen is None or memo.seen[0] is not ServiceStatus.RUNNING:
        return replace(memo, clean_since_ms=0) if memo.clean_since_ms else memo
    if memo.clean_since_ms and not broken:
        return memo
    return replace(memo, clean_since_ms=now_ms)


def forget_after_clean_run(
    snapshot: Snapshot, memo: Memo, policy: Policy, now_ms: int
) -> tuple[Snapshot, Memo]:
    """Reset the counters when the run has been clean for long enough; turns leave by the window alone."""
    counted = snapshot.failure_count > 0 or memo.attempts > 0 or memo.exhausted or memo.flapping
    if not counted or not snapshot.enabled or not memo.clean_since_ms:
        return snapshot, memo
    if now_ms - memo.clean_since_ms < policy.clean_run * 1000:
        return snapshot, memo
    return replace(snapshot, failure_count=0), fresh(memo, keep_turns=True)


def fresh(memo: Memo, *, keep_turns: bool = False) -> Memo:
    """Forget what healing counted."""
    turns = memo.turns_ms if keep_turns else ()
    counted = memo.attempts or memo.last_attempt_ms or memo.exhausted or memo.gave_up or memo.flapping
    if not counted and memo.turns_ms == turns:
        return memo
    return replace(
        memo,
        attempts=0,
        last_attempt_ms=0,
        exhausted=False,
        gave_up=False,
        flapping=False,
        turns_ms=turns,
    )


def exhaust(snapshot: Snapshot, memo: Memo, look: Present, policy: Policy) -> tuple[Snapshot, Memo, bool]:
    """Declare the budget spent, once; disable the service where that is asked for."""
    heals = policy.heal and not look.protected and snapshot.enabled and snapshot.desired is Desired.RUNNING
    if memo.exhausted or not heals or snapshot.failure_count < policy.limit:
        return snapshot, memo, False
    memo = replace(memo, exhausted=True)
    if policy.disable_when_exhausted:
        snapshot, memo = replace(snapshot, enabled=False), replace(memo, gave_up=True)
    return snapshot, memo, True


def due_ms(snapshot: Snapshot) -> int | None:
    """Return when the planned heal is due, None when none is planned."""
    if snapshot.restart_scheduled_at is None:
        return None
    try:
        return parse_ms(snapshot.restart_scheduled_at)
    except ValueError:
        return None


def _due_of(plan: str | None) -> int | None:
    """Return the time in a plan's id."""
    digits = plan.rpartition(":")[2] if plan is not None else ""
    return int(digits) if digits.isdecimal() else None
