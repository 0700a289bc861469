"""What the C++ core asks Python for: the sources of Data layers, and mean images."""

import numpy as np

from pydl import _core
from pydl.errors import Error


def install() -> None:
    """Lets layers open what `pydl.data` and `pydl.formats` can read."""
    _core.set_data_hooks(_open, _read_mean)
    _core.set_blob_reader(_read_blob)


def _open(source: str, backend: str) -> _core.DataSource:
    from pydl.data import open_source

    dataset = open_source(source, backend or None)
    if dataset.images is not None:
        labels = np.zeros(len(dataset)) if dataset.labels is None else dataset.labels
        return _core.array_source(dataset.images, labels.tolist())

    def read(indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
        batches = [dataset.read(start, count) for start, count in _runs(indices)]
        images = np.concatenate([images for images, _ in batches]).astype(np.float32)
        labels = [np.zeros(len(x)) if y is None else y for x, y in batches]
        return images, np.concatenate(labels).astype(np.float32)

    return _core.python_source(len(dataset), list(dataset.shape), read)


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as (start, count).

    >>> _runs([7, 8, 9, 0, 1])
    [(7, 3), (0, 2)]
    """
    runs: list[tuple[int, int]] = []
    for i in indices:
        if runs and i == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((i, 1))
    return runs


def _read_blob(path: str) -> np.ndarray:
    from pydl.formats import binaryproto

    return binaryproto.load(path)


def _read_mean(path: str) -> np.ndarray:
    from pydl.formats import binaryproto

    mean = np.asarray(binaryproto.load(path), np.float32)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3:
        raise Error(f"{path}: a mean image of shape {mean.shape}; channels x rows x columns needed")
    return mean
