"""What ``pydl predict`` runs a net on: images, arrays or a data set, batch by batch."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pydl.errors import Error

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_BILINEAR = 2  # of Pillow's Resampling
_LABEL_KEYS = ("labels", "label", "y")


@dataclass
class Records:
    """Records to predict.

    Attributes:
        count: how many.
        read: ``read(start, count)`` gives an array (count, ...) for each input of the net.
        title: ``title(i)`` names a record.
        labels: (N,) or None.
        class_names: the name of each label, or ``()``.
    """

    count: int
    read: Callable[[int, int], dict[str, np.ndarray]]
    title: Callable[[int], str]
    labels: np.ndarray | None = None
    class_names: Sequence[str] = field(default=())


@dataclass
class Scaling:
    """``(x * raw_scale - mean) * scale``, in the order and with the names of Caffe's tools."""

    raw_scale: float = 1.0
    mean: np.ndarray | None = None  # of any shape that fits (C, H, W)
    scale: float = 1.0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        batch = np.asarray(batch, np.float32)
        if self.raw_scale != 1:
            batch = batch * np.float32(self.raw_scale)
        if self.mean is not None:
            batch = batch - self._fitting_mean(batch.shape[1:])
        return batch * np.float32(self.scale) if self.scale != 1 else batch

    def _fitting_mean(self, shape: tuple[int, ...]) -> np.ndarray:
        mean = self.mean
        if mean.ndim == 3 and mean.shape[1:] not in (shape[1:], (1, 1)):
            mean = mean.mean(axis=(1, 2), keepdims=True)  # an image of another size: per channel
        try:
            np.broadcast_to(mean, shape)
        except ValueError:
            raise Error(f"-mean of shape {mean.shape} does not fit records of {shape}") from None
        return mean


def read_mean(text: str) -> np.ndarray:
    """Values such as ``104,117,123``, one for all or one per channel, or a .binaryproto or .npy."""
    if text.endswith(".binaryproto"):
        from pydl.formats import binaryproto

        mean = np.asarray(binaryproto.load(text), np.float32)
        return mean[0] if mean.ndim == 4 and len(mean) == 1 else mean
    if text.endswith(".npy"):
        return np.asarray(_load_npy(text), np.float32)
    try:
        return np.array([float(part) for part in text.split(",")], np.float32).reshape(-1, 1, 1)
    except ValueError:
        raise Error(
            f'-mean "{text}": expected numbers with commas, a .binaryproto or a .npy file'
        ) from None


def read_names(path: str) -> list[str]:
    """The lines of a file: a name for each class."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise Error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"{path}: cannot be read: {error}") from error


def open_records(
    names: Sequence[str], shapes: dict[str, tuple[int, ...]], scaling: Scaling, rgb: bool
) -> Records:
    """Opens what -input names.

    Args:
        names: image files or a folder of them, one .npy or .npz, or a source of `pydl.data`.
        shapes: of the net's inputs, with the batch axis.
        scaling: applied to each batch.
        rgb: colour order of images; Caffe's is BGR.

    Raises:
        Error: nothing usable there, or not of the inputs' shapes.
    """
    files = _image_files(names)
    if files:
        return _open_images(files, shapes, scaling, rgb)
    if len(names) > 1:
        raise Error(f"-input: several files must all be images ({', '.join(_IMAGE_SUFFIXES)})")
    name = names[0]
    if name.endswith((".npy", ".npz")):
        arrays = {"": _load_npy(name)} if name.endswith(".npy") else _load_npz(name)
        return _open_arrays(name, arrays, shapes, scaling)
    return _open_source(name, shapes, scaling)


def _only(shapes: dict[str, tuple[int, ...]], what: str) -> tuple[str, tuple[int, ...]]:
    if len(shapes) != 1:
        raise Error(
            f"the net has the inputs {', '.join(shapes)}; {what} can fill only one: give an .npz "
            "with an array for each"
        )
    return next(iter(shapes.items()))


# ---- images ----
def _image_files(names: Sequence[str]) -> list[Path]:
    paths = [Path(name) for name in names]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(p for p in paths[0].iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    return paths if all(p.suffix.lower() in _IMAGE_SUFFIXES for p in paths) else []


def _open_images(
    files: list[Path], shapes: dict[str, tuple[int, ...]], scaling: Scaling, rgb: bool
) -> Records:
    blob, shape = _only(shapes, "images")
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise Error(f'input "{blob}" has shape {shape}; images need (N, 1 or 3, rows, columns)')

    def read(start: int, count: int) -> dict[str, np.ndarray]:
        batch = [load_image(file, shape[1:], rgb) for file in files[start : start + count]]
        return {blob: scaling(np.stack(batch))}

    return Records(len(files), read, lambda i: str(files[i]))


def load_image(path: Path, shape: tuple[int, ...], rgb: bool) -> np.ndarray:
    """(C, H, W), values 0 to 255, resized to the net's input."""
    channels, rows, columns = shape
    image = open_image(path)
    if channels == 1:
        image = image.convert("L")
    if image.size != (columns, rows):
        image = image.resize((columns, rows), _BILINEAR)
    pixels = np.asarray(image, np.float32)
    if channels == 1:
        return pixels[None]
    return np.ascontiguousarray((pixels if rgb else pixels[..., ::-1]).transpose(2, 0, 1))


