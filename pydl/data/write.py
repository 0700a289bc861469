"""Data sets from arrays: as LMDB, HDF5 or npz files that data layers read."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from pydl.data.dataset import ArrayDataset
from pydl.data.lmdb_writer import LmdbWriter
from pydl.errors import Error
from pydl.formats.atomic import atomic_write
from pydl.formats.binaryproto import Datum


def write_lmdb(
    path: str | os.PathLike, images: np.ndarray, labels: np.ndarray | None = None
) -> None:
    """Writes a new LMDB of Datums, as convert_imageset does (needs the package lmdb).

    Args:
        path: the folder to make; there must be none of that name.
        images: (N, C, H, W) or (N, H, W), uint8, or other numbers, which become float32.
        labels: N integers; zeros if None.

    Raises:
        Error: lmdb is not installed, the folder is there or cannot be made, labels do not fit.

    >>> import numpy as np, pydl.data
    >>> pydl.data.write_lmdb("train_lmdb", np.zeros((10, 1, 28, 28), np.uint8), np.arange(10))
    >>> len(pydl.data.open_source("train_lmdb"))
    10
    """
    dataset = _dataset(path, images, labels)
    with LmdbWriter(path) as writer:
        for i, image in enumerate(dataset.images):
            label = 0 if dataset.labels is None else int(dataset.labels[i])
            writer.put(f"{i:08d}".encode(), Datum(image, label).serialize())


def write_hdf5(path: str | os.PathLike, columns: Mapping[str, np.ndarray]) -> None:
    """Writes a file for HDF5Data layers: a float32 dataset for each column (needs h5py).

    A layer's tops have the columns' names, its ``source`` is a text file that names such files.

    Raises:
        Error: h5py is not installed, the columns have different numbers of rows, the file cannot be
            written.

    >>> import numpy as np, pydl.data
    >>> pydl.data.write_hdf5("train.h5", {"data": np.zeros((10, 4)), "label": np.arange(10)})
    """
    from pydl.data.hdf5_source import hdf5_output

    arrays = {name: np.asarray(rows, np.float32) for name, rows in columns.items()}
    rows = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise Error(f"{os.fspath(path)}: columns need equally many rows, at least one: {rows}")
    hdf5_output(os.fspath(path))(arrays)


def write_npz(
    path: str | os.PathLike, images: np.ndarray, labels: np.ndarray | None = None
) -> None:
    """Writes an ``.npz`` file that Data layers read; arrays as for `write_lmdb`.

    >>> import numpy as np, pydl.data
    >>> pydl.data.write_npz("train.npz", np.zeros((10, 28, 28), np.uint8), np.arange(10))
    """
    dataset = _dataset(path, images, labels)
    arrays = {"images": dataset.images}
    if dataset.labels is not None:
        arrays["labels"] = dataset.labels
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def _dataset(
    path: str | os.PathLike, images: np.ndarray, labels: np.ndarray | None
) -> ArrayDataset:
    labels = None if labels is None else np.asarray(labels)
    return ArrayDataset(np.asarray(images), labels, name=os.fspath(path))
