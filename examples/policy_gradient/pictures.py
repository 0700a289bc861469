"""Pictures of what was learned: curves, episodes of CartPole, and what a net looks at in Pong."""

import numpy as np
from matplotlib.figure import Figure

COLORS = ("#D55E00", "#E69F00", "#0072B2")  # apart for every kind of eye
PANELS = 8


def draw_curves(path, curves, solved, window=50):
    """For each kind (runs, episodes): the mean of the last `window` episodes, in the middle run,
    the worst and the best."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for (name, lengths), color in zip(curves.items(), COLORS, strict=True):
        window = min(window, lengths.shape[1])
        means = [np.convolve(run, np.full(window, 1 / window), "valid") for run in lengths]
        episodes = np.arange(window, lengths.shape[1] + 1)
        axis.fill_between(episodes, np.min(means, 0), np.max(means, 0), color=color, alpha=0.15)
        axis.plot(episodes, np.median(means, 0), color=color, label=name)
    axis.axhline(solved, color="black", linestyle=":", linewidth=1)
    axis.text(2, solved + 4, f"solved: {solved}", fontsize=9)
    axis.set(xlabel="episodes", ylabel=f"steps, mean of {window} episodes", ylim=(0, 515))
    axis.set_xlim(0, lengths.shape[1])
    figure.legend(title="weight of an action", loc="outside upper center", ncols=len(curves))
    figure.savefig(path, dpi=100)


def draw_balance(path, episodes):
    """A row for each episode, of observations (T, 4): cart and pole at a few times."""
    figure = Figure(figsize=(13, 1.5 * len(episodes)), layout="constrained")
    rows = figure.subfigures(len(episodes), 1)
    for row, (name, observations) in zip(rows, episodes.items(), strict=True):
        row.suptitle(name, x=0.01, ha="left", fontsize=11)
        times = np.linspace(0, len(observations) - 1, PANELS).round().astype(int)
        for axis, t in zip(row.subplots(1, PANELS), times, strict=True):
            draw_cart(axis, place=observations[t, 0], angle=observations[t, 2])
            axis.set_title(f"step {t}", fontsize=9, y=-0.25)
    figure.savefig(path, dpi=100)


def draw_cart(axis, place, angle):
    """At the height of the cart the track, as long as an episode allows."""
    axis.plot([-2.4, 2.4], [0, 0], color="grey", linewidth=1)
    axis.plot([place - 0.4, place + 0.4], [0, 0], color="black", linewidth=9, solid_capstyle="butt")
    tip = place + 1.6 * np.sin(angle), 1.6 * np.cos(angle)
    axis.plot([place, tip[0]], [0, tip[1]], color=COLORS[0], linewidth=4)
    axis.set(xlim=(-2.5, 2.5), ylim=(-0.4, 1.8), aspect="equal")
    axis.set_axis_off()


def draw_scores(path, course):
    """Of (steps, seconds, score)."""
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axis = figure.subplots()
    steps, seconds, scores = np.array(course).T
    axis.plot(seconds / 60, scores, color=COLORS[2])
    axis.axhline(0, color="black", linestyle=":", linewidth=1)
    axis.set(xlabel="minutes on one core", ylabel="score of a game, mean", ylim=(-21.5, 21.5))
    axis.set_title(f"{steps[-1] / 1e6:.2g} million steps", loc="right", fontsize=10)
    figure.savefig(path, dpi=100)


def draw_attention(path, frames, attention):
    """A row of frames (N, 80, 80), with what counts in them in orange."""
    figure = Figure(figsize=(2.2 * len(frames), 2.3), layout="constrained")
    for axis, frame, counts in zip(figure.subplots(1, len(frames)), frames, attention, strict=True):
        share = np.minimum(counts / np.quantile(counts, 0.998), 1)[..., np.newaxis]
        orange = np.array([213, 94, 0]) / 255
        background = np.full((*frame.shape, 3), 0.93) * (1 - share) + orange * share
        background[frame > 0] = 0
        axis.imshow(background)
        axis.set_axis_off()
    figure.savefig(path, dpi=100)