def open_image(path: Path) -> Image:
    """An image file in 8-bit RGB, upright as its EXIF data says."""
    from pydl.tools.imageset import read_image

    if not path.exists():
        raise Error(f"{path}: no such file")
    pixels = read_image(path)
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0)))


# ---- arrays ----
def _load_npy(path: str) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise Error(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise Error(f"{path}: not a readable .npy file: {error}") from error


def _load_npz(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise Error(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise Error(f"{path}: not a readable .npz file: {error}") from error


def _open_arrays(
    name: str,
    arrays: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    scaling: Scaling,
) -> Records:
    inputs = _pick_inputs(name, arrays, shapes)
    batches = {
        blob: _as_batch(array, shapes[blob], f"{name}: for input {blob}")
        for blob, array in inputs.items()
    }
    counts = {len(batch) for batch in batches.values()}
    if len(counts) != 1:
        sizes = ", ".join(f"{blob} {len(batch)}" for blob, batch in batches.items())
        raise Error(f"{name}: the inputs have different numbers of records: {sizes}")
    count = counts.pop()

    def read(start: int, size: int) -> dict[str, np.ndarray]:
        return {blob: scaling(batch[start : start + size]) for blob, batch in batches.items()}

    labels = _labels({key: array for key, array in arrays.items() if key not in inputs}, count)
    return Records(count, read, lambda i: str(i), labels)


def _pick_inputs(
    name: str, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    if set(shapes) <= set(arrays):
        return {blob: arrays[blob] for blob in shapes}
    blob, _ = _only(shapes, name)
    others = [key for key in arrays if key not in _LABEL_KEYS]
    named = [key for key in others if key in ("images", "data", "x")] or others
    if len(named) != 1:
        raise Error(
            f'{name}: no array for input "{blob}"; it has {", ".join(arrays) or "no arrays"}'
        )
    return {blob: arrays[named[0]]}


def _as_batch(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """(N, ...) as the input wants it: one record gets its batch axis, (N, H, W) its channel."""
    record = tuple(shape[1:])
    if array.dtype.kind not in "buif":
        raise Error(f"{where}: values of type {array.dtype}; they must be numbers")
    if array.shape == record:
        array = array[None]
    size = int(np.prod(array.shape[1:]))
    if array.ndim and len(array) and size == int(np.prod(record)):
        return array.reshape(len(array), *record)
    if array.ndim == len(shape) and array.size:  # another size of image: the net takes it or tells
        return array
    raise Error(f"{where}: an array of shape {array.shape}; (N, {', '.join(map(str, record))})")


def _labels(arrays: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    for key in _LABEL_KEYS:
        if key in arrays and arrays[key].size == count:
            return arrays[key].reshape(count)
    return None


# ---- data sets ----
def _open_source(name: str, shapes: dict[str, tuple[int, ...]], scaling: Scaling) -> Records:
    from pydl.data import open_source

    blob, shape = _only(shapes, name)
    dataset = open_source(name)
    _as_batch(np.empty((1, *dataset.shape), np.float32), shape, f"{name}: for input {blob}")

    def read(start: int, count: int) -> dict[str, np.ndarray]:
        images, _ = dataset.read(start, count)
        return {blob: _as_batch(scaling(images), shape, name)}

    return Records(
        len(dataset), read, lambda i: f"{name} {i}", _source_labels(dataset), dataset.class_names
    )


def _source_labels(dataset) -> np.ndarray | None:
    if dataset.images is not None:
        return dataset.labels
    pieces = [
        dataset.read(start, min(1024, len(dataset) - start))[1]
        for start in range(0, len(dataset), 1024)
    ]
    return None if any(piece is None for piece in pieces) else np.concatenate(pieces)
