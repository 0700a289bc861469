"""Digits beside what the autoencoder makes of their 30 numbers, as a picture (needs matplotlib).

python examples/autoencoder/reconstruct.py WEIGHTS PICTURE.png
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import pydl

NET = Path(__file__).with_name("autoencoder.prototxt")
EXAMPLES = 2  # of each digit


def reconstruct(weights):
    """The test set's digits, (N, 784), what comes back of them, and their labels."""
    net = pydl.Net(NET, weights, phase="TEST", stages=["test-on-test"])
    _, _, images, labels = pydl.data.load("mnist_sample")
    originals, copies = [], []
    batch = net.blobs["data"].shape[0]
    for _ in range(len(images) // batch):
        net.forward()
        originals.append(net.blobs["flatdata"].data.copy())
        copies.append(net.blobs["decode1neuron"].data.copy())
    return np.concatenate(originals), np.concatenate(copies), labels


def draw(originals, copies, labels, path):
    """Some of each digit; below each its copy."""
    chosen = np.concatenate([np.flatnonzero(labels == digit)[:EXAMPLES] for digit in range(10)])
    strips = [rows[chosen].reshape(-1, 28, 28) for rows in (originals, copies)]
    picture = np.vstack([np.hstack(strip) for strip in strips])
    figure = Figure(figsize=(len(chosen) * 0.5, 1))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    figure.savefig(path, dpi=120)


def main(weights, path):
    originals, copies, labels = reconstruct(weights)
    error = ((originals - copies) ** 2).sum(axis=1)
    blank = ((originals - originals.mean(axis=0)) ** 2).sum(axis=1)
    print(f"squared error: {error.mean():.2f} a test digit; of the mean digit {blank.mean():.2f}")
    draw(originals, copies, labels, path)
    print(f"{path}: {EXAMPLES} of each digit, below them their copies")


if __name__ == "__main__":
    main(*sys.argv[1:])
