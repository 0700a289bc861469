"""Writing LMDB folders record by record (needs the package lmdb)."""

from __future__ import annotations

import os
from pathlib import Path

from pydl.errors import Error

_COMMIT_EVERY = 1000  # records, as Caffe's tools do
_FIRST_SIZE = 10 << 20  # bytes; doubled whenever it is full


class LmdbWriter:
    """A new LMDB folder, open for writing within a ``with`` block.

    Raises Error where the folder is there already, cannot be made, or cannot be written to.

    >>> with LmdbWriter("numbers_lmdb") as writer:
    ...     writer.put(b"00000000", b"one")
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        try:
            import lmdb
        except ImportError as error:
            raise Error(
                f'{folder}: writing an LMDB needs the package lmdb: pip install "pydl[lmdb]"'
            ) from error
        self._lmdb = lmdb
        self._pending: list[tuple[bytes, bytes]] = []
        try:
            self.folder.mkdir(mode=0o744)
        except FileExistsError:
            raise Error(
                f"{folder}: is there already; remove it or give the new database another name"
            ) from None
        except OSError as error:
            raise Error(f"{folder}: cannot make the folder: {error.strerror}") from error
        try:
            self._environment = self._lmdb.open(str(folder), map_size=_FIRST_SIZE)
        except self._lmdb.Error as error:
            raise Error(f"{folder}: LMDB cannot open it: {error}") from error

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a record."""
        self._pending.append((key, value))
        if len(self._pending) == _COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Writes what was put so far."""
        while self._pending and not self._written():
            self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._pending.clear()

    def _written(self) -> bool:
        try:
            with self._environment.begin(write=True) as transaction:
                for key, value in self._pending:
                    transaction.put(key, value)
        except self._lmdb.MapFullError:
            return False
        except self._lmdb.Error as error:
            raise Error(f"{self.folder}: LMDB cannot write to it: {error}") from error
        return True

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.commit()
        self._environment.close()
