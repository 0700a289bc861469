"""What the C++ core asks Python for: the sources of data layers, output files, mean images, and
what libraries do to pictures."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import _core
from pydl.errors import Error

if TYPE_CHECKING:
    from pydl.data.dataset import Dataset

_installed = False


def install() -> None:
    """Lets layers open what `pydl.data` and `pydl.formats` can read."""
    global _installed
    if _installed:
        return
    _core.set_data_hooks(
        _open, _open_windows, _open_rows, _open_output, _read_mean, _read_label_names,
        _change_picture,
    )  # fmt: skip
    _core.set_blob_reader(_read_blob)
    atexit.register(_core.stop_reading_ahead)  # while their threads can still use Python
    _installed = True


def _open(request: Mapping[str, Any]) -> _core.DataSource:
    if request["layer"] == "ImageData":
        return _records(_image_list(request), request)
    if request["layer"] == "AnnotatedData":
        from pydl.data.annotated import open_annotated

        return _records(open_annotated(request["source"], request["color"]), request)
    if request["layer"] == "DenseImageData":
        return _records(_label_image_list(request), request)
    from pydl.data import open_source

    dataset = open_source(request["source"], request["backend"] or None, request["color"])
    if dataset.images is None:
        return _records(dataset, request)
    labels = np.zeros(len(dataset)) if dataset.labels is None else dataset.labels
    return _core.array_source(dataset.images, labels.tolist())


def _records(dataset: Dataset, request: Mapping[str, Any]) -> _core.DataSource:
    if not request["workers"]:
        return _core.python_source(len(dataset), dataset.records)
    from pydl.data.workers import Workers

    return _core.python_source(len(dataset), Workers(dataset, request["workers"]).records)


def _image_list(request: Mapping[str, Any]) -> Dataset:
    from pydl.data.image_files import ImageFiles, read_image_list

    paths, labels = read_image_list(request["source"], request["root_folder"])
    size = (request["new_height"], request["new_width"])
    return ImageFiles(paths, labels, request["source"], request["color"], size if size[0] else None)


def _label_image_list(request: Mapping[str, Any]) -> Dataset:
    from pydl.data.label_images import LabelledImages, read_pair_list

    images, labels = read_pair_list(request["source"], request["root_folder"])
    size = (request["new_height"], request["new_width"])
    name, color = request["source"], request["color"]
    return LabelledImages(images, labels, name, color, size if size[0] else None)


def _open_windows(request: Mapping[str, Any]) -> tuple[_core.DataSource, np.ndarray]:
    from pydl.data.image_files import ImageFiles
    from pydl.data.window_file import read_window_file

    paths, windows = read_window_file(request["source"], request["root_folder"])
    images = ImageFiles(paths, [0.0] * len(paths), request["source"], cache=request["cache"])
    return _records(images, request), windows


def _open_rows(request: Mapping[str, Any]) -> _core.RowSource:
    from pydl.data.hdf5_source import Hdf5Rows

    rows = Hdf5Rows(request["source"], request["columns"], request["shuffle"])
    return _core.row_source(rows.file_rows, rows.row_shapes, rows.read)


def _open_output(path: str) -> Callable[[Mapping[str, np.ndarray]], None]:
    from pydl.data.hdf5_source import hdf5_output

    return hdf5_output(path)


def _read_blob(path: str) -> np.ndarray:
    from pydl.formats import binaryproto

    return binaryproto.load(path)


def _read_mean(path: str) -> np.ndarray:
    from pydl.formats import binaryproto

    mean = np.asarray(binaryproto.load(path), np.float32)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3:
        raise Error(f"{path}: a mean image of shape {mean.shape}; channels x rows x columns needed")
    return mean


def _read_label_names(path: str) -> dict[int, str]:
    from pydl.formats.annotated import load_label_names

    return load_label_names(path)


def _change_picture(what: str, quality: int, picture: np.ndarray) -> np.ndarray:
    from pydl.data.noise import change

    return change(what, quality, picture)
