"""``open_source``: from the ``source`` of a Data layer to the set it names."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from pydl.data import sample, standard
from pydl.data.dataset import Dataset
from pydl.data.datum_source import LevelDbDataset, LmdbDataset
from pydl.data.idx import find_file, find_labels, open_idx
from pydl.data.npz import open_npz
from pydl.errors import Error

PARTS = ("train", "test")
BUILT_IN = tuple(f"{name}/{part}" for name in (sample.NAME, *standard.SETS) for part in PARTS)
_BACKENDS = ("LEVELDB", "LMDB")
_NEARBY_SHOWN = 8

_WHAT_A_SOURCE_IS = f"""a source is one of
  a built-in set: {", ".join(BUILT_IN)}
  IDX files: DIR/train-images-idx3-ubyte, plain or .gz, its labels beside it; or IMAGES:LABELS
  an .npz file with images (N x H x W or N x C x H x W) and labels (N)
  an LMDB or LevelDB folder of Caffe Datums"""


def open_source(source: str | os.PathLike, backend: str | None = None, color: str = "") -> Dataset:
    """Opens what the ``source`` of a Data layer names.

    Args:
        source: a built-in set (``mnist_sample/train``; a folder of that name is ``./mnist_sample/
            train``), IDX files (``DIR/train-images-idx3-ubyte[.gz]`` with the labels beside it, or
            ``IMAGES:LABELS``), an ``.npz`` file, or an LMDB or LevelDB folder of Caffe Datums.
            Paths are relative to the working directory, as in Caffe.
        backend: ``data_param.backend``, "LMDB" or "LEVELDB"; what is found at ``source`` decides,
            because prototxt files rarely name the backend right once their data has moved.
        color: how encoded images in a database are decoded: "" as they are, "color" to 3 channels
            (blue first), "gray" to 1.

    Returns:
        The set, with ``images`` and ``labels`` as arrays if it can be had so, ``read`` always.

    Raises:
        Error: nothing usable at ``source``; the message says what is there and what it may be.

    >>> import pydl.data
    >>> pydl.data.open_source("mnist_sample/train")
    <ArrayDataset mnist_sample/train: 4000 x (1, 28, 28)>
    """
    source = os.fspath(source)
    if backend is not None and backend.upper() not in _BACKENDS:
        raise Error(f'{source}: unknown backend "{backend}"; there are {", ".join(_BACKENDS)}')
    try:
        return _open(source, color)
    except OSError as error:
        raise Error(f"{source}: {error.strerror or error}") from error


def _open(source: str, color: str) -> Dataset:
    if not source:
        raise Error(f"an empty source; {_WHAT_A_SOURCE_IS}")
    if source in BUILT_IN:
        return _open_built_in(source)
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, source, color)
    if (file := find_file(path)) is not None:
        return _open_file(file, source)
    images, _, labels = source.rpartition(":")
    if images and labels:
        return _open_pair(Path(images), Path(labels), source)
    raise Error(_not_found(source))


def _open_built_in(source: str) -> Dataset:
    name, part = source.split("/")
    return sample.open_sample(part) if name == sample.NAME else standard.open_standard(name, part)


def _open_pair(images: Path, labels: Path, source: str) -> Dataset:
    files = [find_file(path) for path in (images, labels)]
    if files == [None, None]:
        raise Error(_not_found(source))
    for path, file in zip((images, labels), files, strict=True):
        if file is None:
            raise Error(f"{source}: {path}: no such file; {_nearby(path)}")
    return open_idx(*files, name=source)


def _open_file(file: Path, source: str) -> Dataset:
    with open(file, "rb") as stream:
        magic = stream.read(2)
    if file.suffix == ".npz" or magic == b"PK":
        return open_npz(file, source)
    if magic in (b"\0\0", b"\x1f\x8b") or "idx" in file.name or "ubyte" in file.name:
        return open_idx(file, find_labels(file), source)
    raise Error(f"{source}: neither IDX nor .npz by its content; {_WHAT_A_SOURCE_IS}")


def _open_folder(folder: Path, source: str, color: str) -> Dataset:
    names = sorted(entry.name for entry in folder.iterdir())
    if "data.mdb" in names:
        return LmdbDataset(folder, source, color)
    if "CURRENT" in names:
        return LevelDbDataset(folder, source, color)
    images = [str(folder / name) for name in names if "images-idx" in name]
    if images:
        raise Error(f"{source}: a folder; name the file in it: {' or '.join(images)}")
    raise Error(
        f"{source}: a folder without a database in it; it has {_listing(names)}\n"
        f"{_WHAT_A_SOURCE_IS}"
    )


def _not_found(source: str) -> str:
    near = difflib.get_close_matches(source, BUILT_IN, 1, cutoff=0.75)
    if source in (sample.NAME, *standard.SETS):
        near = [f"{source}/{part}" for part in PARTS]
    nearby = "" if near else _nearby(Path(source)) + "\n"
    near = near or _close_paths(Path(source))
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f'no source "{source}"{hint}\n{nearby}{_WHAT_A_SOURCE_IS}'


def _close_paths(path: Path) -> list[str]:
    ancestor, missing = _deepest_folder(path)
    names = [entry.name for entry in ancestor.iterdir()]
    return [str(ancestor / name) for name in difflib.get_close_matches(missing, names, 1, 0.75)]


def _nearby(path: Path) -> str:
    ancestor, missing = _deepest_folder(path)
    return f"{ancestor.absolute()} has no {missing}; it has " + _listing(
        sorted(entry.name for entry in ancestor.iterdir())
    )


def _deepest_folder(path: Path) -> tuple[Path, str]:
    """The folder nearest to ``path`` that is there, and the name that is missing in it."""
    missing = path.name
    for folder in path.parents:
        if folder.is_dir():
            return folder, missing
        missing = folder.name
    return Path(), missing


def _listing(names: list[str]) -> str:
    shown = [name for name in names if not name.startswith(".")]
    more = f" and {len(shown) - _NEARBY_SHOWN} more" if len(shown) > _NEARBY_SHOWN else ""
    return (", ".join(shown[:_NEARBY_SHOWN]) or "nothing") + more
