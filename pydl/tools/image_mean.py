"""`compute_image_mean`: the mean image of a data set."""

from __future__ import annotations

import os

import numpy as np

from pydl.data import open_source
from pydl.formats import atomic_write, wire
from pydl.reporting.glog import LOGGER
from pydl.reporting.numbers import number

_REPORT_EVERY, _ROWS = 10000, 250


def compute_image_mean(
    source: str | os.PathLike, output: str | os.PathLike | None = None
) -> np.ndarray:
    """The mean of all images, float32 (C, H, W), also written as a .binaryproto.

    Args:
        source: an LMDB, or anything else that `pydl.data.open_source` takes.
        output: the file to write, if any.

    Raises:
        Error: nothing usable at ``source``, images of different shapes, a file that cannot be
            written.

    >>> compute_image_mean("mnist_sample/train", "mean.binaryproto").shape
    (1, 28, 28)
    """
    dataset = open_source(source)
    LOGGER.info("Opened %s%s", "lmdb " if os.path.isdir(source) else "", os.fspath(source))
    LOGGER.info("Starting iteration")
    total, count = np.zeros(dataset.shape, np.float64), len(dataset)
    for start in range(0, count, _ROWS):
        images, _ = dataset.read(start, min(_ROWS, count - start))
        total += images.sum(axis=0, dtype=np.float64)
        done = start + len(images)
        if done % _REPORT_EVERY == 0 or done == count:
            LOGGER.info("Processed %d files.", done)
    mean = (total / count).astype(np.float32)
    if output is not None:
        LOGGER.info("Write to %s", os.fspath(output))
        _save(output, mean)
    LOGGER.info("Number of channels: %d", len(mean))
    for channel, value in enumerate(mean.mean(axis=(1, 2), dtype=np.float64)):
        LOGGER.info("mean_value channel [%d]: %s", channel, number(value))
    return mean


def _save(path: str | os.PathLike, mean: np.ndarray) -> None:
    """A BlobProto with num, channels, height and width, which all versions of Caffe read."""
    shape = [wire.integer(i, n) for i, n in enumerate((1, *mean.shape), 1)]
    with atomic_write(path) as file:
        wire.write(file, [*shape, *wire.packed(5, mean, "<f4")])
