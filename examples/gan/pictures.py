"""The picture of gan.py."""

import numpy as np
from matplotlib.figure import Figure


def draw_sheets(path, sheets):
    """For each game: a row of samples for each moment, {moment: (samples, distance)}."""
    rows = max(len(seen) for seen in sheets.values())
    figure = Figure(figsize=(12, 0.75 * rows + 0.4), layout="constrained")
    columns = figure.subfigures(1, len(sheets))
    for column, (name, seen) in zip(columns, sheets.items(), strict=True):
        column.suptitle(name)
        axes = np.atleast_1d(column.subplots(rows, 1))
        for axis, (moment, (samples, distance)) in zip(axes, seen.items(), strict=True):
            axis.imshow(np.hstack(samples[:, 0]), cmap="gray_r", vmin=0, vmax=255)
            axis.set(xticks=(), yticks=())
            axis.set_ylabel(f"{moment:,}\nFD {distance:.0f}", rotation=0, ha="right", va="center")
            axis.spines[:].set_visible(False)
    figure.savefig(path, dpi=100)
