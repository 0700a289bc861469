"""Image files as arrays, the way OpenCV gives them to Caffe: (C, H, W), uint8, blue first."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from pydl import _core
from pydl.errors import Error

if TYPE_CHECKING:
    from PIL.Image import Image

_BGR = [2, 1, 0, 3]


def decode(encoded: bytes | np.ndarray, color: str, where: str) -> np.ndarray:
    """An image file's bytes as uint8 (C, H, W).

    Args:
        encoded: JPEG, PNG, or what else Pillow reads.
        color: "color": 3 channels, blue first; "gray": 1; "": as many as the image has, where 4 are
            with alpha. With the first two an image lies as its EXIF data says.
        where: begins the message of an Error.

    Raises:
        Error: Pillow is not installed, or the bytes are no image that it can read.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise Error(f'{where}: encoded images need Pillow: pip install "pydl[image]"') from error
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if color == "gray":
                image.draft("L", image.size)  # a JPEG's own brightness
            if color:
                image = ImageOps.exif_transpose(image)
            pixels = _pixels(image, color)
    except UnidentifiedImageError:
        raise Error(f"{where}: not a readable image: of no format that Pillow knows") from None
    except Exception as error:  # Pillow's readers raise all sorts on damaged files
        raise Error(f"{where}: not a readable image: {error}") from error
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels[np.newaxis])
    return np.ascontiguousarray(pixels[:, :, _BGR[: pixels.shape[2]]].transpose(2, 0, 1))


def _pixels(image: Image, color: str) -> np.ndarray:
    """(H, W), or (H, W, 3 or 4) with red first."""
    if image.mode.startswith(("I", "F")):
        if not color or image.mode == "F":
            raise ValueError(f"pixels of mode {image.mode}; 8 bits per channel are read")
        image = _upper_bits(image)
    if image.mode in ("1", "L") and color != "color":
        return np.asarray(image.convert("L"))
    if color == "gray":
        return _brightness(np.asarray(image.convert("RGB")))
    alpha = not color and "A" in image.getbands()
    return np.asarray(image.convert("RGBA" if alpha else "RGB"))


def _brightness(pixels: np.ndarray) -> np.ndarray:
    """As libpng computes it, and with it OpenCV for a PNG."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), 2, 0)
    return (9798 * red + 19235 * green + 3735 * blue >> 15).astype(np.uint8)


def _upper_bits(image: Image) -> Image:
    """16 bits as 8."""
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(C, H, W) uint8 as (C, height, width): bilinear, in the arithmetic of OpenCV's resize.

    >>> import numpy as np
    >>> resize(np.array([[[0, 100]]], np.uint8), 1, 4).tolist()
    [[[0, 25, 75, 100]]]
    """
    if image.shape[1:] == (height, width):
        return image
    return _core.resize(np.ascontiguousarray(image), height, width)
