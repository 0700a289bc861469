"""Boxes that may hold something, without learning: selective search (Uijlings et al. 2013).

A picture falls apart into segments of little contrast (needs scikit-image); then the two neighbours
that are most alike become one, again and again, and each segment that was there gives its box.
"""

from __future__ import annotations

import numpy as np
from skimage.segmentation import felzenszwalb

BINS = 16
SCALES = (50, 150)  # how large the first segments are
LEAST_SIDE, MOST_SIDE = 6, 80  # pixels


class Segment:
    """Box [y1, x1, y2, x2], pixels and histogram of brightness."""

    def __init__(self, box: np.ndarray, count: int, histogram: np.ndarray) -> None:
        self.box, self.count, self.histogram = box, count, histogram

    def merged(self, other: Segment) -> Segment:
        box = np.append(np.minimum(self.box, other.box)[:2], np.maximum(self.box, other.box)[2:])
        return Segment(box, self.count + other.count, self.histogram + other.histogram)

    def similarity(self, other: Segment, pixels: int) -> float:
        """Of colour, of size and of fit, each from 0 to 1."""
        colours = [s.histogram / s.count for s in (self, other)]
        both = self.merged(other)
        area = np.prod(both.box[2:] - both.box[:2] + 1)
        size, gap = both.count / pixels, (area - both.count) / pixels
        return np.minimum(*colours).sum() + (1 - size) + (1 - gap)


def propose(image: np.ndarray) -> np.ndarray:
    """Boxes (P, 4) [x1, y1, x2, y2] of a picture (H, W) from 0 to 1."""
    boxes = [box for scale in SCALES for box in _search(image, scale)]
    found = np.unique(np.array(boxes)[:, [1, 0, 3, 2]], axis=0)
    sides = found[:, 2:] - found[:, :2] + 1
    return found[(sides.max(1) >= LEAST_SIDE) & (sides.max(1) <= MOST_SIDE)].astype(np.float32)


def _search(image: np.ndarray, scale: int) -> list[np.ndarray]:
    labels = felzenszwalb(image, scale=scale, sigma=0.5, min_size=20)
    segments = _segments(image, labels)
    alike = {pair: segments[pair[0]].similarity(segments[pair[1]], image.size)
             for pair in _neighbours(labels)}  # fmt: skip
    boxes = [segment.box for segment in segments.values()]
    while alike:
        a, b = max(alike, key=alike.__getitem__)
        new = max(segments) + 1
        segments[new] = segments.pop(a).merged(segments.pop(b))
        boxes.append(segments[new].box)
        touched = {x for pair in alike if a in pair or b in pair for x in pair} - {a, b}
        alike = {pair: s for pair, s in alike.items() if not {a, b} & set(pair)}
        for other in touched:
            alike[other, new] = segments[other].similarity(segments[new], image.size)
    return boxes


def _segments(image: np.ndarray, labels: np.ndarray) -> dict[int, Segment]:
    segments = {}
    levels = np.minimum((image * BINS).astype(int), BINS - 1)
    for label in range(labels.max() + 1):
        y, x = np.nonzero(labels == label)
        box = np.array([y.min(), x.min(), y.max(), x.max()])
        segments[label] = Segment(box, len(y), np.bincount(levels[y, x], minlength=BINS))
    return segments


def _neighbours(labels: np.ndarray) -> set[tuple[int, int]]:
    pairs = set()
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching = np.sort(np.stack([a[a != b], b[a != b]], 1), axis=1)
        pairs |= set(map(tuple, np.unique(touching, axis=0).tolist()))
    return pairs
