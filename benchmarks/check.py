"""Both sides must compute the same before their times mean anything."""

from __future__ import annotations

import numpy as np


def check_close(what: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Raises SystemExit where their `distance` is above `tolerance`."""
    error = distance(ours, theirs)
    if not error <= tolerance:  # NaN fails too
        raise SystemExit(f"{what}: pydl and its peer differ by {error:.2g} of the values' norm")


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """||ours - theirs|| / ||theirs||.

    >>> round(distance(np.array([3.0, 4.0]), np.array([3.0, 4.5])), 3)
    0.092
    """
    ours, theirs = (np.asarray(a, np.float64).ravel() for a in (ours, theirs))
    scale = float(np.linalg.norm(theirs)) or 1.0
    return float(np.linalg.norm(ours - theirs)) / scale
