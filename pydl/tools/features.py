"""`extract_features`: what a net computes for its data, blob by blob, as LMDBs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import numpy as np

from pydl.data.lmdb_writer import LmdbWriter
from pydl.errors import Error
from pydl.formats import wire
from pydl.net import Net
from pydl.prototxt.names import nearest
from pydl.reporting.glog import LOGGER

_REPORT_EVERY = 1000


def extract_features(
    net: Net, databases: Mapping[str, str | os.PathLike], batches: int
) -> dict[str, int]:
    """Runs batches of the net's own data and writes blobs as float Datums, one per record.

    Args:
        net: built with ``keep="all"``; it reads its data (a Data layer).
        databases: blob -> the new LMDB folder. Keys are ten-digit numbers.
        batches: how many forward passes.

    Returns:
        The number of records written for each blob.

    Raises:
        Error: a blob that the net lacks or that has no batch axis, or a folder that is there.

    >>> extract_features(net, {"fc7": "features_lmdb"}, batches=10)  # doctest: +SKIP
    {'fc7': 500}
    """
    for name in databases:
        _check_blob(net, name)
    counts = dict.fromkeys(databases, 0)
    with contextlib.ExitStack() as stack:
        writers = {
            name: stack.enter_context(LmdbWriter(folder)) for name, folder in databases.items()
        }
        LOGGER.error("Extracting Features")
        for _ in range(batches):
            net.forward()
            for name, writer in writers.items():
                counts[name] = _write(writer, name, net.blobs[name].data, counts[name])
    for name, count in counts.items():
        if count % _REPORT_EVERY:
            _report(name, count)
    LOGGER.error("Successfully extracted the features!")
    return counts


def _check_blob(net: Net, name: str) -> None:
    if name not in net.blobs:
        close = nearest(name, net.blobs)
        hint = f'did you mean "{close}"?' if close else f"it has {', '.join(net.blobs)}"
        raise Error(f'unknown feature blob "{name}" in net "{net.name}"; {hint}')
    if not net.blobs[name].shape:
        raise Error(f'blob "{name}" is a single number: it holds no features of single records')


def _write(writer: LmdbWriter, name: str, values: np.ndarray, count: int) -> int:
    for record in values:
        writer.put(f"{count:010}".encode(), _datum(record))
        count += 1
        if count % _REPORT_EVERY == 0:
            _report(name, count)
    return count


def _datum(record: np.ndarray) -> bytes:
    """A Datum without label: channels, height and width, which are 1 beyond the record's axes."""
    if record.ndim > 3:
        record = record.reshape(-1)
    dims = (*record.shape, 1, 1, 1)[:3]
    shape = [wire.integer(i, n) for i, n in enumerate(dims, 1)]
    return b"".join([*shape, wire.unpacked(6, record, "<f4")])


def _report(name: str, count: int) -> None:
    # Caffe reports at this level, so that nobody misses it.
    LOGGER.error("Extracted features of %d query images for feature blob %s", count, name)
