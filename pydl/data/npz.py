"""Sets in numpy's .npz files."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pydl.data.dataset import ArrayDataset
from pydl.errors import Error

IMAGE_KEYS = ("images", "data", "x")
LABEL_KEYS = ("labels", "label", "y")
_DEFLATE_MAX_RATIO = 1032


def open_npz(path: str | Path, name: str) -> ArrayDataset:
    """The set in an .npz file: images under images, data or x; labels under labels, label or y.

    Raises Error for a file that is damaged, lacks the images, or whose arrays don't fit.

    >>> import numpy as np
    >>> from pydl.data.npz import open_npz
    >>> images = np.zeros((10, 28, 28), np.uint8)
    >>> np.savez("/tmp/pydl_doc.npz", images=images, labels=np.arange(10))
    >>> len(open_npz("/tmp/pydl_doc.npz", "digits"))
    10
    """
    with _open(path) as archive:
        keys = [key.removesuffix(".npy") for key in archive.namelist()]
        images = _pick(keys, IMAGE_KEYS, path)
        labels = _pick(keys, LABEL_KEYS, path)
        if images is None:
            raise Error(
                f"{path}: no images; they go under one of {', '.join(IMAGE_KEYS)} and labels under "
                f"one of {', '.join(LABEL_KEYS)}; it has {', '.join(keys) or 'no arrays'}"
            )
        return ArrayDataset(
            _read(archive, images, path),
            None if labels is None else _read(archive, labels, path),
            name=name,
        )


def read_arrays(path: str | Path, *keys: str) -> list[np.ndarray]:
    """The arrays of an .npz file under these keys."""
    with _open(path) as archive:
        return [_read(archive, key, path) for key in keys]


def _open(path: str | Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise Error(f"{path}: no such file") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise Error(f"{path}: not a readable .npz file: {error}") from error


def _pick(keys: list[str], wanted: tuple[str, ...], path: str | Path) -> str | None:
    found = [key for key in keys if key.lower() in wanted]
    if len(found) > 1:
        raise Error(f"{path}: {' and '.join(found)} are both there; keep one of {wanted}")
    return found[0] if found else None


def _read(archive: zipfile.ZipFile, key: str, path: str | Path) -> np.ndarray:
    where = f"{path}: array {key}"
    try:
        info = archive.getinfo(f"{key}.npy")
        _check_size(archive, info, where)
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except KeyError as error:
        raise Error(f"{where}: not in the file") from error
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise Error(f"{where}: {error}") from error


def _check_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> None:
    """Refuses an array whose header asks for more memory than the file can fill."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
        shape, _, dtype = getattr(np.lib.format, reader)(file)
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise Error(f"{where}: holds Python objects; numbers are needed")
    limit = Path(archive.filename).stat().st_size * _DEFLATE_MAX_RATIO
    if expected != info.file_size or expected > limit:
        raise Error(
            f"{where}: its header says {shape} of {dtype}, {expected} bytes; "
            f"the archive says {info.file_size}"
        )
