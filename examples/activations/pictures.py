"""The pictures of deep.py."""

import numpy as np
from matplotlib.figure import Figure

# Colours that every kind of eye tells apart (Okabe and Ito), and markers for those printed grey.
STYLES = (
    {"color": "#000000", "marker": "x"},
    {"color": "#56B4E9", "marker": "v"},
    {"color": "#D55E00", "marker": "^"},
    {"color": "#0072B2", "marker": "o"},
    {"color": "#009E73", "marker": "s"},
)
LEAST = 1e-15  # on the axes: smaller values, and 0, are drawn here


def draw_study(path, runs, activations, fillers):
    """A row for each activation, a line for each kind of start values."""
    figure = Figure(figsize=(13, 3 * len(activations)), layout="constrained")
    axes = figure.subplots(len(activations), 3)
    for (signal, gradient, loss), activation in zip(axes, activations, strict=True):
        for style, filler in zip(STYLES, fillers, strict=True):
            run, line = runs[activation, filler], {**style, "label": filler}
            layers = np.arange(1, len(run.signal) + 1)
            signal.plot(layers, np.maximum(run.signal, LEAST), markersize=5, **line)
            gradient.plot(layers, np.maximum(run.gradient, LEAST), markersize=5, **line)
            loss.plot(*smooth(run.losses), **{**line, "marker": ""})
        for axis in (signal, gradient):
            axis.set(yscale="log", ylim=(LEAST / 3, 1e12), xticks=layers, xlabel="layer")
        loss.set(ylim=(-0.05, 2.6), xlabel="iteration")
        signal.set_ylabel(activation, fontsize=13)
    titles = ("signal at the start", "weights' gradient at the start", "training loss")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=80)


def smooth(losses, window=20):
    """Iterations, and the mean loss of those before each."""
    window = min(window, len(losses))
    if not window:
        return (), ()
    means = np.convolve(losses, np.full(window, 1 / window), "valid")
    return np.arange(len(means)) + window, means


def draw_histograms(path, signals):
    """A row for each kind of start values: what the odd layers give, between -1 and 1."""
    figure = Figure(figsize=(13, 1.5 * len(signals)), layout="constrained")
    shown = range(0, len(next(iter(signals.values()))), 2)
    axes = figure.subplots(len(signals), len(shown), sharex=True)
    for row, (name, layers), style in zip(axes, signals.items(), STYLES, strict=True):
        for axis, i in zip(row, shown, strict=True):
            axis.hist(layers[i].ravel(), np.linspace(-1, 1, 41), color=style["color"])
            axis.set(yticks=(), xticks=(-1, 0, 1))
            axis.set_title(f"layer {i + 1}" if row[0] is axes[0, 0] else "")
        row[0].set_ylabel(name)
    figure.savefig(path, dpi=80)
