"""Caffe's BlobProto: one array inside a .caffemodel, .solverstate or .binaryproto."""

from __future__ import annotations

import math

import numpy as np

from pydl.errors import Error
from pydl.formats import wire
from pydl.formats.wire import Chunk, Span

MAX_AXES = 32

_NUM, _CHANNELS, _HEIGHT, _WIDTH = 1, 2, 3, 4
_DATA, _DIFF, _SHAPE, _DOUBLE_DATA = 5, 6, 7, 8
# NVIDIA's Caffe keeps data of any type, half floats among them, as raw bytes.
_RAW_TYPE, _RAW_DATA = 10, 12
_RAW_DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
_DIM = 1


def parse(span: Span, what: str) -> np.ndarray:
    """Read a BlobProto as float32.

    The result is a read-only view of the file where it holds packed float32, which need not be
    aligned; doubles, half floats and unpacked floats are copied.

    Args:
        span: the message.
        what: what this blob is, for errors.

    Raises:
        Error: malformed bytes, or the shape and the amount of data disagree.
    """
    shape: list[int] | None = None
    legacy = {}
    parts: dict[int, list[np.ndarray]] = {_DATA: [], _DOUBLE_DATA: []}
    raw_type, raw = 0, None
    for field in span.fields():
        number = field.number
        if number == _DATA:
            parts[_DATA].append(field.array(what, "<f4"))
        elif number == _SHAPE:
            shape = (shape or []) + _parse_shape(field.message(f"{what}: shape"), what)
        elif number == _DOUBLE_DATA:
            parts[_DOUBLE_DATA].append(field.array(what, "<f8"))
        elif number in (_NUM, _CHANNELS, _HEIGHT, _WIDTH):
            legacy[number] = field.integer(f"{what}: legacy shape")
        elif number == _RAW_TYPE:
            raw_type = field.integer(f"{what}: raw_data_type")
        elif number == _RAW_DATA:
            raw = field.message(f"{what}: raw_data")
    if legacy:  # Caffe, too, lets the four old numbers win over a shape.
        shape = [legacy.get(axis, 0) for axis in (_NUM, _CHANNELS, _HEIGHT, _WIDTH)]
    if raw is not None:
        parts[_DATA] = [_raw_array(raw, raw_type, what)]
    data = _join(parts[_DOUBLE_DATA] or parts[_DATA])
    return reshape(data, shape or [], span, what)


def chunks(array: np.ndarray, diff: np.ndarray | None = None) -> list[Chunk]:
    """The wire form of a blob: packed float data and `shape`, as Caffe writes it."""
    dims = wire.nested(_DIM, [wire.varint(dim) for dim in array.shape])
    gradient = [] if diff is None else wire.packed(_DIFF, diff, "<f4")
    return [*wire.packed(_DATA, array, "<f4"), *gradient, *wire.nested(_SHAPE, dims)]


def legacy_chunks(array: np.ndarray) -> list[Chunk]:
    """The wire form with the four old numbers in place of a shape: (N, C, H, W)."""
    axes = (_NUM, _CHANNELS, _HEIGHT, _WIDTH)
    sizes = [wire.integer(axis, size) for axis, size in zip(axes, array.shape, strict=True)]
    return [*sizes, *wire.packed(_DATA, array, "<f4")]


def check(array: np.ndarray, what: str) -> None:
    """Raise `Error` for an array that a blob cannot hold."""
    if array.dtype.kind not in "fiub":
        raise Error(f"{what} has dtype {array.dtype}, expected numbers")
    if array.ndim > MAX_AXES:
        raise Error(f"{what} has {array.ndim} axes, at most {MAX_AXES} can be stored")


def _parse_shape(span: Span, what: str) -> list[int]:
    dims: list[int] = []
    for field in span.fields():
        if field.number == _DIM:
            dims += field.integers(f"{what}: shape", MAX_AXES)
        if len(dims) > MAX_AXES:
            raise field.error(f"{what} has more than {MAX_AXES} axes")
    return dims


def _raw_array(span: Span, raw_type: int, what: str) -> np.ndarray:
    if raw_type not in _RAW_DTYPES:
        problem = f"{what}: raw_data_type is {raw_type}, not 0 (double), 1 (float) or 2 (half)"
        raise span.error(span.start, problem)
    return wire.as_array(span, what, _RAW_DTYPES[raw_type])


def _join(parts: list[np.ndarray]) -> np.ndarray:
    if not parts:
        return np.empty(0, np.float32)
    data = parts[0] if len(parts) == 1 else np.concatenate(parts)
    with np.errstate(over="ignore", invalid="ignore"):
        data = data.astype("<f4", copy=False)
    return data if data.flags.c_contiguous else data.copy()


def reshape(data: np.ndarray, shape: list[int], span: Span, what: str) -> np.ndarray:
    """Give data the shape that a file states, which need not be possible."""
    if min(shape, default=0) < 0 or math.prod(shape) != data.size:
        problem = f"{what} has shape {_dims(shape)} but {data.size} numbers"
        raise span.error(span.start, problem)
    try:
        return data.reshape(shape)
    except (ValueError, OverflowError):  # (0, 2**62, 2**62): no data, yet too large for numpy
        raise span.error(span.start, f"{what} has the impossible shape {_dims(shape)}") from None


def _dims(shape: list[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
