"""When a service that is gone is gone for good. Pure."""

from contracts.services import Desired
from worker.core.state import ServiceState

#: A service gone for so long, enabled and desired running, is removed (contract 5).
REMOVE_AFTER_MS = 7 * 86_400_000


def is_long_gone(state: ServiceState, now_ms: int) -> bool:
    """Say whether the service has been wanted and without a container for so long that it is to be removed."""
    snapshot, since = state.snapshot, state.memo.missing_since_ms
    wanted = snapshot is not None and snapshot.enabled and snapshot.desired is Desired.RUNNING
    return wanted and since > 0 and now_ms - since > REMOVE_AFTER_MS
