"""Batches of arrays, for programs that feed a net themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pydl.errors import Error


def batches(
    arrays: Mapping[str, np.ndarray], size: int, *, seed: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Batches without end of `size` rows of arrays with equally many rows (N, ...).

    Each pass over the rows has a new random order, a function of the seed. A batch may end one
    pass and begin the next, so that no row is left out.

    Raises:
        Error: if there are no rows, or not equally many of each array.

    >>> for _, batch in zip(range(100), batches({"data": images, "label": labels}, 64)):
    ...     solver.step(**batch)
    """
    arrays = {name: np.asarray(values) for name, values in arrays.items()}
    counts = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise Error(f"batches needs arrays with equally many rows, at least one; got {counts}")
    if size < 1:
        raise Error(f"a batch has at least one row, got size {size}")
    return _batches(arrays, min(counts.values()), size, np.random.default_rng(seed))


def _batches(
    arrays: dict[str, np.ndarray], count: int, size: int, random: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    order = np.empty(0, np.int64)
    while True:
        while len(order) < size:
            order = np.append(order, random.permutation(count))
        chosen, order = order[:size], order[size:]
        yield {name: values[chosen] for name, values in arrays.items()}
