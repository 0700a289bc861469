"""LMDB folders of Caffe Datums, read in the order of their keys (needs the package lmdb)."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from weakref import WeakValueDictionary

import numpy as np

from pydl.data.dataset import Dataset
from pydl.errors import Error
from pydl.formats.binaryproto import Datum

_open_environments: WeakValueDictionary = WeakValueDictionary()  # LMDB opens a folder only once


class LmdbDataset(Dataset):
    """A set that is read record by record, fastest from front to back; ``images`` is None.

    All records have the shape and type of the first. Encoded ones (JPEG, PNG) are decoded as
    Caffe does: grey stays one channel, colour becomes BGR.

    >>> import pydl.data
    >>> pydl.data.open_source("ilsvrc12_train_lmdb").shape  # doctest: +SKIP
    (3, 256, 256)
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        lmdb = _import_lmdb(name)
        try:
            environment = _environment(lmdb, folder)
            self._cursor = environment.begin(buffers=True).cursor()
            self._length = environment.stat()["entries"]
        except lmdb.Error as error:
            raise Error(f"{name}: LMDB cannot open it: {error}") from error
        if not self._length:
            raise Error(f"{name}: the LMDB has no records")
        self._seek(0)
        first = self._decode()[0]
        self.shape, self._dtype = first.shape, first.dtype

    def __len__(self) -> int:
        return self._length

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((count, *self.shape), self._dtype)
        labels = np.empty(count, np.int64)
        for i in range(count):
            self._seek(start + i)
            images[i], labels[i] = self._checked()
        return images, labels

    def _seek(self, row: int) -> None:
        """Keys say nothing about row numbers: a step back is a walk from the first record."""
        if row == 0 or row < self._row:
            self._cursor.first()
            self._row = 0
        while self._row < row:
            self._cursor.next()
            self._row += 1

    def _checked(self) -> tuple[np.ndarray, int]:
        image, label = self._decode()
        if image.shape != self.shape or image.dtype != self._dtype:
            raise Error(
                f"{self._where()}: an image of {image.shape} {image.dtype}, the first record has "
                f"{self.shape} {self._dtype}; make them the same (convert_imageset -resize_height "
                "-resize_width)"
            )
        return image, label

    def _decode(self) -> tuple[np.ndarray, int]:
        datum = Datum.parse(self._cursor.value(), self._where())
        image = _decode_image(datum.data.tobytes(), self._where()) if datum.encoded else datum.data
        return image, datum.label

    def _where(self) -> str:
        return f"{self.name}: record {bytes(self._cursor.key()).decode(errors='replace')!r}"


def _environment(lmdb: ModuleType, folder: Path):
    key = str(folder.resolve())
    environment = _open_environments.get(key)
    if environment is None:
        environment = lmdb.open(key, readonly=True, lock=False)
        _open_environments[key] = environment
    return environment


def _import_lmdb(name: str) -> ModuleType:
    try:
        import lmdb
    except ImportError as error:
        raise Error(f'{name}: an LMDB needs the package lmdb: pip install "pydl[lmdb]"') from error
    return lmdb


def _decode_image(encoded: bytes, where: str) -> np.ndarray:
    """An image file's bytes as uint8 (C, H, W); C is 1 for grey, 3 for BGR, 4 with alpha."""
    try:
        from PIL import Image
    except ImportError as error:
        raise Error(f'{where}: encoded images need Pillow: pip install "pydl[image]"') from error
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = np.asarray(image if image.mode in ("L", "RGB") else _as_colour(image))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise Error(f"{where}: the encoded image cannot be read: {error}") from error
    if pixels.ndim == 2:
        return pixels[np.newaxis]
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]].transpose(2, 0, 1))


def _as_colour(image):
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"pixels of mode {image.mode}; 8 bits per channel are read")
    return image.convert("RGBA" if "A" in image.getbands() else "RGB")
