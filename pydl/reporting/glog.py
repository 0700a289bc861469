"""Log lines with glog's prefix, which Caffe's log tools look for.

``I1121 05:33:25.123456  1234 log.py:57] Iteration 100, lr = 0.00992565``
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pydl.errors import Error

LOGGER = logging.getLogger("pydl")
_LETTERS = {"DEBUG": "I", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


class GlogFormatter(logging.Formatter):
    """Puts glog's prefix before every line of a message.

    glog leaves the further lines of a message bare; with the prefix a log stays readable for
    Caffe's parse_log.py, which wants a time on each line after the first iteration.
    """

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        prefix = (
            f"{_LETTERS.get(record.levelname, 'I')}{when}.{int(record.created % 1 * 1e6):06d} "
            f"{record.process or os.getpid():>5} {record.filename}:{record.lineno}] "
        )
        return "\n".join(prefix + line for line in record.getMessage().split("\n"))


class _FileHandler(logging.FileHandler):
    """Raises Error where a line cannot be written, such as on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise Error(f"{self.baseFilename}: cannot write: {error.strerror}") from error
        raise

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written was reported already
            super().close()


class _StreamHandler(logging.StreamHandler):
    """Passes over a terminal that has gone: the run goes on and its files tell the rest."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            raise


@contextlib.contextmanager
def log_to_file(path: str | os.PathLike, append: bool = False) -> Iterator[None]:
    """Within the block, the lines of `CaffeLog` go to a file. Raises Error if they cannot.

    >>> with log_to_file("lenet.log"):
    ...     LOGGER.info("Solving LeNet")
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _FileHandler(path, "a" if append else "w", encoding="utf-8")
    except OSError as error:
        raise Error(f"{path}: cannot write: {error.strerror}") from error
    with _attached(handler):
        yield


@contextlib.contextmanager
def log_to_stream(stream: TextIO) -> Iterator[None]:
    """Within the block, the lines of `CaffeLog` go to a stream such as ``sys.stderr``."""
    with _attached(_StreamHandler(stream)):
        yield


@contextlib.contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    handler.setFormatter(GlogFormatter())
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        handler.close()
