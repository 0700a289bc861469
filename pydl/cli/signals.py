"""What Ctrl-C and a hangup do to a training run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydl.solver import Solver

EFFECTS = ("stop", "snapshot", "none")


@contextlib.contextmanager
def signals(solver: Solver, sigint: str, sighup: str) -> Iterator[None]:
    """Within the block SIGINT and SIGHUP ask the solver to "stop" or "snapshot", or are ignored.

    Once a run was asked to stop, a second SIGINT raises KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup}
    handlers = {number: _handler(solver, effect) for number, effect in effects.items()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler(solver: Solver, effect: str):
    def stop(number: int, frame: FrameType | None) -> None:
        solver.request("stop")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _say("stopping after this iteration; Ctrl-C again stops at once")

    def snapshot(number: int, frame: FrameType | None) -> None:
        solver.request("snapshot")

    return {"stop": stop, "snapshot": snapshot, "none": signal.SIG_IGN}[effect]


def _say(text: str) -> None:
    """Past Python's buffers: the signal may have come while they were being written."""
    with contextlib.suppress(OSError, ValueError):
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        os.write(sys.stderr.fileno(), f"{start}{text}\n".encode())
