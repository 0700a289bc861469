"""The picture of deep_autoencoder.py."""

import numpy as np
from matplotlib.figure import Figure

COLORS, STYLES = ("#0072B2", "#D55E00"), ("-", "--")


def draw(path, rows, curves, linear):
    """Left, rows of digits (N, 784) by title; right, test errors by iteration, and `linear`, that
    of principal components."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.6, 1))
    for axis, (title, digits) in zip(left.subplots(len(rows), 1), rows.items(), strict=True):
        axis.imshow(np.hstack(digits.reshape(-1, 28, 28)), cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_axis_off()
    axis = right.subplots()
    for (name, curve), color, style in zip(curves.items(), COLORS, STYLES, strict=True):
        axis.plot(*zip(*curve.items(), strict=True), style, color=color, label=name)
    axis.axhline(linear, color="0.4", linestyle=":", label="principal components")
    axis.set(xlabel="iterations of fine-tuning", ylabel="squared error of a test digit")
    axis.set_ylim(0, None)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=100)
