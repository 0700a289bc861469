"""What the outputs of a test net come to over its batches."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pydl.average_precision import VERSIONS, DetectionScores
from pydl.errors import Error


class Means:
    """The mean of each output."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def add(self, name: str, value: np.ndarray) -> None:
        """Takes an output of one batch."""
        value = np.array(value, np.float64)
        if name in self._sums:
            if self._sums[name].shape != value.shape:
                raise Error(
                    f'output "{name}" is {value.shape}, and was {self._sums[name].shape} in the '
                    "batch before: it has no mean; of a DetectionEvaluate layer there is the mean "
                    'average precision (in a solver: eval_type: "detection")'
                )
            value = self._sums[name] + value
        self._sums[name] = value

    def results(self, count: int) -> dict[str, np.ndarray]:
        """Over ``count`` batches."""
        return {name: value / count for name, value in self._sums.items()}


class MeanPrecisions:
    """The mean average precision of each output, which must be DetectionEvaluate layers'.

    Args:
        version: "Integral", "MaxIntegral" or "11point".
        per_class: results are also ``name/class1`` and so on.
    """

    def __init__(self, version: str = "Integral", per_class: bool = False) -> None:
        if version not in VERSIONS:
            raise Error(f'unknown ap_version "{version}"; there are {", ".join(VERSIONS)}')
        self._version, self._per_class = version, per_class
        self._scores: dict[str, DetectionScores] = defaultdict(DetectionScores)

    def add(self, name: str, value: np.ndarray) -> None:
        """Takes an output of one batch."""
        self._scores[name].add(value)

    def results(self, count: int) -> dict[str, np.ndarray]:
        out = {}
        for name, scores in self._scores.items():
            out[name] = np.array(scores.mean_average_precision(self._version))
            if self._per_class:
                for label, value in scores.by_class(self._version).items():
                    out[f"{name}/class{label}"] = np.array(value)
        return out
