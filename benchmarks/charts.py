"""Charts for docs/performance.md. The hardware's measured peak is the top of the y-axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

COLORS = {
    "pydl": "#c0392b",
    "PyTorch": "#e59866",
    "ONNX Runtime": "#7fb3d5",
    "OpenVINO": "#1f618d",
    "numpy": "#b2babb",
}


def bars(
    path: Path, title: str, groups: Mapping[str, Mapping[str, float]], what: str = "peak FLOP/s"
) -> None:
    """Percent of the peak by side, a group of bars for each net.

    Args:
        groups: {net: {side: percent}}. Above 100 where an algorithm (Winograd) needs fewer
            operations than are counted.
    """
    plt = _pyplot()
    sides = [side for side in COLORS if any(side in values for values in groups.values())]
    figure, axes = plt.subplots(figsize=(9, 3.6))
    width = 0.8 / max(1, len(sides))
    for i, side in enumerate(sides):
        at = [g + (i - (len(sides) - 1) / 2) * width for g in range(len(groups))]
        heights = [values.get(side, 0) for values in groups.values()]
        drawn = axes.bar(at, heights, 0.92 * width, color=COLORS[side], label=side)
        axes.bar_label(drawn, [f"{h:.0f}" if h else "" for h in heights], fontsize=7)
    axes.set_xticks(range(len(groups)), list(groups))
    _finish(
        axes, title, what, max((max(v.values(), default=0) for v in groups.values()), default=0)
    )
    figure.savefig(path)
    plt.close(figure)


def lines(
    path: Path, title: str, sizes: Sequence[int], percents: Mapping[str, list[float]]
) -> None:
    """Percent of the peak over the size of a square product."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for side, values in percents.items():
        axes.plot(sizes, values, marker="o", color=COLORS[side], label=side)
    axes.set_xticks(sizes)
    axes.set_xlabel("m = n = k")
    _finish(axes, title, "peak FLOP/s", max((max(v) for v in percents.values()), default=0))
    figure.savefig(path)
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


def _finish(axes, title: str, what: str, highest: float) -> None:
    axes.set_title(title)
    axes.set_ylabel(f"% of {what}")
    axes.set_ylim(0, 100 if highest <= 100 else 1.08 * highest)
    if highest > 100:
        axes.axhline(100, color="black", linewidth=0.8, linestyle="--")
    axes.spines[["top", "right"]].set_visible(highest <= 100)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=5, fontsize=8, frameon=False, loc="upper left")
    axes.figure.tight_layout()
