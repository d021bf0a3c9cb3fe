"""Logs on stderr: a sentence for people, an `action` and fields for machines."""

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Log:
    """What the gateway tells of itself."""

    def __init__(self, form: str = "auto", level: str = "info") -> None:
        as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
        renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                renderer,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        )

    def debug(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the everyday."""
        self._log.debug(message, action=action, **fields)

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the expected."""
        self._log.info(message, action=action, **fields)

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Tell of what somebody should look at."""
        self._log.warning(message, action=action, **fields)

    def defect(self, action: str, message: str, error: BaseException, **fields: Any) -> None:
        """Tell of what must not happen, with its trace."""
        self._log.error(message, action=action, exc_info=error, **fields)
