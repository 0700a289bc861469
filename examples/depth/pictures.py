"""The picture of depth.py."""

import numpy as np
from matplotlib.figure import Figure

# Colours that every kind of eye tells apart (Okabe and Ito).
COLORS = ("#56B4E9", "#009E73", "#D55E00", "#0072B2", "#000000")


def draw(path, runs):
    """Left the plain nets, right the residual ones; training error thin, test error thick."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    depths = sorted({depth for _, depth in runs})
    for (residual, depth), (training, at, test) in runs.items():
        color = COLORS[depths.index(depth) % len(COLORS)]
        axes[int(residual)].plot(*smooth(training), color=color, linestyle=":", linewidth=1.5)
        axes[int(residual)].plot(at, test, "o-", color=color, markersize=4, label=f"{depth} layers")
    for axis, title in zip(axes, ("plain nets", "residual nets"), strict=True):
        axis.set(title=title, xlabel="iteration")
        axis.set_ylim(0, min(100, 1.3 * max(test[-1] for _, _, test in runs.values())))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[0].set_ylabel("error, %: test (lines with points), training (dotted)")
    figure.savefig(path, dpi=80)


def smooth(values, window=100):
    """Iterations, and the mean of the values before each."""
    window = min(window, len(values))
    means = np.convolve(values, np.full(window, 1 / window), "valid")
    return np.arange(len(means)) + window, means
