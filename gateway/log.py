"""What the gateway tells of itself, and to whom where nobody else is named."""

import logging
from typing import Any, Protocol


class Log(Protocol):
    """A sentence for people, an `action` and fields for machines."""

    def debug(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the everyday."""

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the expected."""

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Tell of what somebody should look at."""

    def defect(self, action: str, message: str, error: BaseException, **fields: Any) -> None:
        """Tell of what must not happen, with its trace."""


class LibraryLog:
    """A `Log` on the logger `pointsman.gateway`, for who serves the application from a program of theirs."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("pointsman.gateway")

    def debug(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the everyday."""
        self._tell(logging.DEBUG, action, message, fields)

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the expected."""
        self._tell(logging.INFO, action, message, fields)

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Tell of what somebody should look at."""
        self._tell(logging.WARNING, action, message, fields)

    def defect(self, action: str, message: str, error: BaseException, **fields: Any) -> None:
        """Tell of what must not happen, with its trace."""
        self._tell(logging.ERROR, action, message, fields, error)

    def _tell(
        self, level: int, action: str, message: str, fields: Any, error: BaseException | None = None
    ) -> None:
        about = {"action": action, "fields": fields}
        self._logger.log(level, "%s %s", message, fields, exc_info=error, extra=about)
