"""Sequences of different lengths in one batch: the inputs that tell recurrent layers about them.

A batch is (steps, sequences, ...), and what stands behind a sequence's end is padding.

>>> goes_on([3, 1])
array([[0., 0.],
       [1., 0.],
       [1., 0.]], dtype=float32)
>>> mask([3, 1])
array([[1., 1.],
       [1., 0.],
       [1., 0.]], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl.errors import Error


def pad(sequences: Sequence[np.ndarray], steps: int | None = None, value: float = 0) -> np.ndarray:
    """Sequences (T_i, ...) side by side, with `value` behind their ends.

    Args:
        sequences: as arrays or lists; what a step holds has one shape.
        steps: of the batch; the longest length if None.

    Returns:
        (steps, sequences, ...), float32.

    Raises:
        Error: no sequences, one longer than `steps`, or steps of different shapes.

    >>> pad([[5, 6, 7], [8]])
    array([[5., 8.],
           [6., 0.],
           [7., 0.]], dtype=float32)
    """
    arrays = [np.asarray(sequence, np.float32) for sequence in sequences]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise Error("pad takes at least one sequence, each of steps")
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise Error(f"the steps of all sequences must have one shape, got {sorted(shapes)}")
    longest = max(len(array) for array in arrays)
    steps = longest if steps is None else steps
    if longest > steps:
        raise Error(f"a sequence of {longest} steps does not fit into {steps}; cut it")
    out = np.full((steps, len(arrays), *shapes.pop()), value, np.float32)
    for i, array in enumerate(arrays):
        out[: len(array), i] = array
    return out


def goes_on(lengths: Sequence[int], steps: int | None = None) -> np.ndarray:
    """The ``cont`` bottom of recurrent layers: 0 where a sequence begins, else 1.

    Padding is a row of sequences of one step, so that nothing passes from it to its neighbours in
    either direction: neither a layer that runs forward nor one that runs backward sees it.

    Args:
        lengths: of each sequence, from 1 on.
        steps: of the batch; the longest length if None.

    Returns:
        (steps, sequences), float32.

    Raises:
        Error: no sequences, a length below 1 or above `steps`.
    """
    marks = mask(lengths, steps)
    marks[0] = 0
    return marks


def mask(lengths: Sequence[int], steps: int | None = None) -> np.ndarray:
    """1 within the sequences and 0 behind their ends; arguments and result as of `goes_on`."""
    given = np.asarray(lengths)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        raise Error(f"lengths must be one whole number for each sequence, got {lengths!r}")
    steps = int(given.max()) if steps is None else steps
    wrong = np.flatnonzero((given < 1) | (given > steps))
    if wrong.size:
        at = int(wrong[0])
        raise Error(
            f"sequence {at} has length {given[at]}, which must be 1 to {steps}, "
            "the steps of the batch"
        )
    return (np.arange(steps)[:, None] < given).astype(np.float32)


def last_steps(lengths: Sequence[int], steps: int | None = None) -> np.ndarray:
    """The row of (steps * sequences, ...) with each sequence's last step, as layer BatchReindex
    takes it.

    >>> last_steps([3, 1])
    array([4., 1.], dtype=float32)
    """
    marks = mask(lengths, steps)
    last = marks.sum(axis=0) - 1
    return last * marks.shape[1] + np.arange(marks.shape[1], dtype=np.float32)
