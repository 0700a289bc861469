"""`Run`: what all kinds of training share: who listens, who may ask it to stop, what it shows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pydl.errors import Error


class Listener:
    """What a run tells: subclass it, override what you care for, add it to `Solver.listeners`."""

    def on_start(self, solver: Run) -> None:
        """At the beginning of `Solver.step` or `Solver.solve`."""

    def on_iteration(self, solver: Run, loss: float) -> None:
        """After each iteration; ``loss`` is that iteration's, ``solver.smoothed_loss`` the mean."""

    def on_display(self, solver: Run, report: Report) -> None:
        """Every ``display`` iterations; the report holds what Caffe shows before the update."""

    def on_test(self, solver: Run, index: int, scores: dict[str, np.ndarray]) -> None:
        """After test net ``index`` ran: the mean of each of its outputs."""

    def on_debug(self, solver: Run, line: str) -> None:
        """With ``debug_info``: each line that Caffe writes then, at iterations that it displays."""

    def on_snapshot(self, solver: Run, path: Path) -> None:
        """After a snapshot is complete on disk; ``path`` is its ``.solverstate``."""

    def on_end(self, solver: Run) -> None:
        """At the end of `Solver.step` or `Solver.solve`, also when an error ended the run."""


@dataclass
class Report:
    """What Caffe displays at an iteration."""

    iteration: int
    loss: float  # smoothed over average_loss iterations
    lr: float
    seconds: float  # since the last report
    iterations: int  # since the last report
    outputs: dict[str, np.ndarray] = field(default_factory=dict)  # of the training net
    loss_weights: dict[str, float] = field(default_factory=dict)


class Run:
    """A training that goes iteration by iteration, tells its listeners what happens, and ends,
    with a snapshot, after the iteration in which it is asked to.

    A subclass has ``iter`` and ``max_iter`` and says where a snapshot goes.
    """

    iter: int
    max_iter: int

    def __init__(self, average_loss: int = 1) -> None:
        self.listeners: list[Listener] = []
        self.history: dict[str, list] = {"iteration": [], "loss": [], "test": []}
        self.last_snapshot: Path | None = None
        self._smoothed = _SmoothedLoss(average_loss)
        self._reported = (time.monotonic(), 0)
        self._request: str | None = None

    @property
    def smoothed_loss(self) -> float:
        """Mean loss of the last ``average_loss`` iterations of the present or last run, kept step
        by step in float32 as Caffe does (near zero it may come out slightly negative)."""
        return self._smoothed.value

    def snapshot(self) -> Path:
        """Writes what the run needs to go on; returns the path that stands for it."""
        raise NotImplementedError

    def request(self, what: str) -> None:
        """Asks a running `solve` to "stop" (snapshot, then stop), "stop_without_snapshot" or
        "snapshot" once the present iteration is done. Safe in signal handlers."""
        if not self._stopping:
            self._request = what

    @property
    def _stopping(self) -> bool:
        return self._request in ("stop", "stop_without_snapshot")

    def _handle_request(self) -> bool:
        """Does what was asked for; False if the run should end."""
        request = self._request
        if request == "snapshot":
            self._request = None
            self.snapshot()
        elif request == "stop" and self.last_snapshot != self._state_path():
            self.snapshot()
        return not self._stopping

    def _state_path(self) -> Path:
        """What `snapshot` would return now."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        self._reported = (time.monotonic(), self.iter)
        self._smoothed.clear()
        try:
            self._tell("on_start")
            yield
        finally:
            self._request = None
            self._tell("on_end")

    def _report(
        self,
        iteration: int,
        rate: float,
        outputs: dict[str, np.ndarray],
        loss_weights: Mapping[str, float],
    ) -> Report:
        now, before = time.monotonic(), self._reported
        self._reported = (now, iteration)
        return Report(
            iteration, self.smoothed_loss, rate, now - before[0], iteration - before[1], outputs,
            dict(loss_weights),
        )  # fmt: skip

    def _tell(self, event: str, *args: Any) -> None:
        for listener in self.listeners:
            getattr(listener, event)(self, *args)

    def _with_way_back(self, error: Error) -> Error:
        """An error for a loss that is no number also says which snapshot is good."""
        if "the loss is" not in str(error):
            return error
        saved = self.last_snapshot
        way = f"the last good snapshot is {saved}" if saved else "there is no snapshot yet"
        return Error(f"{error} ({way})")


class _SmoothedLoss:
    """The loss that Caffe displays: a mean over the last iterations, kept in float32 by adding what
    comes and taking off what goes."""

    def __init__(self, iterations: int) -> None:
        self._most = iterations
        self.clear()
        self.value = float("nan")

    def clear(self) -> None:
        self._losses: list[np.float32] = []
        self._next = 0
        self._value = np.float32(0)

    @np.errstate(all="ignore")  # of losses that are infinite or NaN
    def add(self, loss: float) -> None:
        new, count = np.float32(loss), len(self._losses)
        if count < self._most:
            self._losses.append(new)
            self._value = (self._value * np.float32(count) + new) / np.float32(count + 1)
        else:
            change = new - self._losses[self._next]
            self._value += change / np.float32(self._most)
            self._losses[self._next] = new
        self._next = (self._next + 1) % self._most
        self.value = float(self._value)
