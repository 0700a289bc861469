"""The picture of adding.py."""

import numpy as np
from matplotlib.figure import Figure

COLOURS = {"RNN": "#D55E00", "LSTM": "#0072B2", "GRU": "#009E73"}
STYLES = {"RNN": "--", "LSTM": "-", "GRU": "-"}


def draw(path, variance, errors, gradients):
    """For each length the errors; last, how far back in the longest sequence gradients reach."""
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    lengths = sorted({steps for steps, _ in errors})
    axes = figure.subplots(1, len(lengths) + 1)
    for axis, steps in zip(axes, lengths, strict=False):
        for (length, kind), values in errors.items():
            if length == steps:
                axis.plot(*smooth(values), STYLES[kind], color=COLOURS[kind], label=kind)
        axis.axhline(variance, color="0.5", linewidth=1, linestyle=":", zorder=1)
        axis.set(yscale="log", ylim=(1e-5, 0.4), xlabel="iterations", title=f"{steps} steps")
    axes[0].set_ylabel("mean squared error")
    right = axes[0].get_yaxis_transform()
    axes[0].text(0.97, 1.1 * variance, "always saying 1", transform=right, ha="right", va="bottom")
    for (length, kind), values in gradients.items():
        if length == lengths[-1]:
            axes[-1].plot(np.maximum(values, 1e-20), STYLES[kind], color=COLOURS[kind], label=kind)
    axes[-1].set(yscale="log", ylim=(1e-20, 1e-2), xlabel="step", title="gradient at each step")
    axes[-1].legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=100)


def smooth(values, window=100):
    """Means of windows, and where their middles are."""
    window = max(1, min(window, len(values) // 4))
    means = np.convolve(values, np.ones(window) / window, mode="valid")[::window]
    return window * (np.arange(len(means)) + 0.5), means
