"""Pictures to detect things in: digits or clothes pasted on a cloudy background, with their boxes.

>>> picture = PictureMaker.of("mnist_sample/train").make(np.random.default_rng(0))
>>> picture.image.shape, picture.boxes.shape[1]
((1, 128, 128), 4)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import pydl.data

MARGIN = 3  # pixels between two items, at least


@dataclass(frozen=True)
class Picture:
    """`image` (1, S, S) from 0 to 1; for each object a row [x1, y1, x2, y2] of `boxes` (G, 4), in
    pixels, corners inside, and a class from 0 on in `labels` (G,)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class PictureMaker:
    """Pastes `least` to `most` of `items` (N, 28, 28), the longer side of each from `sides`."""

    items: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    size: int = 128
    least: int = 1
    most: int = 4
    sides: tuple[int, int] = (28, 60)

    @classmethod
    def of(cls, source: str, **settings: int) -> PictureMaker:
        """Of a data set that `pydl.data.open_source` knows, such as "fashion_mnist/train"."""
        data = pydl.data.open_source(source)
        images, labels = data.read(0, len(data))
        return cls(images[:, 0], labels, data.class_names, **settings)

    def make(self, rng: np.random.Generator) -> Picture:
        image = self._background(rng)
        boxes, labels = [], []
        for _ in range(rng.integers(self.least, self.most + 1)):
            index = rng.integers(len(self.items))
            item = _resized(_cropped(self.items[index]), rng.integers(*self.sides) / 28)
            place = self._free_place(item.shape, boxes, rng)
            if place is None:
                continue
            x, y = place
            h, w = item.shape
            part = image[y : y + h, x : x + w]
            np.maximum(part, item * rng.uniform(0.75, 1), out=part)
            boxes.append([x, y, x + w - 1, y + h - 1])
            labels.append(self.labels[index])
        return Picture(
            image[np.newaxis].astype(np.float32),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(labels, np.int64),
        )

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """Clouds of a few sizes, and noise."""
        clouds = sum(_resized(rng.random((n, n)), self.size / n) / n**0.5 for n in (3, 6, 12))
        clouds -= clouds.min()
        return 0.4 * clouds / clouds.max() + 0.06 * rng.random((self.size, self.size))

    def _free_place(
        self, shape: tuple[int, int], boxes: list[list[int]], rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """Where none of the boxes is, if a few tries find it."""
        h, w = shape
        for _ in range(20):
            x, y = rng.integers(self.size - w + 1), rng.integers(self.size - h + 1)
            if all(
                x > b[2] + MARGIN or y > b[3] + MARGIN or x + w + MARGIN <= b[0]
                or y + h + MARGIN <= b[1] for b in boxes
            ):  # fmt: skip
                return x, y
        return None


def _cropped(item: np.ndarray) -> np.ndarray:
    """The part of an item that is not dark, from 0 to 1."""
    item = item / 255
    rows, columns = (np.flatnonzero((item > 0.25).any(axis)) for axis in (1, 0))
    return item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    """Bilinear, corner to corner."""
    for axis in (0, 1):
        size = image.shape[axis]
        where = np.linspace(0, size - 1, max(2, round(size * factor)))
        low = np.minimum(where.astype(int), max(size - 2, 0))
        part = (where - low).reshape((-1, 1) if axis == 0 else (1, -1))
        above = np.minimum(low + 1, size - 1)
        image = image.take(low, axis) * (1 - part) + image.take(above, axis) * part
    return image
