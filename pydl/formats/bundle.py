"""A net's weights as `.safetensors`: tensors `<layer>/<i>`, the layers' types in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

import numpy as np

from pydl.errors import Error
from pydl.formats import safetensors
from pydl.formats.weights import LayerWeights, Weights, blob_index, blob_list

_NAME, _LAYERS = "name", "layers"


def load(path: str | os.PathLike) -> Weights:
    """Read the weights of a net that pydl saved or exported as `.safetensors`.

    Raises:
        Error: the file is missing or damaged, or its tensors are not named `<layer>/<i>`.
    """
    tensors, metadata = safetensors.load(path)
    layers = {layer.name: layer for layer in _described_layers(metadata)}
    blobs = _group(tensors, os.fspath(path))
    for name, indexed in blobs.items():
        layer = layers.setdefault(name, LayerWeights(name))
        layer.blobs = blob_list(indexed, f'{os.fspath(path)}: layer "{name}"')
    return Weights(metadata.get(_NAME, ""), list(layers.values()))


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


def _described_layers(metadata: Mapping[str, str]) -> list[LayerWeights]:
    """The layers that the metadata list; [] in a file of another writer."""
    try:
        return [
            LayerWeights(str(item["name"]), str(item["type"]), [*item["bottom"]], [*item["top"]])
            for item in json.loads(metadata.get(_LAYERS, "[]"))
        ]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
