"""`.caffemodel.h5` and `.solverstate.h5`: Caffe's snapshots in HDF5. Needs h5py.

Weights are `data/<layer>/<i>`; a parameter shared by layers stands only under the first. A layer
name with "/" in it becomes nested groups, which is how HDF5 reads such a name.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.errors import Error
from pydl.formats import blobproto
from pydl.formats.atomic import atomic_write
from pydl.formats.files import reading
from pydl.formats.weights import LayerWeights, Weights, blob_index, blob_list

if TYPE_CHECKING:
    import h5py

    from pydl.formats.solverstate import SolverState

MODEL = "a .caffemodel.h5 (an HDF5 file with groups data/<layer>/<i>)"
STATE = "a .solverstate.h5 (an HDF5 file with iter, current_step and history/<i>)"
# deflate, the strongest filter in common use, shrinks to no less than about 1/1032
_MAX_COMPRESSION = 1100
# A dataset that is not Caffe's, which does not look for it: JSON as bytes.
_EXTRA = "pydl"


def load(path: str | os.PathLike) -> Weights:
    """Read a `.caffemodel.h5`; a blob that another layer owns is None, or absent at the end.

    HDF5 keeps neither layer types nor the net's name. Layers come in the order written if the file
    records it (pydl's do), else in alphabetical order.

    Raises:
        Error: h5py is not installed; the file is missing, truncated, damaged, or something else.
    """
    with _open(path, MODEL) as file:
        return Weights("", list(_read_layers(_group(file, "data"), "", set())))


def save(path: str | os.PathLike, layers: Iterable[LayerWeights]) -> None:
    """Write a `.caffemodel.h5` as Caffe does, atomically.

    Arrays that share their memory are one shared parameter and stand under the first layer only.

    Raises:
        Error: h5py is not installed, two names collide, or the file cannot be written.

    >>> import numpy as np
    >>> from pydl.formats import LayerWeights, hdf5
    >>> w = np.ones((2, 3), np.float32)
    >>> layers = [LayerWeights("encode", blobs=[w]), LayerWeights("decode", blobs=[w])]
    >>> hdf5.save("net.caffemodel.h5", layers)
    >>> [len(layer.blobs) for layer in hdf5.load("net.caffemodel.h5").layers]
    [1, 0]
    """
    layers = list(layers)
    blobs = [blob for layer in layers for blob in layer.blobs if blob is not None]
    with _create(path, blobs) as file:
        data = file.create_group("data", track_order=True)
        written: set[tuple] = set()
        for layer in layers:
            _write_layer(data, layer.name, layer.blobs, written)
        if any(layer.diffs for layer in layers):
            diff = file.create_group("diff", track_order=True)
            for layer in layers:  # of shared blobs each time, as Caffe does
                _write_layer(diff, layer.name, layer.diffs, set())


def load_solverstate(path: str | os.PathLike) -> SolverState:
    """Read a `.solverstate.h5`; see `pydl.formats.solverstate.load`."""
    with _open(path, STATE) as file:
        history = _group(file, "history")
        return {
            "iter": _integer(file, "iter"),
            "learned_net": _text(file, "learned_net"),
            "history": [_array(_dataset(history, str(i))) for i in range(len(history))],
            "current_step": _integer(file, "current_step"),
            "extra": _extra(file),
        }


def save_solverstate(path: str | os.PathLike, state: SolverState) -> None:
    """Write a `.solverstate.h5`, atomically; see `pydl.formats.solverstate.save`."""
    extra = json.dumps(state["extra"]).encode()
    with _create(path, state["history"]) as file:
        file.create_dataset("iter", data=np.array([state["iter"]], "<i4"))
        _write_text(file, "learned_net", state["learned_net"])
        file.create_dataset("current_step", data=np.array([state["current_step"]], "<i4"))
        history = file.create_group("history")
        for i, blob in enumerate(state["history"]):
            history.create_dataset(str(i), data=blob, dtype="<f4")
        file.create_dataset(_EXTRA, data=np.frombuffer(extra, np.uint8))


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise Error('HDF5 files need h5py: pip install "pydl[hdf5]"') from None
    return h5py


_H5PY_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError)


@contextlib.contextmanager
def _open(path: str | os.PathLike, expected: str) -> Iterator[h5py.File]:
    h5py = _h5py()
    with reading(path, expected):
        try:
            with h5py.File(path, "r") as file:
                yield file
        except Error as error:
            raise Error(f"{os.fspath(path)}: {error}; expected {expected}") from None
        except _H5PY_ERRORS as error:
            problem = f"damaged or truncated ({error})"
            raise Error(f"{os.fspath(path)}: {problem}; expected {expected}") from error


@contextlib.contextmanager
def _create(path: str | os.PathLike, blobs: list[np.ndarray]) -> Iterator[h5py.File]:
    """An HDF5 file built in memory, then written in one go.

    h5py cannot recover from a full disk half way, so it is not given the disk.
    """
    h5py = _h5py()
    for blob in blobs:
        blobproto.check(blob, f"{os.fspath(path)}: a blob")
    growth = max(1 << 16, sum(blob.size for blob in blobs) * 4 // 8)
    name = f"pydl-{os.urandom(8).hex()}"  # of no file: HDF5 tells open files apart by it
    try:
        with h5py.File(name, "w", driver="core", backing_store=False, block_size=growth) as file:
            yield file
            file.flush()
            image = file.id.get_file_image()
    except Error as error:
        raise Error(f"{os.fspath(path)}: {error}") from None
    except _H5PY_ERRORS as error:
        raise Error(f"{os.fspath(path)}: cannot be made: {error}") from error
    with atomic_write(path) as out:
        out.write(image)


def _write_layer(
    parent: h5py.Group, name: str, blobs: list[np.ndarray | None], written: set[tuple]
) -> None:
    """The blobs whose memory is not `written` yet."""
    if {"", "."} & set(name.split("/")):
        raise Error(f'layer "{name}": HDF5 cannot keep a layer of that name')
    try:
        group = parent.require_group(name)
    except (ValueError, TypeError) as error:
        problem = "cannot be stored beside the others (two names that collide?)"
        raise Error(f'layer "{name}" {problem}: {error}') from error
    for i, blob in enumerate(blobs):
        if blob is None or _memory(blob) in written:
            continue
        if blob.size:
            written.add(_memory(blob))
        if str(i) in group:
            raise Error(f'layer "{name}": there are two layers of that name')
        group.create_dataset(str(i), data=blob, dtype="<f4")


def _memory(blob: np.ndarray) -> tuple:
    return blob.__array_interface__["data"][0], blob.shape, blob.strides


def _read_layers(group: h5py.Group, prefix: str, seen: set[int]) -> Iterator[LayerWeights]:
    """The layers below ``group``: the groups that hold numbered datasets, or nothing at all."""
    h5py = _h5py()
    for name, child in _children(group):
        if not isinstance(child, h5py.Group):
            continue
        address = h5py.h5o.get_info(child.id).addr
        if address in seen:  # hard links can make groups contain themselves
            continue
        seen.add(address)
        members = _children(child)
        found = {
            index: _array(member)
            for key, member in members
            if isinstance(member, h5py.Dataset) and (index := blob_index(key)) is not None
        }
        if found or not members:
            layer = prefix + name
            yield LayerWeights(layer, blobs=blob_list(found, f'layer "{layer}"'))
        yield from _read_layers(child, f"{prefix}{name}/", seen)


def _children(group: h5py.Group) -> list[tuple[str, Any]]:
    """The members of a group; links into other places are not followed."""
    h5py = _h5py()
    return [
        (name, group[name])
        for name in group
        if isinstance(group.get(name, getlink=True), h5py.HardLink)
    ]


def _group(file: h5py.File, name: str) -> h5py.Group:
    group = file.get(name)
    if not isinstance(group, _h5py().Group):
        raise Error(f"has no group {name!r}; at its top are {', '.join(file) or 'no names'}")
    return group


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = group.get(name)
    if not isinstance(dataset, _h5py().Dataset) or dataset.shape is None:
        raise Error(f"has no dataset {group.name.rstrip('/')}/{name}")
    return dataset


def _array(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.shape is None or dataset.dtype.kind not in "fiu":
        raise Error(f"{dataset.name} does not hold numbers but {dataset.dtype}")
    _check_size(dataset)
    return np.asarray(dataset.astype("<f4")[()])


def _check_size(dataset: h5py.Dataset) -> None:
    """A few damaged bytes can claim any shape: look before memory is asked for."""
    stored = dataset.id.get_storage_size()
    if dataset.size * dataset.dtype.itemsize > stored * _MAX_COMPRESSION:
        raise Error(f"{dataset.name} has shape {dataset.shape} but {stored} bytes of data")


def _integer(file: h5py.File, name: str) -> int:
    dataset = _dataset(file, name)
    if dataset.size != 1 or dataset.dtype.kind not in "iu":
        raise Error(f"{dataset.name} is not an integer")
    return int(dataset[()].reshape(-1)[0])


def _text(file: h5py.File, name: str) -> str:
    if name not in file:
        return ""
    dataset = _dataset(file, name)
    _check_size(dataset)
    if dataset.size != 1 or dataset.dtype.kind not in "SO":
        raise Error(f"{dataset.name} is not a string")
    value = np.asarray(dataset[()]).reshape(-1)[0]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _write_text(file: h5py.File, name: str, value: str) -> None:
    """A fixed-length string that ends in NUL: what Caffe's H5LTread_dataset_string can read."""
    h5py = _h5py()
    data = value.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(data, f"S{len(data)}"), mtype=kind)


def _extra(file: h5py.File) -> dict[str, Any]:
    if _EXTRA not in file:
        return {}
    dataset = _dataset(file, _EXTRA)
    _check_size(dataset)
    try:
        extra = json.loads(bytes(np.asarray(dataset[()], np.uint8)))
    except (ValueError, TypeError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise Error(f"{dataset.name} is not the JSON it should be")
    return extra
