"""pycaffe's log: Caffe's lines on standard error, through Python's logger "pydl"."""

from __future__ import annotations

import logging
import sys

from pydl.reporting.glog import LOGGER, GlogFormatter

_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_handler: logging.Handler | None = None


def init_log(level: int = 0) -> None:
    """Shows log lines on standard error: those of solvers, and of `log`.

    Args:
        level: 0: all; 1: warnings; 2: errors; 3: fatal errors.
    """
    global _handler
    if _handler is None:
        _handler = logging.StreamHandler(sys.stderr)
        _handler.setFormatter(GlogFormatter())
        LOGGER.addHandler(_handler)
    LOGGER.setLevel(_LEVELS[min(max(level, 0), len(_LEVELS) - 1)])


def log(message: str) -> None:
    """Logs a line, on standard error if the program has not said where to."""
    if not LOGGER.hasHandlers():
        init_log()
    LOGGER.info("%s", message, stacklevel=2)
