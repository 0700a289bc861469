"""The picture of what the perceptron and the net with a hidden layer learned."""

import numpy as np
from matplotlib.figure import Figure

COLORS = np.array(["#0072B2", "#D55E00"])  # of 0 and 1; apart for every kind of eye
MARKERS = "os"


def draw(path, corners, logic, perceptrons, xor, digits):
    """Perceptrons on three tables and their mistakes; XOR with a hidden layer, seen in the plane of
    its inputs and of its hidden units; the weights of the perceptron for two digits."""
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    axes = figure.subplots(2, 4)
    for axis, (name, (net, _)) in zip(axes[0], perceptrons.items(), strict=False):
        draw_plane(axis, net, corners, logic[name])
        axis.set_title(f"perceptron: {name}")
    for style, (name, (_, mistakes)) in zip(("o-", "s--", "^:"), perceptrons.items(), strict=True):
        axes[0, 3].plot(np.arange(1, len(mistakes) + 1), mistakes, style, label=name)
    axes[0, 3].set(title="mistakes", xlabel="pass", ylim=(-0.2, 4.2), yticks=range(5))
    axes[0, 3].legend()

    draw_plane(axes[1, 0], xor, corners, logic["XOR"])
    axes[1, 0].set_title("one hidden layer: XOR")
    draw_hidden(axes[1, 1], xor, corners, logic["XOR"])
    axes[1, 1].set_title("the same in its hidden units")

    pair, net, mistakes = digits
    weights = net.params["score"][0].data.reshape(28, 28)
    top = np.abs(weights).max()
    image = axes[1, 2].imshow(weights, cmap="PuOr_r", vmin=-top, vmax=top)
    axes[1, 2].set(title=f"weights: {pair[0]} or {pair[1]}", xticks=[], yticks=[])
    figure.colorbar(image, ax=axes[1, 2], shrink=0.8)
    axes[1, 3].plot(np.arange(1, len(mistakes) + 1), mistakes, color="black")
    axes[1, 3].set(title=f"mistakes: {pair[0]} or {pair[1]}", xlabel="pass", ylim=(0, None))
    figure.savefig(path, dpi=100)


def draw_plane(axis, net, points, labels):
    """Points, and on which side of a net's boundary each place of the plane is."""
    low, high = points.min() - 0.4, points.max() + 0.4
    ticks = np.linspace(low, high, 201)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    score = net.predict(grid, batch_size=len(grid)).reshape(len(ticks), -1)
    fill(axis, ticks, score)
    draw_points(axis, points, labels)
    axis.set(xlabel="x1", ylabel="x2", xticks=(0, 1), yticks=(0, 1))


def draw_hidden(axis, net, points, labels):
    """The plane of the two hidden units, in which the last layer draws a straight line."""
    net.forward(data=points)
    hidden = np.array(net.blobs["hidden"].data)
    weights, bias = (blob.data for blob in net.params["score"])
    ticks = np.linspace(-1.2, 1.2, 201)
    score = weights[0, 0] * ticks + weights[0, 1] * ticks[:, np.newaxis] + bias[0]
    fill(axis, ticks, score)
    draw_points(axis, hidden, labels)
    axis.set(xlabel="hidden unit 1", ylabel="hidden unit 2", xticks=(-1, 1), yticks=(-1, 1))


def fill(axis, ticks, score):
    axis.contourf(ticks, ticks, score > 0, levels=[-0.5, 0.5, 1.5], colors=COLORS, alpha=0.25)
    axis.contour(ticks, ticks, score, levels=[0], colors="black")
    axis.set_aspect("equal")


def draw_points(axis, points, labels):
    labels = np.asarray(labels)
    for label in (0, 1):
        x, y = points[labels == label].T
        style = {"color": COLORS[label], "edgecolors": "black", "marker": MARKERS[label]}
        axis.scatter(x, y, s=90, zorder=3, label=str(label), **style)
