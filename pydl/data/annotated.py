"""Databases of images with boxes around their objects, SSD's AnnotatedDatums."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pydl.data.datum_source import DatumDataset, LevelDbDataset, LmdbDataset
from pydl.data.lmdb_writer import LmdbWriter
from pydl.data.pictures import decode
from pydl.errors import Error
from pydl.formats.annotated import AnnotatedDatum
from pydl.formats.binaryproto import Datum


class _Annotated:
    """Reads AnnotatedDatums where its base reads Datums; a label is then an array of boxes."""

    def _record(self, number: int) -> tuple[np.ndarray, int | np.ndarray]:
        where = self._where(number)
        record = AnnotatedDatum.parse(self._value(number), where)
        label = record.datum.label if record.boxes is None else record.boxes
        if record.datum.encoded:
            return decode(record.datum.data, self._color, where), label
        return np.require(record.datum.data, requirements="CA"), label


class AnnotatedLmdb(_Annotated, LmdbDataset):
    """An LMDB folder."""


class AnnotatedLevelDb(_Annotated, LevelDbDataset):
    """A LevelDB folder (needs the package plyvel)."""


def open_annotated(source: str | os.PathLike, color: str = "") -> DatumDataset:
    """Opens what the ``source`` of an AnnotatedData layer names: an LMDB or LevelDB folder.

    The labels of its ``records`` are arrays (G, 7), as `AnnotatedDatum.boxes`.

    Args:
        source: the folder.
        color: how encoded images are decoded: "" as they are, "color" to 3 channels (blue first),
            "gray" to 1.

    Raises:
        Error: no such folder, no database in it, or no AnnotatedDatums.

    >>> images, boxes, names = open_annotated("VOC0712_lmdb").records([0])  # doctest: +SKIP
    """
    name, folder = os.fspath(source), Path(source)
    for file, kind in (("data.mdb", AnnotatedLmdb), ("CURRENT", AnnotatedLevelDb)):
        if (folder / file).is_file():
            return kind(folder, name, color)
    there = "has no database in it" if folder.is_dir() else "is not there"
    raise Error(
        f"{name}: the folder {there}; an LMDB or LevelDB of AnnotatedDatums is needed: make it "
        "with pydl convert_annoset, or pydl.data.write_annotated_lmdb"
    )


def write_annotated_lmdb(
    path: str | os.PathLike, images: list[np.ndarray], boxes: list[np.ndarray]
) -> None:
    """Writes a new LMDB of images with boxes (needs the package lmdb).

    Args:
        path: the folder to make; there must be none of that name.
        images: each uint8 (C, H, W), blue first, of any size.
        boxes: for each image float (G, 7), as `AnnotatedDatum.boxes`, or (G, 5): label, xmin, ymin,
            xmax, ymax as parts of the image.

    Raises:
        Error: lmdb is not installed, the folder is there, or boxes do not fit.

    >>> import numpy as np
    >>> write_annotated_lmdb("cats_lmdb", [np.zeros((3, 8, 8), np.uint8)], [[[1, 0, 0, 0.5, 1]]])
    """
    if len(images) != len(boxes):
        raise Error(f"{os.fspath(path)}: {len(images)} images, but boxes of {len(boxes)}")
    with LmdbWriter(path) as writer:
        for number, (image, rows) in enumerate(zip(images, boxes, strict=True)):
            record = AnnotatedDatum(Datum(np.asarray(image, np.uint8)), _full_rows(rows))
            writer.put(f"{number:08d}".encode(), record.serialize())


def _full_rows(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    if rows.size == 0:
        return np.empty((0, 7), np.float32)
    if rows.ndim == 2 and rows.shape[1] == 5:
        instances = np.zeros(len(rows), np.float32)
        for label in np.unique(rows[:, 0]):
            same = rows[:, 0] == label
            instances[same] = np.arange(np.count_nonzero(same))
        zeros = np.zeros((len(rows), 1), np.float32)
        return np.concatenate([rows[:, :1], instances[:, None], rows[:, 1:], zeros], axis=1)
    return rows
