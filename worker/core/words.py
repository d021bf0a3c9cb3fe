"""Why the status is what it is: a short word for programs, a sentence for people. Pure."""

from msgspec.structs import replace

from contracts.services import Desired, ServiceStatus, Snapshot
from worker.core.container import Container, Health
from worker.core.look import Clash, Look, Missing, Present, Verdict
from worker.core.state import Memo, run_of

#: Status, reason and message.
Seen = tuple[ServiceStatus, str | None, str | None]

#: A message is cut here: health checks print pages (contract: the first 500 characters).
MESSAGE_LIMIT = 500
#: Where these are the reason of a stop, nothing failed: somebody wanted it so.
AT_REST = frozenset({"paused", "created", "stopped", "removing"})
_LOST = "Redis lost this service's state; what is shown was made anew from the engine"
_BAD = frozenset({ServiceStatus.STOPPED, ServiceStatus.UNHEALTHY})
_GOOD = frozenset({ServiceStatus.RUNNING, ServiceStatus.STARTING})


def see(
    container: Container,
    memo: Memo,
    *,
    desired: Desired,
    in_grace: bool,
    probed: bool,
    verdict: Verdict | None,
) -> Seen:
    """Return what is observed of a present container, whether its service is enabled or not."""
    if container.paused:
        return ServiceStatus.STOPPED, "paused", "The container is paused"
    if container.restarting:
        return ServiceStatus.STARTING, "engine_restarting", _engine_at_work(container)
    if not container.running or container.dead:
        return ServiceStatus.STOPPED, *_why_stopped(container, memo, desired)
    match container.health:
        case Health.UNHEALTHY:
            said = container.health_output[:MESSAGE_LIMIT] or "The health check fails"
            return ServiceStatus.UNHEALTHY, "health_check_failed", said
        case Health.STARTING:
            return ServiceStatus.STARTING, "health_starting", "Started; the health check has not passed yet"
        case Health.HEALTHY:
            return ServiceStatus.RUNNING, None, None
        case Health.NONE:
            if not probed:
                return ServiceStatus.RUNNING, None, None
            return _probed(container, memo, in_grace=in_grace, verdict=verdict)


def _probed(container: Container, memo: Memo, *, in_grace: bool, verdict: Verdict | None) -> Seen:
    """Go by the probe. One that has not judged this run changes nothing: unknown is neither good nor bad."""
    pending = (ServiceStatus.STARTING, "probe_pending", "Started; the probe has not passed yet")
    run = run_of(container)
    if verdict is not None and verdict.run == run:
        if verdict.ready:
            return ServiceStatus.RUNNING, None, None
        if in_grace:
            return pending
        return ServiceStatus.UNHEALTHY, "probe_failed", f"The probe fails: {verdict.why}"[:MESSAGE_LIMIT]
    same = memo.began is not None and memo.began[0] == run
    if same and memo.seen is not None and memo.seen[1] in {None, "probe_failed", "probe_pending"}:
        return memo.seen
    return (ServiceStatus.RUNNING, None, None) if memo.ready == run else pending


def _engine_at_work(container: Container) -> str:
    oom = ", out of memory" if container.oom_killed else ""
    return (
        f"The engine is restarting it by its own policy ({container.restart_policy}); "
        f"it last exited with code {container.exit_code}{oom}"
    )


def _why_stopped(container: Container, memo: Memo, desired: Desired) -> tuple[str, str]:
    code = f"exit code {container.exit_code}"
    if container.state == "removing":
        return "removing", "The engine is removing the container"
    if container.dead:
        return "dead", "The engine could not remove the container and calls it dead"
    if container.error:
        return "start_failed", container.error[:MESSAGE_LIMIT]
    if not container.ever_started:
        return "created", "The container was never started"
    if container.oom_killed:
        return "oom_killed", f"Killed by the kernel for want of memory, {code}"
    if desired is Desired.STOPPED:
        return "stopped", f"Stopped as asked, {code}"
    if memo.ending is not None and memo.ending == run_of(container):
        return "stopped", f"Stopped by a command, {code}"
    return "exited", f"The container exited with code {container.exit_code}"


