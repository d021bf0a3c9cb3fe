"""Which failures a look shows: ends of runs and turns to unhealthy, each counted once. Pure."""

from msgspec.structs import replace

from contracts.services import ServiceStatus, Snapshot
from contracts.times import parse_ms
from worker.core.container import NEVER
from worker.core.look import Clash, Ended, Look, Missing, Present
from worker.core.state import Memo, run_of

#: An engine's stamp of a start and of an event may lie so far apart in the wrong order, nanoseconds.
_SLACK_NS = 1_000_000_000


def count_exits(before: Snapshot | None, old: Memo, memo: Memo, look: Look) -> tuple[int, Memo]:
    """Return how many runs are seen ended now, and the memo that knows it.

    A run counts once, and not at all where a begun command's evidence names it. Nothing that is first
    seen stopped counts. Several containers for one name tell nothing about the run there was.
    """
    match look:
        case Clash():
            return 0, memo
        case Missing(moved=True):
            return 0, replace(memo, run=None, alive=False)
        case Missing():
            run, alive, known = old.run, False, False
        case Present(container=container):
            run = run_of(container)
            alive = container.running and not container.restarting
            known = before is not None and before.container_id == container.short_id
    counted, failures = old.counted, 0
    if old.alive and old.run is not None and (run != old.run or not alive):
        failures += old.run not in {old.ending, old.counted}
        counted = old.run
    if known and run is not None and run != old.run and not alive and run not in {old.ending, counted}:
        failures += 1  # it began and ended between two looks
        counted = run
    return failures, replace(memo, run=run, alive=alive, counted=counted)


def count_sickness(memo: Memo, look: Look, *, past_grace: bool) -> tuple[int, Memo]:
    """Count a turn to unhealthy past the grace, once until the service is well again."""
    run = run_of(look.container) if isinstance(look, Present) else None
    status = memo.seen[0] if memo.seen is not None else None
    if status is ServiceStatus.UNHEALTHY and past_grace and run is not None and memo.sick != run:
        return 1, replace(memo, sick=run)
    if status is ServiceStatus.RUNNING and memo.sick is not None:
        return 0, replace(memo, sick=None)
    return 0, memo


def note_unseen_end(snapshot: Snapshot, old: Memo, look: Look, ended: Ended | None) -> Snapshot:
    """Put down how the run ended that was alive at the last look and has a successor, or is gone, by now.

    The end that a command set out for is the command's to tell. Without a hint the code is not known.
    """
    if not old.alive or old.run is None or old.run == old.ending:
        return snapshot
    container_id, started_at = old.run.split(" ", 1)
    told = ended if ended is not None and ended.time_ns > _ns(started_at) - _SLACK_NS else None
    if isinstance(look, Present):
        container = look.container
        at_rest = not container.running or container.restarting
        if (at_rest and container.finished_at != NEVER) or run_of(container) == old.run:
            return snapshot  # the look itself shows how the last run ended, or that it goes on
        if container.short_id == container_id:
            code = told.exit_code if told is not None else None
            return replace(snapshot, last_exit_code=code, last_exit_at=container.finished_at)
    elif look != Missing():
        return snapshot
    if told is None:
        return snapshot
    return replace(snapshot, last_exit_code=told.exit_code, last_exit_at=told.stamp)


def _ns(stamp: str) -> int:
    try:
        return parse_ms(stamp) * 1_000_000
    except ValueError:
        return 0
