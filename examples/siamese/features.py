"""Where a trained siamese net puts digits in its plane, and how well that tells them apart (needs
matplotlib).

python examples/siamese/features.py WEIGHTS PICTURE.png
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import pydl

NET = Path(__file__).with_name("mnist_siamese.prototxt")


def nearest(points, known):
    """The row of ``known`` next to each of ``points``, both (N, 2)."""
    square = ((points[:, np.newaxis] - known[np.newaxis]) ** 2).sum(axis=2)
    return square.argmin(axis=1)


def draw(points, labels, path):
    figure = Figure(figsize=(6, 6))
    axis = figure.subplots()
    for digit in range(10):
        axis.plot(*points[labels == digit].T, ".", label=str(digit), color=f"C{digit}")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main(weights, path):
    net = pydl.Net(NET, weights)
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    known, points = (net.predict(images / 256) for images in (x_train, x_test))
    accuracy = (y_train[nearest(points, known)] == y_test).mean()
    print(f"nearest neighbour in the plane: {accuracy:.1%} of {len(y_test)} test digits are right")
    draw(points, y_test, path)
    print(f"{path}: the test digits in the plane")


if __name__ == "__main__":
    main(*sys.argv[1:])
