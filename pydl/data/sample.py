"""mnist_sample: the 5,000 digits that come with pydl (see README.md in this folder)."""

from __future__ import annotations

from pathlib import Path

from pydl.data.dataset import ArrayDataset
from pydl.data.npz import read_arrays

NAME = "mnist_sample"
PATH = Path(__file__).with_name("mnist_sample.npz")
COUNTS = {"train": 4000, "test": 1000}
SHAPE = (1, 28, 28)
CLASS_NAMES = tuple("0123456789")


def open_sample(part: str) -> ArrayDataset:
    """``part`` is "train" (4,000 digits, 400 per class) or "test" (1,000, 100 per class)."""
    images, labels = read_arrays(PATH, f"{part}_images", f"{part}_labels")
    return ArrayDataset(images, labels, name=f"{NAME}/{part}", class_names=CLASS_NAMES)
