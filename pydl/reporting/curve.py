"""`Curve`: the training curve of a run as a picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats.atomic import atomic_write
from pydl.reporting.glog import LOGGER
from pydl.reporting.jsonlog import Run, Scores, read_run
from pydl.reporting.numbers import scalars
from pydl.solver import Listener, Solver

_HOW_TO_INSTALL = 'needs matplotlib: pip install "pydl[plot]"'
_TRAIN, _TEST, _SCORES = "#1f77b4", "#d62728", ("#2ca02c", "#9467bd", "#8c564b", "#17becf")
_POINTS = {"markersize": 4, "linewidth": 1.4, "clip_on": False, "zorder": 3}
_SMOOTHING = 50  # windows of smoothing in the width of the picture


class Curve(Listener):
    """Draws the curve from a run's JSON log at the end, so a resumed run shows from its start.

    Args:
        path: the picture; the suffix says the kind (.png, .svg, .pdf).
        log: the file of a `JsonLog` that comes before this in `Solver.listeners`.

    ``error`` tells why there is no picture after the run, for example without matplotlib; a run is
    never ended for that.
    """

    def __init__(self, path: str | os.PathLike, log: str | os.PathLike) -> None:
        self.path, self.log = Path(path), Path(log)
        self.error = ""

    def on_end(self, solver: Solver) -> None:
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            return
        self.error = ""
        try:
            draw_curve(read_run(self.log), self.path)
        except Error as error:
            self.error = str(error)
            LOGGER.warning("No curve: %s", error)


def draw_curve(run: Run, path: str | os.PathLike) -> None:
    """Draws training loss, test loss and test scores of a run to a picture file.

    Raises Error without matplotlib, for an unknown suffix or a file that cannot be written.

    >>> draw_curve(read_run("lenet_log.jsonl"), "lenet_curve.png")
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import StrMethodFormatter
    except ImportError as error:
        raise Error(f"{os.fspath(path)}: the curve {_HOW_TO_INSTALL}") from error
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw_losses(axes, run)
    scores = _draw_scores(axes, run)
    axes.set(xlabel="iteration", xlim=(0, max([run.max_iter, *run.iterations, 1])))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(_title(run), loc="left", fontsize=11, fontweight="bold")
    handles = [handle for a in (axes, scores) if a for handle in a.get_legend_handles_labels()[0]]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(handles),
        frameon=False,
    )  # fmt: skip
    save_figure(figure, Path(path))


def _draw_losses(axes: Any, run: Run) -> None:
    x, y = np.asarray(run.iterations, float), np.asarray(run.losses, float)
    axes.plot(x, y, color=_TRAIN, alpha=0.25, linewidth=0.7)
    axes.plot(*_smooth(x, y), color=_TRAIN, linewidth=1.8, label="training loss")
    for name, (tx, ty) in _series(run.tests, in_loss=True).items():
        axes.plot(tx, ty, "o-", color=_TEST, label=f"test {name}", **_POINTS)
    values = y[np.isfinite(y) & (y > 0)]
    if values.size and values.max() > 20 * np.median(values[-len(values) // 10 :]):
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top"]].set_visible(False)


def _draw_scores(axes: Any, run: Run) -> Any:
    """The test nets' other outputs on an axis of their own, if there are any."""
    series = _series(run.tests, in_loss=False)
    if not series:
        return None
    scores = axes.twinx()
    for color, (name, (x, y)) in zip(_SCORES, series.items(), strict=False):
        scores.plot(x, y, "s-", color=color, label=f"test {name}", **_POINTS)
        scores.annotate(
            f"{y[-1]:.4g}", (x[-1], y[-1]), (-6, 6), textcoords="offset points", ha="right",
            color=color, fontsize=9,
        )  # fmt: skip
    scores.set_ylabel(", ".join(f"test {name}" for name in series))
    values = np.concatenate([y for _, y in series.values()])
    if values.min() >= 0 and values.max() <= 1:
        scores.set_ylim(0, 1.04)
    scores.spines[["top"]].set_visible(False)
    return scores


def _series(tests: Sequence[Scores], in_loss: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (iterations, values) of scalar test outputs, those in the loss or the others."""
    points: dict[str, list[tuple[int, float]]] = {}
    for test in tests:
        for name, value in scalars(test.outputs).items():
            if bool(test.loss_weights.get(name)) == in_loss:
                label = f"{name} (net #{test.net})" if test.net else name
                points.setdefault(label, []).append((test.iteration, value))
    return {name: tuple(np.array(p, float).T) for name, p in points.items()}


def _smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A centred moving mean. Its window is narrow at the start, where the loss falls fast."""
    keep = np.isfinite(y)
    x, y = x[keep], y[keep]
    n = len(x)
    i = np.arange(n)
    half = np.minimum(i, n // (2 * _SMOOTHING))
    end = np.minimum(i + half + 1, n)
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return x, (sums[end] - sums[i - half]) / (end - i + half)


def _title(run: Run) -> str:
    last = [test for test in run.tests if test.net == 0][-1:]
    found = [scalars(test.outputs) for test in last]
    scores = [f"{name} {value:.4g}" for values in found for name, value in values.items()]
    return f"{run.net or 'training'}{': test ' if scores else ''}{', '.join(scores)}"


def save_figure(figure: Any, path: Path) -> None:
    """Writes a picture of the kind that the suffix says. Raises Error for unknown kinds."""
    kind = path.suffix[1:].lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise Error(f"{path}: unknown kind of picture .{kind}; use .png, .svg or .pdf")
    with atomic_write(path) as file:
        figure.savefig(file, format=kind)
