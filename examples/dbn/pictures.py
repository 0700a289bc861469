"""The pictures of few_labels.py."""

import numpy as np
from matplotlib.figure import Figure

COLORS = {"pre-trained": "#0072B2", "random": "#D55E00"}
ROWS, COLUMNS = 6, 20


def draw_curves(path, labels, errors):
    """Test errors of all seeds, and their means, by the number of labels."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.add_subplot()
    for name, found in errors.items():
        found = np.array(found)
        axis.plot(np.tile(labels, len(found)), found.ravel(), ".", color=COLORS[name], alpha=0.5)
        style = "o-" if name == "pre-trained" else "s--"
        axis.plot(labels, found.mean(axis=0), style, color=COLORS[name], label=f"{name} weights")
    axis.set_xscale("log")
    axis.set_xticks(labels, [f"{count:,}" for count in labels])
    axis.minorticks_off()
    axis.set(xlabel="labels", ylabel="test error (%)", ylim=(0, None))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=100)


def draw_filters(path, filters):
    """The weights of some units, (N, rows, columns): blue where a unit wants no ink, red where it
    wants some."""
    figure = Figure(figsize=(COLUMNS * 0.45, ROWS * 0.45))
    axes = figure.subplots(ROWS, COLUMNS, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, weights in zip(axes.flat, filters, strict=False):
        limit = np.abs(weights).max()
        axis.imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.995)
    figure.savefig(path, dpi=100)
