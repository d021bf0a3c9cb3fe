"""The worker's times and bounds as one value; where the numbers come from is said beside them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds. The defaults are the contract's; tests set them small."""

    #: How long a taken lane is held without a renewal (contract 7.1).
    lease: float = 10.0
    #: An engine call is not begun with less of the lease left (contract 7.1).
    call_guard: float = 1.0
    #: An engine call not sent within this after its begin renews `called_at` first (contract 7.2).
    call_within: float = 2.0
    #: Beyond the stop grace, how long an engine call may stay open (contract 7.3).
    margin: float = 15.0
    #: Beyond grace and margin, how long the engine may still be at it before 504 (contract 7.4).
    hang: float = 60.0
    #: Looks at an unfinished effect are at most this far apart (contract 7.3).
    look_every: float = 1.0
    #: Beat of presence, and how long without one a worker counts as alive (contract 1).
    beat: float = 2.0
    alive: float = 10.0
    #: The window in which a settled id is kept (contract 2).
    window: float = 86_400.0
    #: Life of an unstarted command without `expires_at` (contract 2).
    ttl: float = 300.0
    #: Begins before a command is given up (contract 7.5).
    max_attempts: int = 5
    #: Commands run at once by this worker. One engine gains little past four restarts at once
    #: (docs/performance.md), so more would only hold lanes that wait.
    capacity: int = 8
    #: Entries read into lanes by one take.
    intake: int = 64
    #: Longest wait for a wake-up before the worker takes again anyway.
    idle: float = 2.0
    #: From the first stop signal to the hand-back of what still runs (contract 9).
    shutdown: float = 30.0
    #: Period of the whole list when no hint came.
    resync: float = 30.0
    #: A label's probe: so often when all is well, so often while it has not passed or fails; the deadline
    #: of one question; so many failures in a row, once it has passed, make it fail; so many asked at once.
    probe_every: float = 5.0
    probe_again: float = 0.5
    probe_deadline: float = 2.0
    probe_failures: int = 3
    probes_at_once: int = 32
    #: An engine asked but silent for this long is unavailable (contract 7.6); a ping this often when idle.
    engine_silence: float = 10.0
    engine_ping: float = 5.0
    #: The room's heartbeat (contract 6).
    heartbeat: float = 5.0
    #: Stop grace when neither command, label nor container says one (contract 2).
    grace: int = 10

    @property
    def guard(self) -> float:
        """Return the call guard, no more than a tenth of a short lease."""
        return min(self.call_guard, self.lease / 10)
