"""Reading and writing model files: weights, snapshots, mean images.

- `load_weights` and `save_weights` take any kind of weight file;
- `caffemodel`, `hdf5`, `bundle` are these kinds, `safetensors` the plain format;
- `solverstate` holds a solver's state, `binaryproto` mean images and Datum records;
- `upgrade` rewrites files of older Caffe versions, `messages` reads and writes any of Caffe's
  messages;
- `atomic.atomic_write` replaces a file as a whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pydl.errors import Error
from pydl.formats import (
    binaryproto,
    bundle,
    caffemodel,
    hdf5,
    messages,
    safetensors,
    solverstate,
    upgrade,
)
from pydl.formats.atomic import atomic_write
from pydl.formats.files import describe, map_file
from pydl.formats.weights import LayerWeights, Weights

__all__ = [
    "LayerWeights",
    "Weights",
    "atomic_write",
    "binaryproto",
    "bundle",
    "caffemodel",
    "hdf5",
    "load_weights",
    "messages",
    "safetensors",
    "save_weights",
    "solverstate",
    "upgrade",
]


def load_weights(path: str | os.PathLike) -> Weights:
    """Read a weight file: `.caffemodel`, `.caffemodel.h5` or `.safetensors`, told by its content.

    Returns:
        The net's name and its layers in file order; `Weights.blobs()` maps layer names to lists of
        float32 arrays, `Weights.types()` to types. The arrays may be read-only views of the file.

    Raises:
        Error: the file is missing, truncated, damaged, or something else.

    >>> import numpy as np
    >>> from pydl.formats import LayerWeights, load_weights, save_weights
    >>> save_weights("net.caffemodel", "net", [LayerWeights("ip", blobs=[np.ones(3)])])
    >>> load_weights("net.caffemodel").blobs()["ip"][0].tolist()
    [1.0, 1.0, 1.0]
    """
    kind = describe(map_file(path, "a .caffemodel, .caffemodel.h5 or .safetensors file"))
    if kind == "an HDF5 file":
        return hdf5.load(path)
    if kind == "a .safetensors file":
        return bundle.load(path)
    return caffemodel.load(path)


def save_weights(path: str | os.PathLike, name: str, layers: Iterable[LayerWeights]) -> None:
    """Write a net's weights in the format that the suffix says, atomically.

    Args:
        path: ends in `.caffemodel`, `.h5` or `.safetensors`.
        name: the net's name (HDF5 does not keep it).
        layers: in the net's order.

    Raises:
        Error: another suffix, an array that cannot be stored, or a file system that refuses.
    """
    suffix = os.path.splitext(path)[1]
    if suffix == ".caffemodel":
        caffemodel.save(path, name, layers)
    elif suffix == ".h5":
        hdf5.save(path, layers)
    elif suffix == ".safetensors":
        bundle.save(path, name, layers)
    else:
        known = ".caffemodel, .caffemodel.h5 or .safetensors"
        raise Error(f"{os.fspath(path)}: unknown suffix {suffix!r}; weights are saved as {known}")
