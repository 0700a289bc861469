"""The mean average precision of detections, from what DetectionEvaluate layers give."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pydl.errors import Error

VERSIONS = ("Integral", "MaxIntegral", "11point")
_COLUMNS = 5  # image, class, score, right, wrong; or -1, class, boxes, -1, -1


def average_precision(
    scores: np.ndarray, right: np.ndarray, boxes: int, version: str = "Integral"
) -> float:
    """The average precision of one class.

    Args:
        scores: (D,) of its detections, over all images.
        right: (D,) whether each found a box that no better one had found.
        boxes: how many there were to be found.
        version: "Integral", the area below the curve of precision over recall; "MaxIntegral", the
            same below its envelope (VOC 2012); "11point", the mean of the envelope at recalls 0,
            0.1, ... 1 (VOC 2007). All as SSD's fork of Caffe computes them.

    Raises:
        Error: an unknown version.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True], 2)
    0.8333333333333333
    """
    if version not in VERSIONS:
        raise Error(f'unknown ap_version "{version}"; there are {", ".join(VERSIONS)}')
    scores, right = np.asarray(scores, np.float32), np.asarray(right, bool)
    if not len(scores) or not boxes:
        return 0.0
    found = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    recall = found / boxes
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if version == "11point":
        reached = [envelope[recall.astype(np.float32) >= k / 10] for k in range(11)]
        return float(np.mean([at[0] if len(at) else 0.0 for at in reached]))
    if version == "MaxIntegral":
        return float(envelope[0] * recall[0] + (envelope[:-1] * np.diff(recall)).sum())
    return float((precision * np.diff(recall, prepend=0.0)).sum())


class DetectionScores:
    """Adds up the tops of a DetectionEvaluate layer over the batches of a test.

    >>> scores = DetectionScores()
    >>> scores.add(np.array([[-1, 1, 2, -1, -1], [0, 1, 0.9, 1, 0]]))
    >>> scores.mean_average_precision()
    0.5
    """

    def __init__(self) -> None:
        self._boxes: dict[int, int] = defaultdict(int)
        self._found: dict[int, list[tuple[float, bool]]] = defaultdict(list)

    def add(self, top: np.ndarray) -> None:
        """Takes the top of one batch, (..., 5)."""
        top = np.asarray(top)
        if top.ndim < 2 or top.shape[-1] != _COLUMNS:
            raise Error(
                f"an output of {top.shape} is no DetectionEvaluate layer's, which end in {_COLUMNS}"
                ' columns; eval_type "detection" is for these'
            )
        for image, label, score, right, wrong in top.reshape(-1, _COLUMNS).tolist():
            if image == -1:
                self._boxes[int(label)] += int(score)
            elif right or wrong:
                self._found[int(label)].append((score, bool(right)))

    def by_class(self, version: str = "Integral") -> dict[int, float]:
        """The average precision of each class."""
        out = {}
        for label, boxes in self._boxes.items():
            rows = self._found[label]
            scores, right = [score for score, _ in rows], [is_right for _, is_right in rows]
            out[label] = average_precision(scores, right, boxes, version)
        return out

    def mean_average_precision(self, version: str = "Integral") -> float:
        """Of all classes but the background."""
        return float(np.mean(list(self.by_class(version).values()) or [0.0]))
