"""From a look to the snapshot that tells of it: the facts and the status, pure."""

from contextlib import suppress

from msgspec.structs import replace

from contracts.services import Desired, ServiceStatus, Snapshot
from contracts.times import parse_ms
from worker.core.container import NEVER, Container
from worker.core.look import Clash, Look, Missing, Present, Verdict
from worker.core.policy import policy_for
from worker.core.state import Memo, ServiceState, run_of
from worker.core.words import see, see_none, tell

#: The engine's event about an end is stamped within this time after FinishedAt.
_STAMPED_WITHIN_MS = 5000


def project(
    state: ServiceState,
    name: str,
    look: Look,
    *,
    now_ms: int,
    observed_at: str,
    verdict: Verdict | None = None,
) -> tuple[Snapshot, Memo]:
    """Return the snapshot and memo after this look.

    `verdict` is what the label's probe last said, None when it has not answered or there is none. Counters
    and plans are kept, and so is the run that the memo has: what its end means is the caller's to judge.
    """
    memo = state.memo if state.memo.born_ms else replace(state.memo, born_ms=now_ms)
    state = ServiceState(state.snapshot, memo, state.ver)
    match look:
        case Present():
            snapshot, memo = _present(state, name, look, now_ms, observed_at, verdict)
        case Missing() | Clash():
            snapshot, memo = _absent(state, name, look, now_ms, observed_at)
    return tell(snapshot, memo, look), memo


def _began_ms(state: ServiceState, container: Container, run: str | None, now_ms: int) -> int:
    """Return when the container's `run` began, in ms of Redis TIME.

    The engine's clock may be another. A run that the last look did not find began after that look and
    before now, whatever StartedAt says; at first sight there is only StartedAt to go by.
    """
    known = state.memo.began
    if known is not None and known[0] == run:
        return known[1]
    try:
        began = parse_ms(container.started_at)
    except ValueError:
        began = 0
    if state.snapshot is not None and state.snapshot.observed_at is not None:
        with suppress(ValueError):
            began = max(began, parse_ms(state.snapshot.observed_at))
    return min(began, now_ms)


def _present(
    state: ServiceState, name: str, look: Present, now_ms: int, observed_at: str, verdict: Verdict | None
) -> tuple[Snapshot, Memo]:
    container, labels = look.container, look.labels
    old, memo = state.snapshot, state.memo
    run = run_of(container)
    desired, settled = _desired(old, memo, look)
    began = _began_ms(state, container, run, now_ms)
    in_grace = memo.ready != run and now_ms < began + int(policy_for(labels).grace * 1000)
    seen = see(
        container,
        memo,
        desired=desired,
        in_grace=in_grace,
        probed=labels.probe is not None,
        verdict=verdict,
    )
    base = old if old is not None else Snapshot(name=name, status=seen[0])
    snapshot = replace(
        base,
        display_name=labels.display_name or name,
        category=labels.category,
        desired=desired,
        container_id=container.short_id,
        image=container.image,
        port=labels.port,
        container_state=container.state,
        health=str(container.health),
        started_at=container.started_at if container.ever_started else None,
        observed_at=observed_at,
    )
    at_rest = not container.running or container.restarting
    if at_rest and container.ever_started and container.finished_at != NEVER:
        at = base.last_exit_at if _same_end(base, container) else container.finished_at
        snapshot = replace(snapshot, last_exit_code=container.exit_code, last_exit_at=at)
    if container.error:
        stamp = base.last_start_error_at if base.last_start_error == container.error else observed_at
        snapshot = replace(snapshot, last_start_error=container.error, last_start_error_at=stamp)
    memo = replace(
        memo,
        protected=look.protected,
        actions=None if labels.actions is None else tuple(sorted(labels.actions)),
        needs=labels.depends_on,
        settled_desire=settled,
        missing_since_ms=0,
        began=(run, began) if run is not None else None,
        ready=run if seen[0] is ServiceStatus.RUNNING else memo.ready,
        seen=seen,
    )
    return snapshot, memo


def _same_end(known: Snapshot, container: Container) -> bool:
    """Say whether the end that is known is this one, by the stamp of the engine's event about it.

    The engine stamps the event some milliseconds after the end itself; the stamp that was told first stays.
    """
    if known.last_exit_at is None or known.started_at != container.started_at:
        return False
    try:
        apart = parse_ms(known.last_exit_at) - parse_ms(container.finished_at)
    except ValueError:
        return False
    return 0 <= apart <= _STAMPED_WITHIN_MS


def _desired(old: Snapshot | None, memo: Memo, look: Present) -> tuple[Desired, bool]:
    """Return what the service should be, and whether that is settled: by label, command or a seen start.

    A label speaks at the first sight of a container; what a command has said stands above it.
    """
    first_sight = old is None or old.container_id != look.container.short_id
    if look.labels.desired is not None and first_sight and not memo.commanded:
        return Desired(look.labels.desired), True
    if old is not None and memo.settled_desire:
        return old.desired, True
    if look.labels.desired is not None:
        return Desired(look.labels.desired), True
    if look.container.ever_started:
        return Desired.RUNNING, True
    return Desired.STOPPED, False


def _absent(
    state: ServiceState, name: str, look: Missing | Clash, now_ms: int, observed_at: str
) -> tuple[Snapshot, Memo]:
    seen = see_none(look)
    old = state.snapshot if state.snapshot is not None else Snapshot(name=name, status=seen[0])
    snapshot = replace(
        old, container_id=None, container_state=None, health=None, started_at=None, observed_at=observed_at
    )
    wanted = isinstance(look, Missing) and snapshot.enabled and snapshot.desired is Desired.RUNNING
    since = (state.memo.missing_since_ms or now_ms) if wanted else 0
    return snapshot, replace(state.memo, missing_since_ms=since, seen=seen)
