"""The pictures of fit.py."""

import numpy as np
from matplotlib.figure import Figure

TRUE, FITTED = "#0072B2", "#D55E00"


def draw_curve(path, true, data, progress, fitted, by_hidden, over_time):
    """Above, a net on its way; below, nets of different sizes, and errors."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    above, below = figure.subfigures(2, 1)
    axes = above.subplots(1, len(progress))
    for axis, (moment, said) in zip(axes, progress.items(), strict=True):
        draw_fit(axis, true, data, said)
        axis.set_title(f"after {moment:,} iterations")
    axes[0].legend(frameon=False, loc="lower left")
    axes = below.subplots(1, len(fitted) + 2)
    for axis, (hidden, said) in zip(axes, fitted.items(), strict=False):
        draw_fit(axis, true, data, said)
        axis.set_title(f"{hidden} hidden units")
    draw_errors(axes[-2], list(by_hidden), list(by_hidden.values()))
    axes[-2].set(xlabel="hidden units", title="error by size", xscale="log")
    axes[-2].set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    axes[-2].minorticks_off()
    axes[-2].legend(frameon=False)
    hidden, ticks, errors = over_time
    draw_errors(axes[-1], ticks, errors)
    axes[-1].set(xlabel="iterations", title=f"error with {hidden} units", xscale="log")
    figure.savefig(path, dpi=100)


def draw_fit(axis, true, data, said):
    axis.plot(*data, ".", color="0.4")
    axis.plot(*true, color=TRUE, linestyle="--", label="function")
    axis.plot(true[0], said, color=FITTED, label="net")
    axis.set(ylim=(-1.6, 1.6), xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def draw_errors(axis, ticks, errors):
    seen, true = np.transpose(errors)
    axis.plot(ticks, seen, "s--", color="0.4", markersize=4, label="on the samples")
    axis.plot(ticks, true, "o-", color=FITTED, markersize=4, label="on the function")
    axis.set_ylim(0, None)


def draw_surface(path, data, true, maps):
    """Seen from above: the samples, what the net says after so many iterations, the function."""
    figure = Figure(figsize=(13, 2.6), layout="constrained")
    axes = figure.subplots(1, len(maps) + 2)
    (x, y), z = data[0].T, data[1][:, 0]
    style = {"cmap": "PuOr_r", "vmin": -1.3, "vmax": 1.3}
    axes[0].scatter(x, y, c=z, s=9, **style)
    axes[0].set_title(f"{len(z)} samples")
    side = round(len(true) ** 0.5)
    titles = [f"after {moment:,}" for moment in maps] + ["the function"]
    for axis, title, values in zip(axes[1:], titles, [*maps.values(), true], strict=True):
        image = axis.imshow(
            values.reshape(side, side), origin="lower", extent=(-1, 1, -1, 1), **style
        )
        axis.set_title(title)
    for axis in axes:
        axis.set(xticks=(-1, 0, 1), yticks=(), aspect="equal", xlim=(-1, 1), ylim=(-1, 1))
    axes[0].set_yticks((-1, 0, 1))
    figure.colorbar(image, ax=axes[-1], shrink=0.8)
    figure.savefig(path, dpi=100)
