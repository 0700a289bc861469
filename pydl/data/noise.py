"""What SSD's noise_param does to pictures with libraries: JPEG, CLAHE and colour spaces."""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np

from pydl.errors import Error

_CLIP_LIMIT = 4
_COLORS = {"hsv": "COLOR_BGR2HSV", "lab": "COLOR_BGR2Lab"}


def change(what: str, quality: int, picture: np.ndarray) -> np.ndarray:
    """A picture after "jpeg" (compressed with a quality), "clahe" (its brightness spread evenly in
    each part), or in the colours "hsv" or "lab", as OpenCV has them in bytes.

    Args:
        what: one of these.
        quality: of JPEG, 1 to 100.
        picture: uint8 (C, H, W), blue first, with 1 or 3 channels; 3 for colours.

    Raises:
        Error: other channels, or without Pillow (JPEG) or OpenCV (the others).

    >>> change("jpeg", 90, np.full((3, 8, 8), 100, np.uint8)).shape
    (3, 8, 8)
    """
    channels = len(picture)
    if channels not in ((3,) if what in _COLORS else (1, 3)):
        raise Error(f"noise_param: {what} is for pictures of 3 channels"
                    f"{'' if what in _COLORS else ' or 1'}, not {channels}")  # fmt: skip
    if what == "jpeg":
        return _jpeg(quality, picture)
    cv2 = _opencv(what)
    if channels == 1:
        return cv2.createCLAHE(_CLIP_LIMIT).apply(picture[0])[np.newaxis]
    image = np.ascontiguousarray(picture.transpose(1, 2, 0))
    if what == "clahe":
        parts = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
        parts[:, :, 0] = cv2.createCLAHE(_CLIP_LIMIT).apply(np.ascontiguousarray(parts[:, :, 0]))
        image = cv2.cvtColor(parts, cv2.COLOR_YCrCb2BGR)
    else:
        image = cv2.cvtColor(image, getattr(cv2, _COLORS[what]))
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _jpeg(quality: int, picture: np.ndarray) -> np.ndarray:
    from pydl.data.pictures import decode

    try:
        from PIL import Image
    except ImportError as error:
        raise Error('noise_param: jpeg needs Pillow: pip install "pydl[image]"') from error
    gray = len(picture) == 1
    pixels = picture[0] if gray else np.ascontiguousarray(picture[::-1].transpose(1, 2, 0))
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality)
    return decode(encoded.getvalue(), "gray" if gray else "color", "noise_param: jpeg")


def _opencv(what: str) -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise Error(f'noise_param: {what} needs OpenCV: pip install "pydl[opencv]"') from error
    return cv2
