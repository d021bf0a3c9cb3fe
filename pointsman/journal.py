"""The log of a program that is not a worker: written as a worker's is, so that one reader does for both."""

from typing import Any

from worker.adapters.telemetry.log import StructLog


class Journal(StructLog):
    """`gateway.log.Log` on structlog: lines on stderr, JSON where nobody looks on."""

    def debug(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the everyday."""
        self._log.debug(message, action=action, **fields)

    def defect(self, action: str, message: str, error: BaseException, **fields: Any) -> None:
        """Tell of what must not happen, with its trace."""
        self._log.error(message, action=action, exc_info=error, **fields)
