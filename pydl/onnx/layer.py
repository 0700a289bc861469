"""A layer of a net as an exporter sees it: parameters with their defaults, shapes, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pydl.errors import Error
from pydl.prototxt.message import Message

Shape = tuple[int, ...]


@dataclass
class Layer:
    """One layer; ``inputs`` and ``outputs`` are the ONNX values of its bottoms and tops.

    ``weight_names`` tells learnable blobs apart across the net: layers that share one have the
    same name for it.
    """

    name: str
    type: str
    message: Message
    phase: str
    bottoms: list[str]
    tops: list[str]
    bottom_shapes: list[Shape]
    top_shapes: list[Shape]
    blobs: list[np.ndarray] = field(default_factory=list)
    weight_names: list[str] = field(default_factory=list)
    where: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def x(self) -> str:
        """The value of the first bottom."""
        return self.inputs[0]

    @property
    def shape(self) -> Shape:
        """The shape of the first bottom."""
        return self.bottom_shapes[0]

    def axis(self, axis: int, bottom: int = 0) -> int:
        """An axis of a bottom, counted from the front."""
        return axis + len(self.bottom_shapes[bottom]) if axis < 0 else axis

    def fail(self, problem: str) -> Error:
        """The Error to raise where this layer cannot be expressed."""
        where = f"{self.where}: " if self.where else ""
        return Error(f'{where}layer "{self.name}" ({self.type}): {problem}')


def net_layers(core) -> list[Layer]:
    """The layers of a net that the core holds, with views of their weights."""
    owners = core.param_rows()
    shapes: dict[str, Shape] = {}
    layers = []
    for index, row in enumerate(core.layer_rows()):
        spec, blobs = core.layer(index).spec, core.layer(index).blobs
        params = spec.get("params", {})
        bottom_shapes = [shapes[name] for name in row["bottoms"]]
        shapes.update(zip(row["tops"], row["top_shapes"], strict=True))
        layers.append(
            Layer(
                name=row["name"],
                type=row["type"],
                message=Message("LayerParameter", name=row["name"], type=row["type"], **params),
                phase=spec.get("phase") or core.phase,
                bottoms=list(row["bottoms"]),
                tops=list(row["tops"]),
                bottom_shapes=bottom_shapes,
                top_shapes=[tuple(shape) for shape in row["top_shapes"]],
                blobs=[blob.data for blob in blobs],
                weight_names=[_owned_name(owners[i]) for i in row["param_ids"]],
                where=spec.get("where", ""),
            )
        )
    return layers


def _owned_name(row: dict) -> str:
    return f"{row['layer']}/{row['index']}"


def size(shape: Sequence[int]) -> int:
    """How many values an array of this shape has."""
    return math.prod(shape)
