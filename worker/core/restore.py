"""What a service was, after Redis lost writes: from what stands there and what a worker remembers. Pure."""

from msgspec.structs import replace

from worker.core.look import Look, Missing
from worker.core.state import Memo, ServiceState


def restore(
    written: ServiceState, remembered: ServiceState | None, look: Look, *, forgetful: bool
) -> ServiceState:
    """Return what the first look of a new epoch builds upon, at the version that stands.

    `forgetful`: a service that nobody remembers may have been there; else it is new.
    """
    known = remembered if remembered is not None and remembered.snapshot is not None else None
    if known is None or known.snapshot is None:
        if written.snapshot is None and forgetful and not isinstance(look, Missing):
            return ServiceState(None, Memo(lost=True), written.ver)
        return written
    if written.snapshot is None:
        return ServiceState(known.snapshot, known.memo, written.ver)
    if written.memo.born_ms > known.memo.born_ms:
        # A command of the new epoch met a service that Redis had lost, and began its first snapshot.
        snapshot = replace(
            known.snapshot,
            desired=written.snapshot.desired if written.memo.commanded else known.snapshot.desired,
            restart_count=known.snapshot.restart_count + written.snapshot.restart_count,
            last_restart_at=written.snapshot.last_restart_at or known.snapshot.last_restart_at,
        )
        memo = replace(
            known.memo,
            run=written.memo.run,
            alive=written.memo.alive,
            ending=written.memo.ending,
            counted=written.memo.counted,
            commanded=known.memo.commanded or written.memo.commanded,
        )
        return ServiceState(snapshot, memo, written.ver)
    if _version(written.ver) >= _version(known.ver):
        return written
    return ServiceState(known.snapshot, known.memo, written.ver)


def _version(ver: str) -> int:
    return int(ver) if ver.isdecimal() else 0
