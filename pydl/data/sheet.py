"""Sheets of a set's images with their labels, as picture files (need matplotlib)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydl.data.dataset import Dataset
from pydl.errors import Error

_CELL_INCHES = 0.8


def save_sheet(dataset: Dataset, path: str | Path, *, count: int = 50, columns: int = 10) -> None:
    """Draws the first ``count`` images of a set, their labels above them, into ``path``.

    The suffix of ``path`` says the kind of picture: .png, .pdf, .svg. Images have 1 or 3 channels,
    blue first.

    >>> import pydl.data
    >>> from pydl.data.sheet import save_sheet
    >>> digits = pydl.data.open_source("mnist_sample/train")
    >>> save_sheet(digits, "/tmp/pydl_doc.png", count=30)
    """
    if count < 1 or columns < 1:
        raise Error(f"{count} images in {columns} columns: both must be at least 1")
    _check_channels(dataset.shape[0], dataset.name)
    images, labels = dataset.read(0, min(count, len(dataset)))
    titles = [] if labels is None else [_label_text(dataset, label) for label in labels]
    _draw([_drawable(image, *_range(image)) for image in images], titles, path, columns)


def save_rows(
    rows: Sequence[np.ndarray], path: str | Path, *, titles: Sequence[str] = (), name: str = ""
) -> None:
    """Draws rows of images, each (N, C, H, W), below one another into ``path``.

    ``titles`` stand above the images of the first row, whose range of values is that of all. Images
    have 1 or 3 channels, blue first; ``name`` begins the message of an Error.

    >>> import numpy as np
    >>> from pydl.data.sheet import save_rows
    >>> images = np.random.default_rng(0).uniform(0, 255, (4, 3, 8, 8))
    >>> save_rows([images, 255 - images], "/tmp/pydl_doc.png", titles=["a", "b", "c", "d"])
    """
    _check_channels(rows[0].shape[1], name or str(path))
    low, high = _range(rows[0])
    cells = [_drawable(image, low, high) for row in rows for image in row]
    _draw(cells, titles, path, len(rows[0]))


def _draw(
    cells: Sequence[np.ndarray], titles: Sequence[str], path: str | Path, columns: int
) -> None:
    """Pictures with values from 0 to 1, some with a title, from left to right in ``columns``."""
    figure_class = _figure_class()
    rows = math.ceil(len(cells) / columns)
    titled_rows = math.ceil(len(titles) / columns)
    height = (rows + 0.25 * titled_rows) * _CELL_INCHES
    figure = figure_class(figsize=(columns * _CELL_INCHES, height))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, cell in zip(axes, cells, strict=False):
        axis.imshow(cell, cmap="gray_r", vmin=0, vmax=1)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=7, pad=2)
    figure.tight_layout(pad=0.3)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise Error(f"{path}: the sheet cannot be written: {error}") from error


def _figure_class() -> type:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Error('a sheet needs matplotlib: pip install "pydl[plot]"') from error
    return Figure


def _check_channels(channels: int, name: str) -> None:
    if channels not in (1, 3):
        raise Error(f"{name}: images of {channels} channels; 1 or 3 can be drawn")


def _range(images: np.ndarray) -> tuple[float, float]:
    """The least and the largest value: of bytes, or of floats that could be bytes, 0 and 255."""
    low, high = float(images.min()), float(images.max())
    is_bytes = images.dtype == np.uint8 or (low >= 0 and 1 < high <= 255)
    return (0.0, 255.0) if is_bytes else (low, high)


def _drawable(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """(C, H, W), blue first, as (H, W) or (H, W, 3), red first, with values from 0 to 1."""
    span = max(high - low, np.finfo(np.float32).tiny)
    picture = np.clip((image.transpose(1, 2, 0)[:, :, ::-1] - low) / span, 0, 1)
    return picture[:, :, 0] if image.shape[0] == 1 else picture


def _label_text(dataset: Dataset, label: np.number) -> str:
    if isinstance(label, np.integer) and 0 <= label < len(dataset.class_names):
        return dataset.class_names[label]
    return f"{label:g}"
