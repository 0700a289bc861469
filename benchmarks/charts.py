"""Charts for docs/performance.md. The hardware's measured peak is the top of the y-axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

PRECISION_COLORS = {"FLOAT32": "#1f618d", "BF16": "#c0392b"}
COLORS = {
    "pydl": "#c0392b",
    "PyTorch": "#e59866",
    "ONNX Runtime": "#7fb3d5",
    "OpenVINO": "#1f618d",
    "numpy": "#b2babb",
}


def bars(path: Path, title: str, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Percent of the peak by side, a group of bars for each net.

    Args:
        groups: {net: {side: percent}}. Above 100 where an algorithm (Winograd) needs fewer
            operations than are counted.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    width = 0.8 / max(map(len, groups.values()))
    for side, color in COLORS.items():
        found = [(g, list(values).index(side), values) for g, values in enumerate(groups.values())
                 if side in values]  # fmt: skip
        if found:
            at = [g + (i - (len(values) - 1) / 2) * width for g, i, values in found]
            heights = [values[side] for *_, values in found]
            drawn = axes.bar(at, heights, 0.92 * width, color=color, label=side)
            axes.bar_label(drawn, [f"{height:.0f}" for height in heights], fontsize=7)
    axes.set_xticks(range(len(groups)), list(groups))
    _finish(axes, title, max(max(values.values()) for values in groups.values()))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def lines(
    path: Path, title: str, sizes: Sequence[int], percents: Mapping[str, list[float]]
) -> None:
    """Percent of the peak over the size of a square product."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for side, values in percents.items():
        axes.plot(sizes, values, marker="o", color=COLORS[side], label=side)
    axes.set_xticks(sizes)
    axes.set_xlabel("m = n = k")
    _finish(axes, title, max(map(max, percents.values())))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[Mapping]]]) -> None:
    """Test error on the way, a panel for each example, a line for each seed.

    Args:
        panels: {title: {precision: runs}}; a run has "iterations" and "accuracy".
    """
    plt = _pyplot()
    figure, row = plt.subplots(1, len(panels), figsize=(9, 3.6), layout="constrained")
    for axes, (title, by_precision) in zip(np.atleast_1d(row), panels.items(), strict=True):
        for precision, color in PRECISION_COLORS.items():
            for i, run in enumerate(by_precision.get(precision, [])):
                errors = [100 * (1 - accuracy) for accuracy in run["accuracy"]]
                axes.plot(run["iterations"][1:], errors[1:], color=color, linewidth=1.2, alpha=0.8,
                          label=None if i else precision)  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("iteration")
        axes.set_ylabel("test error, %")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise SystemExit('charts need matplotlib; pip install "pydl[plot]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    # The same results give the same file.
    pyplot.rcParams.update({"svg.hashsalt": "pydl", "svg.fonttype": "none", "font.size": 9})
    return pyplot


def _finish(axes, title: str, highest: float) -> None:
    axes.set_title(title)
    axes.set_ylabel("% of the measured peak FLOP/s")
    axes.set_ylim(0, 100 if highest <= 100 else 1.06 * highest)
    if highest > 100:
        axes.axhline(100, color="black", linewidth=0.8, linestyle="--")
    axes.spines["right"].set_visible(False)
    axes.spines["top"].set_visible(highest <= 100)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.figure.legend(ncols=len(COLORS), frameon=False, loc="outside lower center")
