"""HDF5 files as HDF5Data layers read and HDF5Output layers write them. Needs h5py."""

from __future__ import annotations

import bisect
import difflib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from pydl import _core
from pydl.data.image_files import read_text
from pydl.errors import Error

if TYPE_CHECKING:
    import h5py

_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError)
_MAX_COMPRESSION = 1 << 16
_CHUNK_CACHE = 64 << 20  # bytes, so that a compressed chunk is unpacked once for several batches
_SPARE_BYTES = 1 << 20  # that a disk must have beyond what is written


class Hdf5Rows:
    """The rows of datasets that several files have, counted from the first file to the last.

    Args:
        source: a text file that names the HDF5 files.
        columns: the datasets; each file has all of them, with as many rows.
        whole_files: keep the file that is being read in memory, for rows in a random order.

    Attributes:
        file_rows: how many rows each file has.
        row_shapes: of each column, without the axis of rows.

    Raises:
        Error: h5py is not installed, or a file or dataset is missing or does not fit.
    """

    def __init__(self, source: str, columns: Sequence[str], whole_files: bool = False) -> None:
        self._columns, self._whole_files = list(columns), whole_files
        self._paths = read_text(source).split()
        if not self._paths:
            raise Error(f"{source}: names no HDF5 files")
        self._file: tuple[int, list] | None = None  # which is open, and its columns
        self.file_rows: list[int] = []
        self.row_shapes: list[tuple[int, ...]] = []
        for path in self._paths:
            self._survey(path, source)
        self._starts = [0, *accumulate(self.file_rows)]

    def read(self, rows: Sequence[int]) -> list[np.ndarray]:
        """These rows of each column: float32 (len(rows), ...)."""
        pieces: list[list[np.ndarray]] = [[] for _ in self._columns]
        for index, begin, end in self._runs(rows):
            for piece, column in zip(pieces, self._open(index), strict=True):
                with _reading(self._paths[index]):
                    piece.append(np.asarray(column[begin:end], np.float32))
        return [np.concatenate(piece) for piece in pieces]

    def _runs(self, rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Rows that follow one another, as (file, first row in it, last + 1)."""
        i = 0
        while i < len(rows):
            index = bisect.bisect_right(self._starts, rows[i]) - 1
            most = min(len(rows) - i, self._starts[index + 1] - rows[i])
            count = 1
            while count < most and rows[i + count] == rows[i] + count:
                count += 1
            begin = rows[i] - self._starts[index]
            yield index, begin, begin + count
            i += count

    def _open(self, index: int) -> list:
        if self._file is None or self._file[0] != index:
            self._file = None  # one at a time, as in Caffe
            path = self._paths[index]
            with _reading(path):
                file = _h5py().File(path, "r", rdcc_nbytes=_CHUNK_CACHE)
                columns = [file[name] for name in self._columns]
                if self._whole_files:
                    columns = [np.asarray(column.astype("<f4")[()]) for column in columns]
                    file.close()
            self._file = (index, columns)
        return self._file[1]

    def _survey(self, path: str, source: str) -> None:
        if not os.path.exists(path):
            raise Error(
                f"{path}: no such file; named in {source} (relative names begin in the working "
                "directory)"
            )
        with _reading(path), _h5py().File(path, "r") as file:
            columns = [_column(file, name) for name in self._columns]
            rows = {column.shape[0] for column in columns}
            if len(rows) > 1:
                sizes = ", ".join(f"{c.name[1:]} {c.shape[0]}" for c in columns)
                raise Error(f"its datasets have different numbers of rows: {sizes}")
            shapes = [column.shape[1:] for column in columns]
            if self._whole_files:
                needed = sum(column.size for column in columns) * 4
                if needed > _core.memory_limit():
                    raise Error(f"{needed >> 20} MiB to be shuffled do not fit in memory; split it")
        if self.row_shapes and shapes != self.row_shapes:
            raise Error(
                f"{path}: rows of {_shapes(shapes)}, {self._paths[0]} has rows of "
                f"{_shapes(self.row_shapes)}"
            )
        self.row_shapes = shapes
        self.file_rows.append(rows.pop())


def _column(file: h5py.File, name: str) -> h5py.Dataset:
    column = file.get(name)
    if not isinstance(column, _h5py().Dataset):
        near = difflib.get_close_matches(name, list(file), 1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; it has {', '.join(file) or 'none'}"
        raise Error(f'no dataset "{name}", which a top is named after{hint}')
    if column.dtype.kind not in "fiu":
        raise Error(f'dataset "{name}" does not hold numbers but {column.dtype}')
    if not column.shape or 0 in column.shape[1:]:
        raise Error(f'dataset "{name}" has shape {column.shape}; rows are needed')
    if column.size * column.dtype.itemsize > column.id.get_storage_size() * _MAX_COMPRESSION:
        raise Error(
            f'dataset "{name}" has shape {column.shape}, but {column.id.get_storage_size()} bytes'
        )
    return column


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "one value" for shape in shapes)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        raise Error(f"{path}: {error}") from None
    except _ERRORS as error:
        raise Error(f"{path}: not readable as HDF5: {error}") from error


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise Error('HDF5 files need h5py: pip install "pydl[hdf5]"') from None
    return h5py


def hdf5_output(path: str) -> Callable[[Mapping[str, np.ndarray]], None]:
    """A function that adds rows to the datasets of a file, which the first call makes anew.

    >>> import numpy as np
    >>> append = hdf5_output("out.h5")
    >>> append({"data": np.zeros((2, 3, 1, 1), np.float32), "label": np.zeros((2, 1, 1, 1))})
    """
    h5py = _h5py()
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise Error(f"{path}: cannot be written: there is no folder {folder}")
    begun = False

    def append(columns: Mapping[str, np.ndarray]) -> None:
        nonlocal begun
        _check_space(path, folder, sum(array.nbytes for array in columns.values()))
        try:
            with h5py.File(path, "r+" if begun else "w") as file:
                for name, rows in columns.items():
                    _append_rows(file, name, rows)
        except Error as error:
            raise Error(f"{path}: {error}") from None
        except _ERRORS as error:
            raise Error(f"{path}: cannot be written: {error}") from error
        begun = True

    return append


def _append_rows(file: h5py.File, name: str, rows: np.ndarray) -> None:
    if name not in file:
        file.create_dataset(name, data=rows, dtype="<f4", maxshape=(None, *rows.shape[1:]))
        return
    dataset = file[name]
    if dataset.shape[1:] != rows.shape[1:]:
        raise Error(f"rows of {rows.shape[1:]} for {name}, it has rows of {dataset.shape[1:]}")
    dataset.resize(len(dataset) + len(rows), axis=0)
    dataset[-len(rows) :] = rows


def _check_space(path: str, folder: Path, needed: int) -> None:
    """HDF5 cannot recover from a full disk half way."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise Error(f"{path}: cannot be written: {needed} bytes are needed, the disk has {free}")
