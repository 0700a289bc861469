"""A sheet of a set's images with their labels, as a picture file (needs matplotlib)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pydl.data.dataset import Dataset
from pydl.errors import Error

_CELL_INCHES = 0.8


def save_sheet(dataset: Dataset, path: str | Path, *, count: int = 50, columns: int = 10) -> None:
    """Draws the first ``count`` images of a set, their labels above them, into ``path``.

    The suffix of ``path`` says the kind of picture: .png, .pdf, .svg. Images have 1 or 3 channels.

    >>> import pydl.data
    >>> from pydl.data.sheet import save_sheet
    >>> digits = pydl.data.open_source("mnist_sample/train")
    >>> save_sheet(digits, "/tmp/pydl_doc.png", count=30)
    """
    if count < 1 or columns < 1:
        raise Error(f"{count} images in {columns} columns: both must be at least 1")
    if dataset.shape[0] not in (1, 3):
        raise Error(f"{dataset.name}: images of {dataset.shape[0]} channels; 1 or 3 can be drawn")
    figure_class = _figure_class()
    images, labels = dataset.read(0, min(count, len(dataset)))
    rows = math.ceil(len(images) / columns)
    figure = figure_class(figsize=(columns * _CELL_INCHES, rows * _CELL_INCHES * 1.25))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, image in enumerate(images):
        axes[i].imshow(_drawable(image), cmap="gray_r")
        if labels is not None:
            axes[i].set_title(_label_text(dataset, labels[i]), fontsize=7, pad=2)
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


def _drawable(image: np.ndarray) -> np.ndarray:
    """(C, H, W) as (H, W) or (H, W, 3); values that are no colours are stretched to be some."""
    picture = image.transpose(1, 2, 0)
    if image.shape[0] == 1:
        return picture[:, :, 0]
    if picture.dtype == np.uint8:
        return picture
    low, high = picture.min(), picture.max()
    return (picture - low) / max(high - low, np.finfo(np.float32).tiny)


def _label_text(dataset: Dataset, label: np.number) -> str:
    if isinstance(label, np.integer) and 0 <= label < len(dataset.class_names):
        return dataset.class_names[label]
    return f"{label:g}"
