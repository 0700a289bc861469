"""The pictures of x_or_o.py: a net at work step by step, and filters with what they find."""

import numpy as np
from letters import NAMES
from matplotlib.figure import Figure

STEPS = {"conv": "convolution", "relu": "ReLU", "pool": "pooling"}
SIGNED = {"cmap": "PuOr_r"}  # orange is positive, purple negative, white 0


def draw_steps(path, net, examples, names):
    """One X and one O on their way to pooled maps: a row for each step, a column a filter."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    halves = figure.subfigures(1, len(examples), wspace=0.04)
    for half, example, letter in zip(halves, examples, NAMES, strict=True):
        maps = run(net, example)
        axes = half.subplots(1 + len(STEPS), 1 + len(names))
        for axis in axes.flat:
            axis.set_axis_off()
        show(axes[1, 0], example[0], "Greys", -0.3, 1.3).set_title(f"an {letter}")
        for axis, name, mine in zip(axes[0, 1:], names, filters(net), strict=True):
            show(axis, mine, **SIGNED).set_title(f"filter {name}")
        for row, (blob, name) in zip(axes[1:, 1:], STEPS.items(), strict=True):
            top = np.abs(maps[blob]).max()
            for axis, image in zip(row, maps[blob], strict=True):
                show(axis, image, **SIGNED, low=-top, high=top)
            row[0].set_title(name, loc="left")
    figure.savefig(path, dpi=100)


def draw_filters(path, nets, examples):
    """A row for each net: its filters, and what they find in one X and one O after ReLU."""
    figure = Figure(figsize=(13, 1.75 * len(nets)), layout="constrained")
    rows = figure.subfigures(len(nets), 1)
    for row, (name, net) in zip(rows, nets.items(), strict=True):
        blocks = {name: filters(net)}
        for letter, example in zip(NAMES, examples, strict=True):
            blocks[f"what they find in an {letter}"] = run(net, example)["relu"]
        parts = row.subfigures(1, len(blocks), wspace=0.03)
        for part, (title, block) in zip(parts, blocks.items(), strict=True):
            part.suptitle(title, x=0.01, ha="left", fontsize=11)
            top = np.abs(block).max()
            for axis, image in zip(part.subplots(1, len(block)), block, strict=True):
                show(axis, image, **SIGNED, low=-top, high=top).set_axis_off()
    figure.savefig(path, dpi=100)


def filters(net):
    """(filters, rows, columns)"""
    return np.array(net.params["conv"][0].data[:, 0])


def run(net, example):
    """The maps (filters, rows, columns) of one picture (1, rows, columns) after each step."""
    net.forward(data=example[np.newaxis])
    return {blob: np.array(net.blobs[blob].data[0]) for blob in STEPS}


def show(axis, image, cmap, low=None, high=None):
    top = np.abs(image).max()
    low, high = (-top, top) if low is None else (low, high)
    axis.imshow(image, cmap=cmap, vmin=low, vmax=high)
    return axis
