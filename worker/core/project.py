"""From a look to the snapshot that tells of it: the status projection, pure."""

from contracts.services import Desired, ServiceStatus, Snapshot
from contracts.times import parse_ms
from msgspec.structs import replace

from worker.core.container import NEVER, Container, Health
from worker.core.look import Clash, Look, Missing, Present
from worker.core.policy import policy_for
from worker.core.state import Memo, ServiceState, run_of

_MESSAGE_LIMIT = 500


def project(
    state: ServiceState, name: str, look: Look, *, now_ms: int, observed_at: str, probe: bool | None = None
) -> tuple[Snapshot, Memo]:
    """Return the snapshot and memo after this look.

    `probe` is what the label's probe last said of this run, None when it has not answered yet or there
    is none. Counters, `desired` and plans are kept; the caller changes those.
    """
    match look:
        case Present():
            return _project_present(state, name, look, now_ms, observed_at, probe)
        case Missing():
            return _project_absent(
                state, name, observed_at, "no_container", "No container has this name now", now_ms
            )
        case Clash():
            ids = ", ".join(one[:12] for one in look.ids)
            text = f"Several containers claim this name and not exactly one of them runs: {ids}"
            return _project_absent(state, name, observed_at, "ambiguous", text, now_ms)


def status_of(
    container: Container,
    memo: Memo,
    *,
    enabled: bool,
    desired: Desired,
    in_grace: bool,
    probed: bool,
    probe: bool | None,
) -> tuple[ServiceStatus, str | None, str | None]:
    """Return status, reason and message of a present container."""
    status, reason, message = _observed(
        container, memo, desired=desired, in_grace=in_grace, probed=probed, probe=probe
    )
    if not enabled:
        return ServiceStatus.DISABLED, "disabled", f"Disabled; the container is {container.state}"
    return status, reason, message


def _observed(
    container: Container, memo: Memo, *, desired: Desired, in_grace: bool, probed: bool, probe: bool | None
) -> tuple[ServiceStatus, str | None, str | None]:
    if container.paused:
        return ServiceStatus.STOPPED, "paused", "The container is paused"
    if container.restarting:
        text = f"The engine is restarting it by its own policy ({container.restart_policy}); it last exited with {container.exit_code}"
        return ServiceStatus.STARTING, "engine_restarting", text
    if not container.running or container.dead:
        return ServiceStatus.STOPPED, *_why_stopped(container, memo, desired)
    if container.health is Health.UNHEALTHY:
        return (
            ServiceStatus.UNHEALTHY,
            "health_check_failed",
            container.health_output[:_MESSAGE_LIMIT] or "The health check fails",
        )
    if container.health is Health.STARTING:
        return ServiceStatus.STARTING, "health_starting", "Started; the health check has not passed yet"
    if container.health is Health.NONE and probed and not probe:
        if in_grace:
            return ServiceStatus.STARTING, "probe_pending", "Started; the probe has not passed yet"
        return ServiceStatus.UNHEALTHY, "probe_failed", "The probe fails"
    return ServiceStatus.RUNNING, None, None


def _why_stopped(container: Container, memo: Memo, desired: Desired) -> tuple[str, str]:
    if container.error and not container.running:
        return "start_failed", container.error[:_MESSAGE_LIMIT]
    if not container.ever_started:
        return "created", "The container was never started"
    if container.oom_killed:
        return "oom_killed", f"Killed by the kernel for want of memory, exit code {container.exit_code}"
    if desired is Desired.STOPPED:
        return "stopped", f"Stopped as asked, exit code {container.exit_code}"
    if memo.ending is not None and memo.ending == run_of(container):
        return "stopped", f"Stopped by a command, exit code {container.exit_code}"
    return "exited", f"The container exited with code {container.exit_code}"


