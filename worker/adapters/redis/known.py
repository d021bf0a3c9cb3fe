"""The services' states as this worker last read or wrote them, so that an answer need not carry them again."""

from worker.core.state import ServiceState

#: Services that are remembered; past it all are read anew.
MOST = 4000
#: While more than this share of the answers bring what is known already, they are asked for without it.
ENOUGH = 0.75
#: The share follows about so many answers.
_LAST = 32


class Known:
    """States by service, each with the memo's text: a version may come again after a service was forgotten."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[ServiceState, str]] = {}
        self._share = 0.0

    @property
    def enough(self) -> bool:
        """Say whether most answers bring nothing new: no other worker writes these services."""
        return self._share > ENOUGH

    def keep(self, service: str, state: ServiceState, memo: str) -> None:
        """Remember a state that was read or written; `memo` is its text."""
        if len(self._states) >= MOST and service not in self._states:
            self._states.clear()
        self._states[service] = (state, memo)

    def find(self, service: str, ver: str, memo: str) -> ServiceState | None:
        """Return the state of this version and memo; None where what is remembered is another."""
        found = self._states.get(service)
        same = found is not None and found[0].ver == ver and found[1] == memo
        self._share += (same - self._share) / _LAST
        return found[0] if found is not None and same else None

    def forget(self) -> None:
        """Forget all: Redis may have lost what was written."""
        self._states.clear()
