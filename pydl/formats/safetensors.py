"""The safetensors format: an 8-byte length, a JSON header, and the data of named arrays.

Format: https://huggingface.co/docs/safetensors. Written here in full because it is short.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats.atomic import atomic_write
from pydl.formats.files import reading

EXPECTED = "a .safetensors file"

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_BF16 = "BF16"
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_ALIGNMENT = 64
_MAX_HEADER = 100_000_000  # the reference implementation's limit
_MAX_AXES = 32


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a `.safetensors` file: its arrays by name, in header order, and its metadata.

    The file is mapped, not read: the arrays are read-only views of it. BF16, which numpy lacks,
    becomes float32.

    Raises:
        Error: the file is missing, truncated, damaged, or something else.

    >>> import numpy as np
    >>> from pydl.formats import safetensors
    >>> safetensors.save("net.safetensors", {"w": np.eye(2)}, {"author": "me"})
    >>> tensors, metadata = safetensors.load("net.safetensors")
    >>> tensors["w"].shape, metadata
    ((2, 2), {'author': 'me'})
    """
    source = os.fspath(path)
    with reading(path, EXPECTED) as view:
        try:
            return _parse(view)
        except Error as error:
            raise Error(f"{source}: {error}; expected {EXPECTED}") from None


def save(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays, atomically. The data begin at a multiple of 64 bytes.

    Raises:
        Error: an array's dtype or a piece of metadata cannot be stored, or the file cannot be
            written.
    """
    header: dict[str, Any] = {_METADATA: _checked_metadata(metadata, path)} if metadata else {}
    for name, array in tensors.items():
        header[name] = {"dtype": _dtype_name(name, array, path), "shape": list(array.shape)}
    if _METADATA in tensors:
        raise Error(f"{os.fspath(path)}: no tensor can have the name {_METADATA}")
    # The format allows no gaps: widest numbers first keeps every array aligned to its dtype.
    order = sorted(tensors, key=lambda name: -tensors[name].itemsize)
    offset = 0
    for name in order:
        header[name]["data_offsets"] = [offset, offset + tensors[name].nbytes]
        offset += tensors[name].nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            dtype = _DTYPES[header[name]["dtype"]]
            flat = np.ascontiguousarray(tensors[name], dtype).reshape(-1)
            file.write(flat.view(np.uint8).data)


def _parse(view: memoryview) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    header, begin = _parse_header(view)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or any(type(value) is not str for value in metadata.values()):
        raise Error(f"{_METADATA} is not a map of strings")
    _check_offsets(header, len(view) - begin)
    return {name: _array(view, begin, name, entry) for name, entry in header.items()}, metadata


def _parse_header(view: memoryview) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(view[:8], "little")
    if len(view) < 8 or size > len(view) - 8:
        raise Error(f"the header claims {size} bytes, the file has {len(view)} (truncated?)")
    if size > _MAX_HEADER:
        raise Error(f"the header claims {size} bytes, more than {_MAX_HEADER}")
    try:
        header = json.loads(bytes(view[8 : 8 + size]), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Error(f"the header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise Error("the header is not a JSON object")
    return header, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _check_offsets(header: dict[str, Any], size: int) -> None:
    """The arrays must fill the data without a gap or an overlap, as the format demands."""
    for name, entry in header.items():
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("dtype"), str)
            and _are_sizes(entry.get("shape"))
            and _are_sizes(entry.get("data_offsets"))
            and len(entry["data_offsets"]) == 2
        ):
            raise Error(f"tensor {name!r} lacks a proper dtype, shape or data_offsets")
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if start != end or stop < start:
            raise Error(f"tensor {name!r} is at {start}..{stop}, expected it to begin at {end}")
        end = stop
    if end != size:
        raise Error(f"the tensors take {end} bytes, the file has {size} for them (truncated?)")


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _array(view: memoryview, begin: int, name: str, entry: dict[str, Any]) -> np.ndarray:
    kind, shape = entry["dtype"], entry["shape"]
    if kind != _BF16 and kind not in _DTYPES:
        known = ", ".join([*_DTYPES, _BF16])
        raise Error(f"tensor {name!r} has dtype {kind!r}; known are {known}")
    dtype = np.dtype("<u2" if kind == _BF16 else _DTYPES[kind])
    start, stop = entry["data_offsets"]
    count = math.prod(shape)
    if len(shape) > _MAX_AXES or count * dtype.itemsize != stop - start:
        raise Error(f"tensor {name!r} of dtype {kind}, shape {shape} has {stop - start} bytes")
    flat = np.frombuffer(view[begin + start : begin + stop], dtype, count)
    try:
        array = flat.reshape(shape)
    except (ValueError, OverflowError):  # (0, 2**62, 2**62): no data, yet too large for numpy
        raise Error(f"tensor {name!r} has the impossible shape {shape}") from None
    if kind == _BF16:
        return (array.astype("<u4") << 16).view("<f4")
    return array


def _dtype_name(name: str, array: np.ndarray, path: str | os.PathLike) -> str:
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        known = ", ".join(str(dtype) for dtype in _NAMES)
        raise Error(
            f"{os.fspath(path)}: tensor {name!r} has dtype {array.dtype}; can store {known}"
        )
    return _NAMES[dtype]


def _checked_metadata(metadata: Mapping[str, str], path: str | os.PathLike) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            problem = f"metadata {key!r} is {type(value).__name__}, expected str"
            raise Error(f"{os.fspath(path)}: {problem}")
    return dict(metadata)
