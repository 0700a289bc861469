"""Images with an image of their pixels' labels: the lists of DenseImageData layers."""

from __future__ import annotations

import io

import numpy as np

from pydl.data.image_files import ImageFiles, numbered_lines, read_named_file
from pydl.errors import Error


class LabelledImages(ImageFiles):
    """Images (C + 1, H, W) whose last channel has the labels of their pixels.

    Args:
        paths: the images.
        label_paths: the label image of each: 8 bits of grey, or a palette, whose indices count.
        name: what the set was opened by.
        color: "color" (3 channels, blue first) or "gray" (1).
        size: (height, width) to resize each to, labels to those of the nearest pixels; or None.
    """

    def __init__(
        self,
        paths: list[str],
        label_paths: list[str],
        name: str,
        color: str = "color",
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(paths, [0.0] * len(paths), name, color, size)
        self._label_paths = label_paths

    def _image(self, number: int) -> np.ndarray:
        image = super()._image(number)
        path = self._label_paths[number]
        labels = decode_labels(read_named_file(path, self.name), path)
        if self._size:
            labels = nearest(labels, *self._size)
        if labels.shape != image.shape[1:]:
            (height, width), (_, rows, columns) = labels.shape, image.shape
            raise Error(
                f"{path}: a label image of {height}x{width} for {self._paths[number]} of "
                f"{rows}x{columns}; they must have one size"
            )
        return np.concatenate([image, labels[np.newaxis]])


def read_pair_list(source: str, root_folder: str) -> tuple[list[str], list[str]]:
    """The names in a list of images and label images, two on each line.

    Raises:
        Error: no such file, a line with anything but two names, or no lines.
    """
    images, labels = [], []
    for number, line in numbered_lines(source):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise Error(
                f"{source}:{number}: {line.strip()[:80]!r} has {len(words)} names; two are needed, "
                "without blanks: image label_image"
            )
        images.append(root_folder + words[0])
        labels.append(root_folder + words[1])
    if not images:
        raise Error(f"{source}: names no images; a line for each: image label_image")
    return images, labels


def decode_labels(encoded: bytes, where: str) -> np.ndarray:
    """A label image's bytes as uint8 (H, W): grey values, or the indices of a palette.

    Raises:
        Error: Pillow is not installed, or the bytes are no image of that kind.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise Error(f'{where}: encoded images need Pillow: pip install "pydl[image]"') from error
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            mode, pixels = image.mode, np.array(image)
    except Exception as error:  # Pillow's readers raise all sorts on damaged files
        raise Error(f"{where}: not a readable image: {error}") from error
    if mode in ("RGB", "RGBA") and (pixels[..., :3] == pixels[..., :1]).all():
        return pixels[..., 0].copy()
    if mode not in ("1", "L", "P"):
        raise Error(
            f"{where}: a label image needs one channel of 8 bits (grey, or a palette), this one is "
            f"{mode}; colours are no labels"
        )
    return pixels.astype(np.uint8)


def nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) as (height, width): the nearest pixel, as OpenCV chooses it.

    >>> nearest(np.array([[1, 2]], np.uint8), 1, 4).tolist()
    [[1, 1, 2, 2]]
    """
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[rows[:, np.newaxis], columns]
