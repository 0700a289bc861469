"""Resizing images in numpy, with the numbers that scikit-image and scipy give pycaffe.

Orders other than 0 (nearest) and 1 (linear) are splines, which scipy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl.errors import Error


def resize(
    image: np.ndarray,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0.0,
    anti_aliasing: bool | None = None,
) -> np.ndarray:
    """An image (H, W, ...) resized to (H', W', ...), as ``skimage.transform.resize``.

    Pixels are areas: the corners of both images are the same. Beyond them lies ``cval``, which
    shows in the border of an enlarged image. An image that is made smaller is blurred first, unless
    ``anti_aliasing`` is False or ``order`` is 0 and the image one of integers.

    >>> resize(np.ones((2, 2, 1)), (1, 1)).shape
    (1, 1, 1)
    """
    if mode != "constant":
        raise Error(f'resize: mode "{mode}"; "constant" is what there is')
    image = np.asarray(image)
    smaller = any(new < old for new, old in zip(output_shape, image.shape, strict=False))
    if anti_aliasing is None:
        anti_aliasing = smaller and not (order == 0 and image.dtype.kind in "iub")
    result = image.astype(np.float64 if image.dtype == np.float64 else np.float32)
    if order > 1:
        return _with_scipy(result, output_shape, order, cval, anti_aliasing)
    for axis, new in enumerate(output_shape[:2]):
        old = image.shape[axis]
        if anti_aliasing and new < old:
            result = _blur(result, axis, (old / new - 1) / 2, cval)
        places = (np.arange(new) + 0.5) * (old / new) - 0.5
        result = _sample(result, axis, places, order, cval)
    return _within(image, result, cval) if order else result


def zoom(input: np.ndarray, zoom: float | Sequence[float], order: int = 1) -> np.ndarray:
    """An array enlarged by a factor for each axis, as ``scipy.ndimage.zoom``.

    Pixels are points: the first and the last of both arrays are the same.

    >>> zoom(np.array([0.0, 1.0]), 2).round(2).tolist()
    [0.0, 0.33, 0.67, 1.0]
    """
    input = np.asarray(input)
    factors = np.broadcast_to(zoom, input.ndim)
    if order > 1:
        return _ndimage().zoom(input, factors, order=order)
    result = input.astype(np.float64 if input.dtype == np.float64 else np.float32)
    for axis, factor in enumerate(factors):
        old = input.shape[axis]
        new = round(old * float(factor))
        result = _sample(result, axis, np.linspace(0, old - 1, new), order, 0.0)
    return result


def _sample(
    image: np.ndarray, axis: int, places: np.ndarray, order: int, cval: float
) -> np.ndarray:
    """The values along an axis at fractional places."""
    if np.array_equal(places, np.arange(image.shape[axis])):
        return image
    ends = [(1, 1) if i == axis else (0, 0) for i in range(image.ndim)]
    padded = np.pad(image, ends, constant_values=cval)
    if order == 0:
        return padded.take(np.floor(places + 0.5).astype(int) + 1, axis)
    whole = np.floor(places)
    shape = [-1 if i == axis else 1 for i in range(image.ndim)]
    part = (places - whole).astype(image.dtype).reshape(shape)
    first = whole.astype(int) + 1
    return padded.take(first, axis) * (1 - part) + padded.take(first + 1, axis) * part


def _blur(image: np.ndarray, axis: int, sigma: float, cval: float) -> np.ndarray:
    """Convolution with a Gaussian, cut off at four sigma."""
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return image
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights = (weights / weights.sum()).astype(image.dtype)
    ends = [(radius, radius) if i == axis else (0, 0) for i in range(image.ndim)]
    padded = np.moveaxis(np.pad(image, ends, constant_values=cval), axis, -1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=-1)
    return np.moveaxis(windows @ weights, -1, axis)


def _with_scipy(
    image: np.ndarray, output_shape: Sequence[int], order: int, cval: float, anti_aliasing: bool
) -> np.ndarray:
    ndimage = _ndimage()
    shape = [*output_shape[:2], *image.shape[2:]]
    factors = [old / new for old, new in zip(image.shape, shape, strict=True)]
    source = image
    if anti_aliasing:
        sigma = [max(0.0, (factor - 1) / 2) for factor in factors]
        image = ndimage.gaussian_filter(image, sigma, cval=cval, mode="constant")
    result = ndimage.zoom(
        image, [1 / f for f in factors], order=order, mode="grid-constant", cval=cval,
        grid_mode=True,
    )  # fmt: skip
    return _within(source, result, cval)


def _within(source: np.ndarray, result: np.ndarray, cval: float) -> np.ndarray:
    """The result within the range of the source, and of ``cval`` where the result reaches it."""
    low, high = source.min(), source.max()
    if result.min() <= cval <= result.max():
        low, high = min(low, cval), max(high, cval)
    return np.clip(result, low, high)


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError as error:
        raise Error(
            "interpolation by splines (order 2 and more) needs scipy: pip install scipy; order 0 "
            "and 1 do not"
        ) from error
    return ndimage
