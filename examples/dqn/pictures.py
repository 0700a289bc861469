"""The pictures of dqn.py: points of games while learning, and a game with what the net expects."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#E69F00", "#D55E00")  # apart for every kind of eye
MARKS = {"paddle": "#000000", "ball": "#D55E00", "trail": "#F0B896", "bricks": "#0072B2"}
ACTIONS = ("stay", "left", "right")
PANELS = 8


def draw_curves(path, runs, steps, intervals=30):
    """Of each kind the runs' (step, score) of all games: the mean of each interval, thin for one
    run, thick for all."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    edges = np.linspace(0, steps, intervals + 1)
    for (name, games), color in zip(runs.items(), COLORS, strict=True):
        means = np.array([mean_between(edges, *scores.T) for scores in games])
        for mean in means:
            axis.plot(edges[1:] / 1000, mean, color=color, linewidth=0.8, alpha=0.5)
        axis.plot(edges[1:] / 1000, means.mean(axis=0), color=color, linewidth=2, label=name)
    axis.set(xlabel="thousand steps", ylabel="points of a game, mean", ylim=(0, None))
    axis.legend(loc="upper left")
    figure.savefig(path, dpi=100)


def mean_between(edges, at, values):
    counts = np.histogram(at, edges)[0]
    return np.histogram(at, edges, weights=values)[0] / np.maximum(counts, 1)


def draw_game(path, seen, values, score):
    """Pictures (T, 4, 10, 10) at a few times, above the expectations (T, 3) at all of them."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.3, 2))
    top.suptitle(f"a game of {score} points", x=0.01, ha="left", fontsize=11)
    times = np.linspace(0, len(seen) - 1, PANELS).round().astype(int)
    for axis, t in zip(top.subplots(1, PANELS), times, strict=True):
        axis.imshow(picture(seen[t]))
        axis.set_title(f"step {t}", fontsize=9)
        axis.set_axis_off()
    axis = bottom.subplots()
    for name, value, color in zip(ACTIONS, values.T, COLORS, strict=True):
        axis.plot(value, color=color, linewidth=1, label=name)
    axis.vlines(times, *axis.get_ylim(), color="grey", linestyle=":", linewidth=1)
    axis.set(xlabel="step", ylabel="Q", xlim=(0, max(1, len(seen) - 1)))
    axis.legend(loc="lower left", ncols=len(ACTIONS))
    figure.savefig(path, dpi=100)


def picture(seen):
    """(10, 10, 3) of (4, 10, 10)"""
    image = np.ones((*seen.shape[1:], 3))
    for channel, color in reversed([*zip(seen, MARKS.values(), strict=True)]):
        image[channel] = to_rgb(color)
    return image
