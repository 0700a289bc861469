"""`Graph`: an ONNX graph while it is written, one layer after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.onnx.layer import Layer, Shape

Operand = str | float | int | Sequence[int] | np.ndarray


def import_onnx() -> ModuleType:
    """The package onnx. Raises Error, saying how to install it, where it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise Error('ONNX models need the package onnx: pip install "pydl[onnx]"') from error
    return onnx


def _writers_of_names(layers: Sequence[Layer]) -> dict[str, str]:
    """For each blob the layer whose value of it has the blob's name."""
    inputs = {top: layer.name for layer in layers if not layer.bottoms for top in layer.tops}
    return {top: layer.name for layer in layers for top in layer.tops} | inputs


class Graph:
    """Nodes, constants, inputs and outputs; values are named after the blobs they hold.

    ONNX gives each value a single writer. Where layers work in place the last one writes the value
    of the blob's name, the others ``<blob>/<layer>``; but an input keeps its name.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.onnx = import_onnx()
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Shape] = {}
        self.values: dict[str, str] = {}  # blob -> the value that it has at this point
        self.any_length = False  # whether the data decide how many rows there are
        self._named = _writers_of_names(layers)
        self._taken = set(self._named)
        self._weights: dict[tuple[str, Shape], str] = {}
        self._layer: Layer | None = None

    def begin(self, layer: Layer) -> None:
        """From here on nodes belong to this layer; gives it its ONNX values."""
        self._layer = layer
        layer.inputs = [self.values[name] for name in layer.bottoms]
        layer.outputs = [self._value_of(layer, top) for top in layer.tops]
        self.values.update(zip(layer.tops, layer.outputs, strict=True))

    def _value_of(self, layer: Layer, top: str) -> str:
        return top if self._named[top] == layer.name else self.fresh(f"{top}/{layer.name}")

    def op(self, kind: str, *inputs: Operand, out: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output and returns that value's name.

        Operands that are not names of values become constants: Python integers and lists of them
        int64, other numbers float32, arrays what they are.
        """
        return self.ops(kind, *inputs, outs=[out], **attributes)[0]

    def ops(
        self, kind: str, *inputs: Operand, outs: Sequence[str | None], **attributes: Any
    ) -> list[str]:
        """Adds a node with an output for each of ``outs``; None gets a new name."""
        layer = self._layer
        finishes = any(out in layer.outputs for out in outs)
        name = self.fresh(layer.name if finishes else f"{layer.name}/{kind}", "node")
        names = [out or self.fresh(f"{layer.name}/{kind}") for out in outs]
        operands = [
            x if isinstance(x, str) else self.constant(x, f"{kind}_operand") for x in inputs
        ]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self.onnx.helper.make_node(kind, operands, names, name, **attributes))
        return names

    def scan(
        self,
        step: Callable[..., tuple[list[str], list[str]]],
        states: Sequence[str],
        sequences: Sequence[str],
        outs: Sequence[str],
        backward: bool = False,
    ) -> list[str]:
        """Adds a Scan: ``step(*states, *items)`` gives the next states and an item of each of outs.

        Sequences are (T, ...), `backward` from their end. Returns the last states and then
        ``outs``.
        """
        make = self.onnx.helper
        given = [self.fresh(f"{self._layer.name}/step") for _ in (*states, *sequences)]
        outer, self.nodes = self.nodes, []
        next_states, items = step(*given)
        # A body's outputs are values of their own, also where a state is an item too.
        results = [self.op("Identity", x) for x in (*next_states, *items)]
        body, self.nodes = self.nodes, outer
        infos = [
            [make.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, None) for name in names]
            for names in (given, results)
        ]
        graph = make.make_graph(body, f"{self._layer.name}/step", *infos)
        return self.ops(
            "Scan", *states, *sequences, outs=[*[None] * len(states), *outs],
            body=graph, num_scan_inputs=len(sequences),
            scan_input_directions=[int(backward)] * len(sequences),
            scan_output_directions=[int(backward)] * len(outs),
        )  # fmt: skip

    def constant(self, value: Operand, role: str = "value") -> str:
        """A constant of the current layer."""
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            integers = array.dtype.kind == "i" or (array.size == 0 and array.ndim)
            array = array.astype(np.int64 if integers else np.float32)
        name = self.fresh(f"{self._layer.name}/{role}")
        self.constants[name] = array
        return name

    def weight(self, index: int, shape: Shape | None = None) -> str:
        """A learnable blob of the current layer, perhaps in another shape, as ``<layer>/<i>``."""
        layer = self._layer
        blob = layer.blobs[index]
        key = (layer.weight_names[index], tuple(blob.shape if shape is None else shape))
        if key not in self._weights:
            self._weights[key] = self.fresh(key[0])
            self.constants[self._weights[key]] = blob.reshape(key[1])
        return self._weights[key]

    def input(self, name: str, shape: Shape) -> None:
        """Adds an input of the model."""
        self.inputs[name] = shape

    def fresh(self, name: str, kind: str = "value") -> str:
        """The name, or with a number behind it if it is taken; nodes have names of their own."""
        prefix = f"{kind}:" if kind != "value" else ""
        found, count = name, 2
        while prefix + found in self._taken:
            found, count = f"{name}_{count}", count + 1
        self._taken.add(prefix + found)
        return found

    # ---- what many layers need ----
    def reshape(self, x: str, shape: Sequence[int], out: str | None = None) -> str:
        """In another shape; 0 keeps the size of the axis at that place, -1 is what remains."""
        return self.op("Reshape", x, list(shape), out=out)

    def cast(self, x: str, dtype: str, out: str | None = None) -> str:
        """As float, int64 or bool."""
        types = {"float": 1, "int64": 7, "bool": 9}  # onnx.TensorProto's
        return self.op("Cast", x, to=types[dtype], out=out)

    def spread(self, x: str, axes: int, begin: int, total: int) -> str:
        """A value of ``axes`` axes, shaped to be combined with axes ``begin`` on of ``total``."""
        after = total - begin - axes
        return self.reshape(x, [0] * axes + [1] * after) if after else x

    def scaled(self, x: str, factor: float, out: str | None = None) -> str:
        """``factor * x``; x itself where that is no work and ``out`` is not asked for."""
        if factor == 1:
            return self.op("Identity", x, out=out) if out else x
        return self.op("Mul", x, float(factor), out=out)
