"""What every source opens as: images, labels, and consecutive rows of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from pydl.errors import Error

# Of rows: images (C, H, W), each of its own shape, labels (0 where there are none), and names.
Records = tuple[list[np.ndarray], list[float], list[str]]


class Dataset(ABC):
    """A set of images, of labels if it has them, in a fixed order.

    Attributes:
        name: what the set was opened by.
        class_names: the name of each label, or ``()``.
        images: uint8 or float32 (N, C, H, W), contiguous, perhaps read-only and memory-mapped;
            None for a set that is read record by record (databases, image files).
        labels: int64 or float32 (N,), or None for a set without labels or without ``images``.
        shape: (C, H, W) of one image; of a set read record by record, the first.
    """

    name: str
    class_names: tuple[str, ...] = ()
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    shape: tuple[int, int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray | None]: ...

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """``count`` rows from ``start`` on: images (count, C, H, W) and labels (count,) or None.

        Raises Error where the rows are not all there: wrapping around is up to the caller.

        >>> import pydl.data
        >>> images, labels = pydl.data.open_source("mnist_sample/train").read(64, 32)
        >>> images.shape, labels.shape
        ((32, 1, 28, 28), (32,))
        """
        if start < 0 or count < 0 or start + count > len(self):
            raise Error(
                f"{self.name}: rows {start} to {start + count - 1} asked for, it has {len(self)}"
            )
        return self._read(start, count)

    def records(self, numbers: Sequence[int]) -> Records:
        """The rows of these numbers: images (C, H, W), each of its own shape, labels, and names.

        >>> import pydl.data
        >>> images, labels, names = pydl.data.open_source("mnist_sample/train").records([7, 0])
        >>> images[0].shape, names[0]
        ((1, 28, 28), 'mnist_sample/train: record 7')
        """
        rows = [self.read(number, 1) for number in numbers]
        labels = [0.0 if label is None else float(label[0]) for _, label in rows]
        names = [f"{self.name}: record {number}" for number in numbers]
        return [image[0] for image, _ in rows], labels, names

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self)} x {self.shape}>"


class ArrayDataset(Dataset):
    """A set held as numpy arrays; any layout that ``as_images`` and ``as_labels`` take.

    >>> import numpy as np
    >>> from pydl.data import ArrayDataset
    >>> ArrayDataset(np.zeros((10, 28, 28), np.uint8), np.arange(10), name="zeros").shape
    (1, 28, 28)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        name: str,
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.class_names = class_names
        self.images = as_images(images, name)
        self.labels = None if labels is None else as_labels(labels, len(images), name)
        self.shape = self.images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        rows = slice(start, start + count)
        return self.images[rows], None if self.labels is None else self.labels[rows]


def as_images(array: np.ndarray, where: str) -> np.ndarray:
    """``array`` as contiguous uint8 or float32 (N, C, H, W); a view where possible.

    (N, H, W) is one channel, (N, D) is D channels of 1 x 1. uint8 is kept, other real types become
    float32. ``where`` begins the message of an Error.
    """
    shape = array.shape
    if array.dtype.kind not in "buif":
        raise Error(f"{where}: images of type {array.dtype}; they must be numbers")
    if array.size == 0:
        raise Error(f"{where}: no images in an array of shape {shape}")
    if array.ndim == 4 and shape[3] in (3, 4) and shape[1] == shape[2] > 4:
        raise Error(
            f"{where}: images of shape {shape} are N x H x W x C; "
            "N x C x H x W is needed: images.transpose(0, 3, 1, 2)"
        )
    full_shapes = {2: (*shape, 1, 1), 3: (shape[0], 1, *shape[1:]), 4: shape}
    if array.ndim not in full_shapes:
        raise Error(f"{where}: images of shape {shape}; N x C x H x W or N x H x W is needed")
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    return np.ascontiguousarray(array, dtype).reshape(full_shapes[array.ndim])


def as_labels(array: np.ndarray, images: int, where: str) -> np.ndarray:
    """``array``, (N,) or (N, 1), as int64 (N,) if it holds integers, else as float32 (N,)."""
    if array.ndim == 2 and array.shape[1] > 1:
        raise Error(
            f"{where}: labels of shape {array.shape}; one label per image is needed "
            "(one-hot rows: labels.argmax(axis=1))"
        )
    if array.dtype.kind not in "buif":
        raise Error(f"{where}: labels of type {array.dtype}; they must be numbers")
    if array.size != images or array.shape[:1] != (images,):
        raise Error(f"{where}: {images} images, but labels of shape {array.shape}")
    dtype = np.float32 if array.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(array, dtype).reshape(images)
