"""Databases of Caffe Datums: LMDB and LevelDB, read by number in the order of their keys."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydl.data.dataset import Dataset, Records
from pydl.data.lmdb_file import LmdbFile
from pydl.data.pictures import decode
from pydl.errors import Error
from pydl.formats.binaryproto import Datum

_MOST_LABELS = 1 << 16  # to take note of
_LEVELDB_WAY_OUT = """{source}: LevelDB needs the package plyvel: pip install "pydl[leveldb]"; or \
copy it once, where plyvel is, to LMDB, which needs no package to be read:
  import lmdb, plyvel
  with lmdb.open("new_lmdb", map_size=1 << 40).begin(write=True) as new:
      for key, value in plyvel.DB("{source}"):
          new.put(key, value)"""


class DatumDataset(Dataset):
    """A set that is read record by record; ``images`` is None.

    ``shape`` is the first record's; others may have another. Encoded ones (JPEG, PNG) are decoded
    as Caffe does: blue first; ``color`` says how: "" as they are, "color" to 3 channels, "gray" to
    1.

    >>> import pydl.data
    >>> pydl.data.open_source("ilsvrc12_train_lmdb").shape  # doctest: +SKIP
    (3, 256, 256)
    """

    def __init__(self, folder: Path, name: str, color: str = "") -> None:
        self.name = name
        self._folder, self._color = folder, color
        self._known = _KnownForm()
        self._open()
        if not len(self):
            raise Error(f"{name}: the database has no records")
        self.shape = self._record(0)[0].shape

    def __reduce__(self) -> tuple:
        return type(self), (self._folder, self.name, self._color)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _key(self, number: int) -> bytes: ...

    @abstractmethod
    def _value(self, number: int) -> bytes | memoryview: ...

    def records(self, numbers: Sequence[int]) -> Records:
        rows = [self._record(number) for number in numbers]
        names = [self._where(number) for number in numbers]
        return [image for image, _ in rows], [label for _, label in rows], names

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels, names = self.records(range(start, start + count))
        for image, name in zip(images, names, strict=True):
            if image.shape != self.shape:
                raise Error(
                    f"{name}: an image of {image.shape}, the first record has {self.shape}; "
                    "make them the same (convert_imageset -resize_height -resize_width)"
                )
        stacked = np.stack(images) if images else np.empty((0, *self.shape), np.uint8)
        return stacked, np.array(labels, np.int64)

    def _record(self, number: int) -> tuple[np.ndarray, int]:
        value = self._value(number)
        if (known := self._known.read(value)) is not None:
            return known
        where = self._where(number)
        datum = Datum.parse(value, where)
        if datum.encoded:
            return decode(datum.data, self._color, where), datum.label
        image = np.require(datum.data, requirements="CA")
        self._known.learn(value, image, datum.label)
        return image, datum.label

    def _where(self, number: int) -> str:
        return f"{self.name}: record {self._key(number).decode(errors='replace')!r}"


class _KnownForm:
    """Datums of bytes that begin as the first one did, with the same shape, and end as one that was
    parsed before, with the same label. They need no parsing, which would take most of the time."""

    def __init__(self) -> None:
        self._head: bytes | None = None
        self._size, self._shape = 0, ()
        self._labels: dict[bytes, int] = {}

    def read(self, value: bytes | memoryview) -> tuple[np.ndarray, int] | None:
        begin = 0 if self._head is None else len(self._head)
        if not begin or len(value) < begin + self._size:
            return None
        label = self._labels.get(bytes(value[begin + self._size :]))
        if label is None or bytes(value[:begin]) != self._head:
            return None
        image = np.frombuffer(value, np.uint8, self._size, begin)
        return image.reshape(self._shape), label

    def learn(self, value: bytes | memoryview, image: np.ndarray, label: int) -> None:
        """Takes note of a Datum that was parsed."""
        begin = image.ctypes.data - np.frombuffer(value, np.uint8).ctypes.data
        if image.dtype != np.uint8 or not 0 <= begin <= len(value) - image.size:
            return  # no view of the record
        if self._head is None:
            self._head, self._size, self._shape = bytes(value[:begin]), image.size, image.shape
        if bytes(value[:begin]) == self._head and len(self._labels) < _MOST_LABELS:
            self._labels[bytes(value[begin + image.size :])] = label


class LmdbDataset(DatumDataset):
    """An LMDB folder."""

    def _open(self) -> None:
        self._file = LmdbFile(self._folder / "data.mdb", self.name)

    def __len__(self) -> int:
        return len(self._file)

    def _key(self, number: int) -> bytes:
        return self._file.key(number)

    def _value(self, number: int) -> memoryview:
        return self._file.value(number)


class LevelDbDataset(DatumDataset):
    """A LevelDB folder (needs the package plyvel), all of which is read once to count it.

    LevelDB writes to what it opens, and to one process only: it is given a folder of its own, with
    links to the tables, which nobody changes, and copies of the rest.
    """

    def _open(self) -> None:
        try:
            import plyvel
        except ImportError as error:
            raise Error(_LEVELDB_WAY_OUT.format(source=self.name)) from error
        import tempfile

        self._copy = tempfile.TemporaryDirectory(prefix="pydl-leveldb-")
        _link_or_copy(self._folder, Path(self._copy.name))
        self._error = plyvel.Error
        try:
            self._db = plyvel.DB(self._copy.name, paranoid_checks=True)
            self._keys = list(self._db.iterator(include_value=False))
        except (plyvel.Error, OSError) as error:
            raise self._unreadable(error) from error

    def __len__(self) -> int:
        return len(self._keys)

    def _key(self, number: int) -> bytes:
        return self._keys[number]

    def _value(self, number: int) -> bytes:
        try:
            value = self._db.get(self._keys[number], verify_checksums=True)
        except self._error as error:
            raise self._unreadable(error) from error
        if value is None:
            raise self._unreadable(f"no record {self._keys[number]!r} any more")
        return value

    def _unreadable(self, error: object) -> Error:
        return Error(f"{self.name}: LevelDB cannot read it: {error}")


def _link_or_copy(folder: Path, to: Path) -> None:
    import shutil

    for path in folder.iterdir():
        if path.suffix in (".ldb", ".sst"):
            (to / path.name).symlink_to(path.resolve())
        elif path.name == "CURRENT" or path.suffix == ".log" or path.name.startswith("MANIFEST-"):
            shutil.copyfile(path, to / path.name)
