"""`Progress`: how far a run is, on one line of the terminal."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from pydl.reporting.numbers import brief, scalars
from pydl.solver import Listener, Solver

_PAUSE = 0.15  # seconds between two drawings
_WINDOW = 100  # drawings that the shown speed is the mean of
_BAR = (10, 30)  # its least and greatest width


class Progress(Listener):
    """A bar with iterations, loss, the last test's score, speed and remaining time.

    Test results and snapshots are lines above it. The line is redrawn in place a few times a
    second and always fits the terminal's present width.

    Args:
        stream: the terminal; ``sys.stderr`` if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        encoding = (getattr(self._stream, "encoding", None) or "ascii").lower()
        self._full, self._empty = ("━", "─") if encoding.startswith("utf") else ("#", ".")
        self._loss = _Smooth()
        self._score = ""
        self._drawn = 0.0
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=_WINDOW)

    def on_start(self, solver: Solver) -> None:
        self._marks.clear()
        self._draw(solver, time.monotonic())

    def on_iteration(self, solver: Solver, loss: float) -> None:
        self._loss.add(loss)
        now = time.monotonic()
        if now - self._drawn >= _PAUSE:
            self._draw(solver, now)

    def on_test(self, solver: Solver, index: int, scores: dict[str, np.ndarray]) -> None:
        weights = solver.test_nets[index].loss_weights
        shown = [name for name in scalars(scores) if not weights.get(name)]
        if index == 0 and shown:
            self._score = f"{shown[0]} {scalars(scores)[shown[0]]:.4f}"
        which = f" net #{index}" if len(solver.test_nets) > 1 else ""
        self.line(f"Iteration {solver.iter}, test{which}: {brief(scores)}")
        self._draw(solver, time.monotonic())

    def on_snapshot(self, solver: Solver, path: Path) -> None:
        self.line(f"Iteration {solver.iter}, snapshot: {path}")
        self._draw(solver, time.monotonic())

    def on_end(self, solver: Solver) -> None:
        self._draw(solver, time.monotonic())
        self._write("\n")

    def line(self, text: str) -> None:
        """Writes a line above the bar."""
        self._write(f"\r\x1b[K{text}\n")

    def _draw(self, solver: Solver, now: float) -> None:
        self._drawn = now
        self._marks.append((now, solver.iter))
        self._write("\r" + self._text(solver) + "\x1b[K")

    def _text(self, solver: Solver) -> str:
        total = max(solver.max_iter, solver.iter, 1)
        share = solver.iter / total
        parts = [f"{int(100 * share):3d}%", f"{solver.iter}/{total}"]
        if self._loss.weight:
            parts.append(f"loss {self._loss.value:.4f}")
        parts += [self._score] if self._score else []
        parts += self._speed(total - solver.iter)
        room = self._columns() - 1
        text = ""
        for part in parts:
            longer = f"{text}  {part}" if text else part
            if len(longer) > room:
                break
            text = longer
        width = min(_BAR[1], room - len(text) - 1)
        if width < _BAR[0]:
            return text
        filled = int(width * share)
        return f"{self._full * filled}{self._empty * (width - filled)} {text}"

    def _speed(self, remaining: int) -> list[str]:
        (start, first), (now, last) = self._marks[0], self._marks[-1]
        if last <= first or now <= start:
            return []
        rate = (last - first) / (now - start)
        return [f"{rate:.0f} it/s" if rate >= 10 else f"{rate:.2f} it/s",
                f"ETA {_clock(remaining / rate)}"]  # fmt: skip

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError, AttributeError):
            return 80

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that has gone does not end the run
            self._stream.write(text)
            self._stream.flush()


class _Smooth:
    """An exponential mean that starts without bias."""

    def __init__(self, decay: float = 0.95) -> None:
        self._decay = decay
        self._sum = self.weight = 0.0

    def add(self, value: float) -> None:
        self._sum = self._decay * self._sum + value
        self.weight = self._decay * self.weight + 1

    @property
    def value(self) -> float:
        return self._sum / self.weight


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _clock(59.6), _clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
