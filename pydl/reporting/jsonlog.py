"""`JsonLog`: a run as JSON lines, one object per event, and `read_run`, which reads it back.

Every object has ``event``, ``time`` (ISO 8601, UTC) and ``iteration``. The events:

- ``start``: net, max_iter, seed, threads, version. After a resumed start at iteration n, what the
  file holds of iterations from n on is superseded;
- ``iteration``: loss, the mean over the iterations since the last such event;
- ``display``: loss, lr, iterations_per_second, outputs: what Caffe shows every ``display``
  iterations;
- ``test``: net (index), outputs, loss_weights;
- ``snapshot``: path;
- ``end``: finished, and error if one ended the run.

A number that JSON lacks (NaN, infinity) is null.
"""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import pydl
from pydl.errors import Error
from pydl.solver import Listener, Report, Solver

_MOST_ITERATION_EVENTS = 2000


class JsonLog(Listener):
    """Writes the events of a run to a file, each line complete as soon as it happens.

    Args:
        path: the file, made at once so that a bad path shows before the training.
        append: keep what it holds, for a resumed run.

    Raises:
        Error: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, append: bool = False) -> None:
        self.path = Path(path)
        self._every = 1
        self._sum, self._count = 0.0, 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a" if append else "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise Error(f"{self.path}: cannot write: {error.strerror}") from error

    def on_start(self, solver: Solver) -> None:
        self._every = max(1, solver.max_iter // _MOST_ITERATION_EVENTS)
        self._write(
            "start", solver.iter, net=solver.net.name, max_iter=solver.max_iter, seed=solver.seed,
            threads=pydl.num_threads(), version=pydl.__version__,
        )  # fmt: skip

    def on_iteration(self, solver: Solver, loss: float) -> None:
        self._sum += loss
        self._count += 1
        if self._count >= self._every:
            self._write("iteration", solver.iter - 1, loss=self._sum / self._count)
            self._sum, self._count = 0.0, 0

    def on_display(self, solver: Solver, report: Report) -> None:
        rate = report.iterations / report.seconds if report.seconds else 0.0
        self._write(
            "display", report.iteration, loss=report.loss, lr=report.lr,
            iterations_per_second=rate, outputs=report.outputs,
        )  # fmt: skip

    def on_test(self, solver: Solver, index: int, scores: dict[str, np.ndarray]) -> None:
        weights = solver.test_nets[index].loss_weights
        self._write("test", solver.iter, net=index, outputs=scores, loss_weights=weights)

    def on_snapshot(self, solver: Solver, path: Path) -> None:
        self._write("snapshot", solver.iter, path=str(path))

    def on_end(self, solver: Solver) -> None:
        error = sys.exc_info()[1]
        fields = {} if error is None else {"error": str(error) or type(error).__name__}
        self._write("end", solver.iter, finished=solver.iter >= solver.max_iter, **fields)

    def close(self) -> None:
        self._file.close()

    def _write(self, event: str, iteration: int, **fields: Any) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        content = {"event": event, "time": now, "iteration": iteration, **fields}
        try:
            self._file.write(json.dumps(_plain(content), allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise Error(f"{self.path}: cannot write: {error.strerror}") from error


def _plain(value: Any) -> Any:
    """What JSON can hold; numbers with the digits that a float32 is good for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


@dataclass
class Scores:
    """The scores of one test net at one iteration; null in the file reads as NaN."""

    iteration: int
    net: int
    outputs: dict[str, np.ndarray]
    loss_weights: dict[str, float]


@dataclass
class Run:
    """What a JSON log tells of a run: each iteration once, also if it was resumed."""

    net: str = ""
    max_iter: int = 0
    iterations: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tests: list[Scores] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)


def read_run(path: str | os.PathLike) -> Run:
    """Reads what `JsonLog` wrote. A line cut short by a crash is passed over.

    Raises Error if the file cannot be read.

    >>> run = read_run("lenet_log.jsonl")
    >>> run.iterations[-1], run.losses[-1]
    (1999, 0.0123)
    """
    run = Run()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                _take(run, line)
    except OSError as error:
        raise Error(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error
    return run


def _take(run: Run, line: str) -> None:
    try:
        event = json.loads(line)
        kind, iteration = event["event"], event["iteration"]
        if kind == "start":
            _go_back(run, iteration)
            run.net, run.max_iter = event["net"], event["max_iter"]
        elif kind == "iteration":
            run.iterations.append(iteration)
            run.losses.append(math.nan if event["loss"] is None else event["loss"])
        elif kind == "test":
            outputs = {name: np.asarray(v, float) for name, v in event["outputs"].items()}
            run.tests.append(Scores(iteration, event["net"], outputs, event["loss_weights"]))
        elif kind == "snapshot":
            run.snapshots.append(event["path"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return


def _go_back(run: Run, iteration: int) -> None:
    keep = sum(1 for i in run.iterations if i < iteration)
    del run.iterations[keep:], run.losses[keep:]
    run.tests = [test for test in run.tests if test.iteration < iteration]
