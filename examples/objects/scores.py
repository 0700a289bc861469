"""How good detections are: average precision, as PASCAL VOC counts since 2010."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import pydl.average_precision


@dataclass(frozen=True)
class Detections:
    """Of one picture, best first or in any order: boxes (D, 4) [x1, y1, x2, y2], classes and
    scores (D,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def above(self, score: float) -> Detections:
        keep = self.scores > score
        return Detections(self.boxes[keep], self.labels[keep], self.scores[keep])


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B): intersection over union of boxes whose corners are pixels inside of them."""
    first, last = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    inside = np.prod(np.maximum(last - first + 1, 0), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2] + 1, axis=1) for x in (a, b)]
    return inside / np.maximum(areas[0][:, None] + areas[1] - inside, 1e-9)


def average_precision(
    found: Sequence[Detections], pictures: Sequence, label: int, overlap: float = 0.5
) -> float:
    """Area below the precision of one class at each recall; NaN where no picture has the class."""
    objects = [picture.boxes[picture.labels == label] for picture in pictures]
    count = sum(map(len, objects))
    if count == 0:
        return float("nan")
    taken = [np.zeros(len(boxes), bool) for boxes in objects]
    scores, right = [], []
    for score, n, box in _best_first(found, label):
        shared = overlaps(box[None], objects[n])[0]
        best = shared.argmax() if len(shared) else -1
        is_right = best >= 0 and shared[best] >= overlap and not taken[n][best]
        if is_right:
            taken[n][best] = True
        scores.append(score)
        right.append(is_right)
    return pydl.average_precision.average_precision(scores, right, count, "MaxIntegral")


def _best_first(found: Sequence[Detections], label: int) -> list[tuple[float, int, np.ndarray]]:
    """Score, picture and box of all detections of a class."""
    ranked = [
        (score, n, box)
        for n, d in enumerate(found)
        for box, score in zip(d.boxes[d.labels == label], d.scores[d.labels == label], strict=True)
    ]
    return sorted(ranked, key=lambda item: -item[0])


def mean_average_precision(
    found: Sequence[Detections], pictures: Sequence, classes: int, overlap: float = 0.5
) -> float:
    """mAP: over the classes that the pictures have."""
    each = [average_precision(found, pictures, label, overlap) for label in range(classes)]
    return float(np.nanmean(each))
