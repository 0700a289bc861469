"""The pictures of vae.py."""

import numpy as np
from matplotlib.figure import Figure

GREY = {"cmap": "gray_r", "vmin": 0, "vmax": 1}


def sheet(images, columns):
    """(N, 784) in rows of so many: (rows * 28, columns * 28)."""
    rows = np.asarray(images).reshape(-1, columns, 28, 28)
    return rows.transpose(0, 2, 1, 3).reshape(-1, columns * 28)


def draw_copies(path, images, copies, made):
    """Pictures over their copies, and below them pictures of random codes."""
    strips = {
        "test pictures": sheet(images, 20),
        "decoded from their codes": sheet(copies, 20),
        "decoded from random codes": sheet(made, 20),
    }
    heights = [len(strip) for strip in strips.values()]
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    axes = figure.subplots(3, 1, gridspec_kw={"height_ratios": heights})
    for axis, (title, strip) in zip(axes, strips.items(), strict=True):
        axis.imshow(strip, **GREY)
        axis.set_title(title, loc="left", fontsize=9)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def apart(places, width=1.2, height=0.35):
    """The places of names, lower where they would cover one another."""
    placed = []
    for x, y in places:
        while any(abs(x - u) < width and abs(y - v) < height for u, v in placed):
            y -= 0.05
        placed.append((x, y))
    return placed


def draw_map(path, pictures, codes, labels, classes):
    """The pictures of a grid of codes, and the test pictures' own codes."""
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(sheet(pictures, round(len(pictures) ** 0.5)), **GREY)
    left.set_axis_off()
    left.set_title("decoded from a grid of codes")
    middles = apart([np.median(codes[labels == label], axis=0) for label in range(len(classes))])
    for label, (name, (x, y)) in enumerate(zip(classes, middles, strict=True)):
        own, color = codes[labels == label], f"C{label}"
        right.plot(*own.T, ".", markersize=2, color=color, alpha=0.5)
        box = {"facecolor": "white", "edgecolor": color, "alpha": 0.85, "pad": 1.5}
        right.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box)
    right.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xlabel="$z_1$", ylabel="$z_2$")
    right.set_title("mean codes of the test pictures")
    figure.savefig(path, dpi=100)
