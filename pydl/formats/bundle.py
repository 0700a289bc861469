"""A net's weights as `.safetensors`: tensors `<layer>/<i>`, the layers' types in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats import safetensors
from pydl.formats.weights import LayerWeights, Weights, blob_index, blob_list

_NAME, _LAYERS = "name", "layers"
_NET = "pydl.net"  # the whole net, in the files that the core writes


def load(path: str | os.PathLike) -> Weights:
    """Read the weights of a net that pydl saved or exported as `.safetensors`.

    Raises:
        Error: the file is missing or damaged, or its tensors are not named `<layer>/<i>`.
    """
    tensors, metadata = safetensors.load(path)
    description = _description(metadata)
    layers = {layer.name: layer for layer in _described_layers(description)}
    blobs = _group(tensors, os.fspath(path))
    for name, indexed in blobs.items():
        layer = layers.setdefault(name, LayerWeights(name))
        layer.blobs = blob_list(indexed, f'{os.fspath(path)}: layer "{name}"')
    return Weights(str(description.get(_NAME, "")), list(layers.values()))


def save(
    path: str | os.PathLike,
    name: str,
    layers: Iterable[LayerWeights],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a net's weights as `.safetensors`, with ``metadata`` beside what pydl puts there.

    >>> import numpy as np
    >>> from pydl.formats import LayerWeights, bundle
    >>> ip = LayerWeights("ip", "InnerProduct", blobs=[np.ones((2, 3)), np.zeros(2)])
    >>> bundle.save("net.safetensors", "net", [ip])
    >>> bundle.load("net.safetensors").types()
    {'ip': 'InnerProduct'}
    """
    layers = list(layers)
    description = [
        {"name": layer.name, "type": layer.type, "bottom": layer.bottom, "top": layer.top}
        for layer in layers
    ]
    own = {"format": "pydl", _NAME: name, _LAYERS: json.dumps(description)}
    safetensors.save(path, as_tensors(layers), {**own, **(metadata or {})})


def as_tensors(layers: Iterable[LayerWeights]) -> dict[str, np.ndarray]:
    """The arrays of layers by the names they have in a `.safetensors` file, `<layer>/<i>`."""
    return {
        f"{layer.name}/{i}": np.asarray(blob, np.float32)
        for layer in layers
        for i, blob in enumerate(layer.blobs)
        if blob is not None
    }


def _group(tensors: Mapping[str, np.ndarray], path: str) -> dict[str, dict[int, np.ndarray]]:
    blobs: dict[str, dict[int, np.ndarray]] = {}
    for name, array in tensors.items():
        layer, slash, number = name.rpartition("/")
        index = blob_index(number)
        if not slash or index is None:
            problem = f"tensor {name!r} is not named <layer>/<i>, as pydl names weights"
            way_out = "pydl.formats.safetensors.load reads any tensors"
            raise Error(f"{path}: {problem}; {way_out}")
        blobs.setdefault(layer, {})[index] = np.asarray(array, np.float32)
    return blobs


def _description(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The net's name and layers as the metadata tell them; {} in a file of another writer."""
    try:
        if _NET in metadata:
            return dict(json.loads(metadata[_NET]))
        layers = json.loads(metadata.get(_LAYERS, "[]"))
        return {_NAME: metadata.get(_NAME, ""), _LAYERS: layers}
    except (ValueError, TypeError, RecursionError):
        return {}


def _described_layers(description: Mapping[str, Any]) -> list[LayerWeights]:
    try:
        return [
            LayerWeights(
                str(item["name"]),
                str(item["type"]),
                [*item.get("bottom", ())],
                [*item.get("top", ())],
            )
            for item in description.get(_LAYERS, ())
        ]
    except (ValueError, TypeError, LookupError, AttributeError):
        return []