def see_none(look: Missing | Clash) -> Seen:
    """Return what is observed of a service that no one container is."""
    match look:
        case Missing():
            return ServiceStatus.NOT_FOUND, "no_container", "No container has this name now"
        case Clash(ids=ids):
            named = ", ".join(one[:12] for one in ids)
            text = f"Several containers claim this name and not exactly one of them runs: {named}"
            return ServiceStatus.NOT_FOUND, "ambiguous", text


def see_remembered(snapshot: Snapshot, memo: Memo) -> Seen:
    """Return what was observed last: for enable, which takes no look."""
    if memo.seen is not None:
        return memo.seen
    match snapshot.container_state:
        case None:
            return see_none(Missing())
        case "running" if snapshot.health == Health.UNHEALTHY:
            return ServiceStatus.UNHEALTHY, "health_check_failed", "The health check fails"
        case "running" if snapshot.health == Health.STARTING:
            return ServiceStatus.STARTING, "health_starting", "Started; the health check has not passed yet"
        case "running":
            return ServiceStatus.RUNNING, None, None
        case "restarting":
            text = "The engine is restarting it by its own policy"
            return ServiceStatus.STARTING, "engine_restarting", text
        case "paused":
            return ServiceStatus.STOPPED, "paused", "The container is paused"
        case state:
            return ServiceStatus.STOPPED, "exited", f"The container is {state}"


def tell(
    snapshot: Snapshot, memo: Memo, look: Look | None = None, *, waits_for: str | None = None
) -> Snapshot:
    """Put status, reason and message into the snapshot, by what was seen and what healing makes of it.

    `waits_for` is the needed service that keeps a planned heal waiting.
    """
    status, reason, message = see_remembered(snapshot, memo)
    if not snapshot.enabled:
        if memo.gave_up:
            text = f"Disabled after {snapshot.failure_count} failures; enable it to try again"
            status, reason, message = ServiceStatus.DISABLED, "exhausted", text
        elif reason == "ambiguous":
            status = ServiceStatus.DISABLED
        else:
            text = "Disabled: neither started nor restarted, by anybody, until it is enabled"
            status, reason, message = ServiceStatus.DISABLED, "disabled", text
    elif status in _GOOD:
        reason, message = _note_good(memo, look, reason, message)
    elif status in _BAD and reason not in AT_REST and snapshot.desired is Desired.RUNNING:
        reason, message = _note_bad(snapshot, memo, reason, message, waits_for)
    if (status, reason, message) == (snapshot.status, snapshot.reason, snapshot.message):
        return snapshot
    return replace(snapshot, status=status, reason=reason, message=message)


def _note_good(
    memo: Memo, look: Look | None, reason: str | None, message: str | None
) -> tuple[str | None, str | None]:
    """Add what somebody should know of a service that does well, or is about to."""
    container = look.container if isinstance(look, Present) else None
    problems = look.labels.problems if isinstance(look, Present) else ()
    if problems and reason != "engine_restarting":
        return "bad_label", "; ".join(problems)[:MESSAGE_LIMIT]
    if reason is not None:
        return reason, message
    if memo.lost:
        return "state_lost", _LOST
    if container is not None and container.engine_restarts > 0:
        policy, times = container.restart_policy, container.engine_restarts
        return "engine_restarted", f"The engine restarted it by its own policy ({policy}), {times} times"
    return None, None


def _note_bad(
    snapshot: Snapshot, memo: Memo, reason: str | None, message: str | None, waits_for: str | None
) -> tuple[str | None, str | None]:
    """Say what healing does about a failure, before the failure's own words."""
    if memo.exhausted:
        said = f"Exhausted after {snapshot.failure_count} failures, tried on at the longest delay"
        reason = "exhausted"
    elif waits_for is not None and snapshot.restart_scheduled_at is not None:
        said = f"Waits for {waits_for!r} before it is healed"
        reason = "waits_for_dependency"
    elif memo.flapping:
        said = f"Flapping: {len(memo.turns_ms)} failures in ten minutes"
        reason = "flapping"
    elif memo.lost:
        said, reason = _LOST, "state_lost"
    else:
        return reason, message
    return reason, f"{said}. {message or ''}".strip()[:MESSAGE_LIMIT]
