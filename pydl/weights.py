"""Weights between files and nets, by layer name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pydl import _core, formats
from pydl.errors import Error
from pydl.prototxt.names import listed


class NoCommonLayerError(Error):
    """A weight file has no layer of the net's."""


def load_weights(core: _core.Net, source: str | os.PathLike | _core.Net) -> None:
    """Copies the weights of equally named layers of a file or of another net into a net, all or
    nothing.

    Layers of the source that the net lacks are passed over, and layers of the net that the source
    lacks keep their values, as in Caffe. Raises Error where shapes differ or no layer is common.
    """
    put_weights(core, find_weights(core, source))


Found = list[tuple[int, int, np.ndarray]]  # layer, learnable blob, values


def put_weights(core: _core.Net, found: Found) -> None:
    for index, i, array in found:
        core.set_param(index, i, array)


def find_weights(core: _core.Net, source: str | os.PathLike | _core.Net) -> Found:
    """What `load_weights` would put into the net, with its errors."""
    if isinstance(source, _core.Net):
        blobs, path = net_blobs(source), f'net "{source.name}"'
    else:
        blobs, path = formats.load_weights(source).blobs(), os.fspath(source)
    todo = []
    types = [row["type"] for row in core.layer_rows()]
    for index in range(core.layer_count):
        layer = core.layer(index)
        if not layer.blobs or layer.name not in blobs:
            continue
        arrays = _with_shared(core, index, blobs[layer.name])
        if len(arrays) != len(layer.blobs):
            raise Error(
                f'{path}: layer "{layer.name}" has {len(arrays)} learnable blobs, the net\'s '
                f"layer has {len(layer.blobs)}"
            )
        if types[index] == "DataAugmentation":
            arrays = _mean_picture_of_size(arrays, [blob.shape for blob in layer.blobs])
        for i, (array, blob) in enumerate(zip(arrays, layer.blobs, strict=True)):
            if array is not None:
                todo.append((index, i, _fit(array, blob.shape, f'{path}: layer "{layer.name}"', i)))
    has_params = any(core.layer(i).blobs for i in range(core.layer_count))
    if has_params and not todo:
        raise NoCommonLayerError(
            f'{path}: none of its layers ({listed(blobs)}) is in net "{core.name}"; '
            "weights are matched by layer name"
        )
    return todo


def net_blobs(core: _core.Net) -> dict[str, list[np.ndarray]]:
    """Views of the learnable blobs of each layer that has any."""
    layers = (core.layer(index) for index in range(core.layer_count))
    return {layer.name: [blob.data for blob in layer.blobs] for layer in layers if layer.blobs}


def save_weights(core: _core.Net, path: str | os.PathLike) -> None:
    """Writes a net's weights in the format that the suffix names; see `pydl.Net.save`."""
    if Path(path).suffix == ".safetensors":
        core.save_bundle(os.fspath(path))
    else:
        formats.save_weights(path, core.name, layer_weights(core))


def layer_weights(core: _core.Net, diffs: bool = False) -> list[formats.LayerWeights]:
    """All layers of a net as Caffe writes them, with views of their learnable blobs."""
    rates = [param["lr_mult"] for param in core.param_rows()]
    return [
        formats.LayerWeights(
            row["name"],
            row["type"],
            row["bottoms"],
            row["tops"],
            [blob.data for blob in core.layer(index).blobs],
            [blob.diff for blob in core.layer(index).blobs] if diffs else [],
            _settings(
                row,
                core.layer(index).spec,
                core.phase,
                [rates[i] for i in core.param_ids(index)],
            ),
        )
        for index, row in enumerate(core.layer_rows())
    ]


def _settings(
    row: dict[str, Any], spec: dict[str, Any], phase: str, lr_mults: list[float]
) -> dict[str, Any]:
    """A layer's other fields, with those that Caffe fills in."""
    settings = {"phase": phase, **spec.get("params", {})}
    for name in ("param", "include", "exclude", "propagate_down"):
        settings[name] = spec.get(name, [])
    if not any(lr_mults):  # BatchNorm's statistics, which nobody learns
        settings["param"] = settings["param"] or [{"lr_mult": 0.0}] * len(lr_mults)
    if any(row["loss_weight"]):
        settings["loss_weight"] = row["loss_weight"]
    return settings


def _with_shared(core: _core.Net, index: int, arrays: list) -> list:
    """The arrays, with None at the end for blobs that another layer owns: HDF5 leaves them out."""
    owners = core.param_rows()
    shared = [owners[i]["layer"] != core.layer(index).name for i in core.param_ids(index)]
    missing = shared[len(arrays) :]
    return arrays + [None] * len(missing) if all(missing) else arrays


def _mean_picture_of_size(arrays: list[np.ndarray], shapes: list[tuple[int, ...]]) -> list:
    """Where the mean picture (FlowNet's DataAugmentation) has another size, a picture of its means
    takes its place, as there."""
    if len(arrays) < 3 or arrays[1].shape == shapes[1] or arrays[1].shape[:2] != shapes[1][:2]:
        return arrays
    means = arrays[1].mean((2, 3), keepdims=True)
    return [arrays[0], np.broadcast_to(means, shapes[1]).copy(), arrays[2]]


def _fit(array: np.ndarray, shape: tuple[int, ...], where: str, i: int) -> np.ndarray:
    """The array in the blob's shape; old 4-axis shapes may have ones in front, as Caffe allows."""
    if tuple(array.shape) == tuple(shape):
        return array
    if array.ndim == 4 and len(shape) <= 4:
        padded = (1,) * (4 - len(shape)) + tuple(shape)
        if tuple(array.shape) == padded:
            return array.reshape(shape)
    raise Error(
        f"{where}, learnable blob {i}: shape {_by(array.shape)} there, {_by(shape)} in the net; "
        "to learn this layer from scratch, give it another name"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
