"""The picture of autoencoders.py."""

import numpy as np
from matplotlib.figure import Figure

ROWS, COLUMNS = 6, 10


def draw(path, filters, repaired):
    """Above, filters of each kind, (units, 784) or (filters, 1, rows, columns); below, digits by
    title, (N, 1, 28, 28)."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    for axis, (kind, weights) in zip(above.subplots(1, len(filters)), filters.items(), strict=True):
        axis.imshow(sheet(weights), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(f"filters, {kind}")
        axis.set_axis_off()
    axes = below.subplots(1, len(repaired))
    for axis, (title, digits) in zip(axes, repaired.items(), strict=True):
        axis.imshow(np.hstack(digits[:, 0]), cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    figure.savefig(path, dpi=100)


def sheet(weights):
    """Filters beside and above one another, each relative to its largest weight."""
    side = round(weights[0].size ** 0.5)
    columns, rows = (COLUMNS, ROWS) if len(weights) >= ROWS * COLUMNS else (5, 3)
    tiles = weights[: rows * columns].reshape(-1, side, side)
    tiles = tiles / np.abs(tiles).max(axis=(1, 2), keepdims=True)
    framed = np.pad(tiles, ((0, 0), (0, 1), (0, 1)))
    grid = framed.reshape(rows, columns, side + 1, side + 1).transpose(0, 2, 1, 3)
    return grid.reshape(rows * (side + 1), -1)