def remembered_status(snapshot: Snapshot) -> tuple[ServiceStatus, str | None, str | None]:
    """Return status, reason and message by what the snapshot still shows of the container: for enable, which takes no look."""
    match snapshot.container_state:
        case None:
            return ServiceStatus.NOT_FOUND, "no_container", "No container has this name now"
        case "running":
            health = snapshot.health
            if health == Health.UNHEALTHY:
                return ServiceStatus.UNHEALTHY, "health_check_failed", "The health check fails"
            if health == Health.STARTING:
                return (
                    ServiceStatus.STARTING,
                    "health_starting",
                    "Started; the health check has not passed yet",
                )
            return ServiceStatus.RUNNING, None, None
        case "restarting":
            return (
                ServiceStatus.STARTING,
                "engine_restarting",
                "The engine is restarting it by its own policy",
            )
        case "paused":
            return ServiceStatus.STOPPED, "paused", "The container is paused"
        case state:
            return ServiceStatus.STOPPED, "exited", f"The container is {state}"


def _project_present(
    state: ServiceState, name: str, look: Present, now_ms: int, observed_at: str, probe: bool | None
) -> tuple[Snapshot, Memo]:
    container, labels = look.container, look.labels
    old, memo = state.snapshot, state.memo
    run = run_of(container)
    desired, settled = _desired(old, memo, look)
    enabled = old.enabled if old is not None else True
    grace_ms = int(policy_for(labels).grace * 1000)
    in_grace = memo.ready != run and _started_ms(container) + grace_ms > now_ms
    status, reason, message = status_of(
        container,
        memo,
        enabled=enabled,
        desired=desired,
        in_grace=in_grace,
        probed=labels.probe is not None,
        probe=probe,
    )
    if labels.problems and status in {ServiceStatus.RUNNING, ServiceStatus.STARTING}:
        reason, message = "bad_label", "; ".join(labels.problems)[:_MESSAGE_LIMIT]
    elif memo.lost and reason is None:
        reason, message = (
            "state_lost",
            "Redis lost this service's state; what is shown was made anew from the engine",
        )
    base = old if old is not None else Snapshot(name=name, status=status)
    stopped = not container.running or container.restarting
    snapshot = replace(
        base,
        display_name=labels.display_name or name,
        category=labels.category,
        status=status,
        enabled=enabled,
        desired=desired,
        container_id=container.short_id,
        image=container.image,
        port=labels.port,
        container_state=container.state,
        health=str(container.health),
        started_at=container.started_at if container.ever_started else None,
        reason=reason,
        message=message,
        observed_at=observed_at,
    )
    if stopped and container.ever_started and container.finished_at != NEVER:
        snapshot = replace(snapshot, last_exit_code=container.exit_code, last_exit_at=container.finished_at)
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
        ready=run if status is ServiceStatus.RUNNING else memo.ready,
    )
    return snapshot, memo


def _desired(old: Snapshot | None, memo: Memo, look: Present) -> tuple[Desired, bool]:
    """Return what the service should be, and whether that is settled: by label, command or a seen start."""
    if old is None or not memo.settled_desire:
        if look.labels.desired is not None:
            return Desired(look.labels.desired), True
        if look.container.ever_started:
            return Desired.RUNNING, True
        return Desired.STOPPED, False
    return old.desired, True


def _started_ms(container: Container) -> int:
    try:
        return parse_ms(container.started_at)
    except ValueError:
        return 0


def _project_absent(
    state: ServiceState, name: str, observed_at: str, reason: str, message: str, now_ms: int
) -> tuple[Snapshot, Memo]:
    old = (
        state.snapshot if state.snapshot is not None else Snapshot(name=name, status=ServiceStatus.NOT_FOUND)
    )
    status = ServiceStatus.NOT_FOUND if old.enabled else ServiceStatus.DISABLED
    snapshot = replace(
        old,
        status=status,
        container_id=None,
        container_state=None,
        health=None,
        started_at=None,
        reason=reason,
        message=message,
        observed_at=observed_at,
    )
    return snapshot, replace(state.memo, missing_since_ms=state.memo.missing_since_ms or now_ms)
