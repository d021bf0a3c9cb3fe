"""Logs on stderr: a sentence for people, an `action` and fields for machines."""

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class StructLog:
    """`worker.ports.Log` on structlog."""

    def __init__(self, *, form: str, level: str, **bound: str) -> None:
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
        ).bind(**bound)

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Tell of the expected."""
        self._log.info(message, action=action, **fields)

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Tell of what somebody should look at."""
        self._log.warning(message, action=action, **fields)


class NullLog:
    """Tells nobody."""

    def info(self, action: str, message: str, **fields: Any) -> None:
        """Drop it."""

    def warning(self, action: str, message: str, **fields: Any) -> None:
        """Drop it."""
