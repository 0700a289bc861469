"""IDX files, the format of MNIST: a big-endian header, then the values; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pydl.data.dataset import ArrayDataset
from pydl.errors import Error

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMS = 8
_DEFLATE_MAX_RATIO = 1032  # the most that deflate can shrink anything
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Header:
    """What an IDX file says it holds; ``offset`` is where the values begin."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def offset(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape))


def is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == _GZIP_MAGIC


def read_header(path: str | Path) -> Header:
    """The header of an IDX file, checked against the size of the file."""
    path = Path(path)
    with _errors(path), _open(path) as file:
        return _checked_header(file, path)


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, read-only: memory-mapped if plain, in memory if gzipped.

    Raises Error for a bad magic number, sizes that differ from the header's, a damaged gzip.

    >>> from pydl.data.idx import read_idx
    >>> with open("/tmp/pydl_doc.idx", "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx("/tmp/pydl_doc.idx").tolist()
    [[7, 8, 9]]
    """
    path = Path(path)
    with _errors(path), _open(path) as file:
        header = _checked_header(file, path)
        if not isinstance(file, gzip.GzipFile):
            return np.memmap(path, header.dtype, "r", header.offset, header.shape)
        values = file.read(header.nbytes + 1)
        if len(values) != header.nbytes:
            found = "more" if len(values) > header.nbytes else f"{len(values)}"
            raise Error(f"{path}: its header says {header}, {header.nbytes} bytes; it has {found}")
        return np.frombuffer(values, header.dtype).reshape(header.shape)


def open_idx(images: str | Path, labels: str | Path | None, name: str) -> ArrayDataset:
    """The set in a file of images (N, H, W), (N, C, H, W) or (N, D), and one of N labels.

    Raises Error as ``read_idx`` does, and where the two files don't fit each other.
    """
    header = read_header(images)
    if len(header.shape) == 1:
        raise Error(f"{images}: {header} values in one dimension are labels; name the images' file")
    if labels is not None:
        _check_labels(images, header, labels)
    return ArrayDataset(read_idx(images), None if labels is None else read_idx(labels), name=name)


def find_labels(images: Path) -> Path | None:
    """The labels' file beside ``train-images-idx3-ubyte[.gz]`` or a name like it, if there."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    if name == images.name:
        return None
    return find_file(images.with_name(name))


def find_file(path: Path) -> Path | None:
    """``path``, or the same file with ``.gz`` added or taken away, whichever is there."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return next((p for p in (path, other) if p.is_file()), None)


def _check_labels(images: str | Path, header: Header, labels: str | Path) -> None:
    found = read_header(labels)
    if len(found.shape) != 1:
        raise Error(f"{labels}: labels have one dimension, this has {len(found.shape)}: {found}")
    if found.shape[0] != header.shape[0]:
        raise Error(f"{labels}: {found} labels, but {images} has {header.shape[0]} images")


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if is_gzip(path) else open(path, "rb")


def _checked_header(file: BinaryIO, path: Path) -> Header:
    header = _parse_header(file, path)
    size = path.stat().st_size
    if math.prod(header.shape) == 0:
        raise Error(f"{path}: its header says {header}: no values")
    if isinstance(file, gzip.GzipFile):
        if header.nbytes > size * _DEFLATE_MAX_RATIO:
            raise Error(
                f"{path}: its header says {header}, {header.nbytes} bytes; "
                f"{size} bytes of gzip cannot hold that"
            )
    elif size != header.offset + header.nbytes:
        raise Error(
            f"{path}: its header says {header}, {header.offset + header.nbytes} bytes in all; "
            f"the file has {size}"
        )
    return header


def _parse_header(file: BinaryIO, path: Path) -> Header:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise Error(
            f"{path}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, "
            "images with 00 00 08 03, labels with 00 00 08 01"
        )
    if not 1 <= magic[3] <= _MAX_DIMS:
        raise Error(f"{path}: {magic[3]} dimensions in its header; 1 to {_MAX_DIMS} are read")
    dims = file.read(4 * magic[3])
    if len(dims) < 4 * magic[3]:
        raise Error(f"{path}: ends inside its header, which has {magic[3]} dimensions")
    return Header(np.dtype(_TYPES[magic[2]]), tuple(np.frombuffer(dims, ">u4").tolist()))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Error(f"{path}: no such file") from error
    except EOFError as error:
        raise Error(f"{path}: the gzip file is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Error(f"{path}: the gzip file is damaged: {error}") from error
    except OSError as error:
        raise Error(f"{path}: {error.strerror or error}") from error
