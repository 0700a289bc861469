"""pycaffe's io: images, their preparation for nets, and arrays as Caffe's messages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pydl.caffe.proto import caffe_pb2
from pydl.caffe.resample import resize, zoom
from pydl.errors import Error

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize",
    "resize_image",
    "zoom",
]


# ---- messages ----
def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The array in a BlobProto: its data, or its diff.

    Raises ValueError where the number of values does not fit the shape.
    """
    values = np.array(blob.diff if return_diff else blob.data)
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return values.reshape(blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto with the array's values and shape, and those of the diff if one is given."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr).astype(float).ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff).astype(float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(array) for array in arraylist])
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays in the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(str)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum with an array (channels, height, width): bytes for uint8, floats for all else.

    Raises ValueError for another number of axes.
    """
    if arr.ndim != 3:
        raise ValueError(f"a Datum holds three axes, not an array of shape {arr.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = (int(size) for size in arr.shape)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array (channels, height, width) in a Datum that holds no encoded image."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, dtype=np.uint8).reshape(shape)
    return np.array(datum.float_data).astype(float).reshape(shape)


# ---- preparing images ----
class Transformer:
    """Turns images (H, W, K) of floats into what the inputs of a net take, and back.

    In this order: resizing to the input's size, transposition, channel swap, raw scale, mean, input
    scale; each if it was set for that input.

    Args:
        inputs: the shape of each input, ``{"data": net.blobs["data"].data.shape}``.

    >>> transformer = Transformer({"data": (1, 3, 227, 227)})
    >>> transformer.set_transpose("data", (2, 0, 1))
    >>> transformer.set_channel_swap("data", (2, 1, 0))
    >>> transformer.set_raw_scale("data", 255)
    >>> transformer.preprocess("data", np.zeros((100, 80, 3))).shape
    (3, 227, 227)
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def __check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Error(f"{in_} is not one of the net's inputs: {', '.join(self.inputs)}")

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An image (H, W, K) as the input takes it: (K, H', W') if that is the transposition."""
        self.__check_input(in_)
        result = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if result.shape[:2] != size:
            result = resize_image(result, size)
        if self.transpose.get(in_) is not None:
            result = result.transpose(self.transpose[in_])
        if self.channel_swap.get(in_) is not None:
            result = result[list(self.channel_swap[in_]), :, :]
        if self.raw_scale.get(in_) is not None:
            result = result * np.float32(self.raw_scale[in_])
        if self.mean.get(in_) is not None:
            result = (result - self.mean[in_]).astype(np.float32)
        if self.input_scale.get(in_) is not None:
            result = result * np.float32(self.input_scale[in_])
        return result

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image that `preprocess` made this of, but for its size."""
        self.__check_input(in_)
        result = data.copy().squeeze()
        if self.input_scale.get(in_) is not None:
            result = result / self.input_scale[in_]
        if self.mean.get(in_) is not None:
            result = result + self.mean[in_]
        if self.raw_scale.get(in_) is not None:
            result = result / self.raw_scale[in_]
        if self.channel_swap.get(in_) is not None:
            result = result[np.argsort(self.channel_swap[in_]), :, :]
        if self.transpose.get(in_) is not None:
            result = result.transpose(np.argsort(self.transpose[in_]))
        return result

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of axes, such as (2, 0, 1) to bring the channels to the front."""
        self.__check_input(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Error(
                f"set_transpose: {len(order)} axes, but records of {in_} have "
                f"{len(self.inputs[in_]) - 1}"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels, such as (2, 1, 0) for nets trained on images read by OpenCV."""
        self.__check_input(in_)
        if len(order) != self.inputs[in_][1]:
            raise Error(
                f"set_channel_swap: {len(order)} channels, but {in_} has {self.inputs[in_][1]}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by before the mean: 255 for nets trained on bytes."""
        self.__check_input(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """What to subtract: a value for each channel, or an image (K, H, W) or (H, W), which is
        resized to the input's size."""
        self.__check_input(in_)
        channels, *size = self.inputs[in_][1:]
        if mean.ndim == 1:
            if len(mean) != channels:
                raise ValueError(
                    f"a mean of {len(mean)} values for the {channels} channels of {in_}"
                )
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            if mean.ndim not in (2, 3):
                raise ValueError(f"a mean of shape {mean.shape}; it has one, two or three axes")
            shape = mean.shape if mean.ndim == 3 else (1, *mean.shape)
            if shape != (channels, *size):
                mean = _resize_mean(mean.reshape(shape), size)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by after the mean."""
        self.__check_input(in_)
        self.input_scale[in_] = scale


def _resize_mean(mean: np.ndarray, size: Sequence[int]) -> np.ndarray:
    low, high = mean.min(), mean.max()
    between = (mean - low) / (high - low) if high > low else mean - low
    return resize_image(between.transpose(1, 2, 0), size).transpose(2, 0, 1) * (high - low) + low


def load_image(filename: str | os.PathLike, color: bool = True) -> np.ndarray:
    """An image file as float32 from 0 to 1: (H, W, 3), or (H, W, 1) where ``color`` is False.

    Gray images get three channels where ``color`` is set; an alpha channel is dropped.

    Raises Error if Pillow is not installed or the file is no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise Error('reading images needs Pillow: pip install "pydl[image]"') from error
    try:
        with Image.open(filename) as opened:
            pixels = _pixels(opened)
    except UnidentifiedImageError:
        raise Error(f"{os.fspath(filename)}: not an image that Pillow can read") from None
    except OSError as error:
        raise Error(f"{os.fspath(filename)}: {error.strerror or error}") from None
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, np.newaxis], 3 if color else 1, axis=2)
    if color:
        return pixels
    luminance = np.array([0.2125, 0.7154, 0.0721], np.float32)
    return (pixels @ luminance)[:, :, np.newaxis]


def _pixels(image: Any) -> np.ndarray:
    """Values from 0 to 1: (H, W) of a gray image, (H, W, 3) of another."""
    if image.mode in ("1", "LA", "La"):
        image = image.convert("L")
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        values = np.asarray(image)
        largest = {"L": 255.0, "F": 1.0}.get(image.mode, 65535.0)
        return values.astype(np.float32) / np.float32(largest)
    return np.asarray(image.convert("RGB")).astype(np.float32) / np.float32(255)


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """An image (H, W, K) of floats resized to (H', W', K), as float32.

    Args:
        new_dims: height and width.
        interp_order: 0: the nearest pixel, 1: linear; more: splines, which need scipy.
    """
    new_dims = tuple(int(size) for size in new_dims)
    if im.shape[-1] not in (1, 3):
        factors = (new_dims[0] / im.shape[0], new_dims[1] / im.shape[1], 1)
        return zoom(im, factors, order=interp_order).astype(np.float32)
    low, high = im.min(), im.max()
    if high <= low:
        return np.full((*new_dims, im.shape[-1]), low, np.float32)
    between = (im - low) / (high - low)
    resized = resize(between, new_dims, order=interp_order, mode="constant")
    return (resized * (high - low) + low).astype(np.float32)


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Ten crops of each image (H, W, K): the corners, the centre, and their mirror images.

    Returns:
        (10 * number of images, height, width, K)
    """
    height, width = (int(size) for size in crop_dims)
    rows, columns, channels = images[0].shape
    corners = [(y, x) for y in (0, rows - height) for x in (0, columns - width)]
    # As pycaffe cuts it: whole numbers towards zero.
    corners.append((int(rows / 2 - height / 2), int(columns / 2 - width / 2)))
    crops = np.empty((len(images), 2, 5, height, width, channels), np.float32)
    for image, out in zip(images, crops, strict=True):
        for i, (y, x) in enumerate(corners):
            out[0, i] = image[y : y + height, x : x + width]
        out[1] = out[0, :, :, ::-1]
    return crops.reshape(-1, height, width, channels)
