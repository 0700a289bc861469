"""What every weight file holds: layers, by name, with their parameter arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pydl.errors import Error

# More parameters than any layer has; an index beyond it is a damaged file.
MAX_BLOBS = 1024


@dataclass
class LayerWeights:
    """One layer of a weight file.

    ``blobs`` are float32 and may be read-only, unaligned views of the file. A blob is None where
    the file leaves it to the layer that shares it (HDF5). ``diffs``, one for each blob or none, are
    written but not read. ``settings`` are the layer's other fields as plain data, such as
    ``{"phase": "TEST", "convolution_param": {"num_output": 20}}``, for formats that keep them.
    """

    name: str
    type: str = ""
    bottom: list[str] = field(default_factory=list)
    top: list[str] = field(default_factory=list)
    blobs: list[np.ndarray | None] = field(default_factory=list)
    diffs: list[np.ndarray] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """A net's name and its layers, in file order.

    >>> import numpy as np
    >>> from pydl.formats import LayerWeights, Weights
    >>> ip = LayerWeights("ip", "InnerProduct", blobs=[np.ones((2, 3)), np.zeros(2)])
    >>> weights = Weights("net", [LayerWeights("data", "Input"), ip])
    >>> {name: [blob.shape for blob in blobs] for name, blobs in weights.blobs().items()}
    {'ip': [(2, 3), (2,)]}
    """

    name: str = ""
    layers: list[LayerWeights] = field(default_factory=list)

    def blobs(self) -> dict[str, list[np.ndarray | None]]:
        """Layer name -> parameters, for the layers that have any; the last of a name counts."""
        return {layer.name: layer.blobs for layer in self.layers if layer.blobs}

    def types(self) -> dict[str, str]:
        """Layer name -> type, "" where the format does not keep it."""
        return {layer.name: layer.type for layer in self.layers}


def blob_list(indexed: Mapping[int, np.ndarray], where: str) -> list[np.ndarray | None]:
    """Parameters by index as a list; a gap, a parameter that another layer owns, is None."""
    count = max(indexed, default=-1) + 1
    if count > MAX_BLOBS:
        raise Error(f"{where}: parameter {count - 1} is beyond the {MAX_BLOBS} a layer can have")
    return [indexed.get(i) for i in range(count)]


def blob_index(name: str) -> int | None:
    """The index that ``name`` spells ("0", "1", ...), or None.

    >>> from pydl.formats.weights import blob_index
    >>> blob_index("12"), blob_index("weight"), blob_index("007")
    (12, None, None)
    """
    if not (name.isascii() and name.isdigit()) or len(name) > 9 or name != str(int(name)):
        return None
    return int(name)
