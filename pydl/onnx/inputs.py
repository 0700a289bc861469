"""Layers without bottoms: what a user fills, and constants."""

from __future__ import annotations

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


@exports("Input", "AnnotatedData", "Data", "DenseImageData", "HDF5Data", "ImageData",
         "MemoryData", "WindowData")  # fmt: skip
def inputs(g: Graph, layer: Layer) -> None:
    """Whatever filled the blobs in pydl, the model's user does it now."""
    for name, shape in zip(layer.outputs, layer.top_shapes, strict=True):
        g.input(name, shape)


@exports("DummyData")
def dummy_data(g: Graph, layer: Layer) -> None:
    """Constants stay in the model; random values are an input of it."""
    p = layer.message.dummy_data_param
    fillers = list(p.data_filler)
    for i, (name, shape) in enumerate(zip(layer.outputs, layer.top_shapes, strict=True)):
        filler = fillers[min(i, len(fillers) - 1)] if fillers else None
        if filler is None or filler.type == "constant":
            value = filler.value if filler else 0.0
            g.op("Expand", float(value), list(shape), out=name)
        else:
            g.input(name, shape)


@exports("Parameter")
def parameter(g: Graph, layer: Layer) -> None:
    g.op("Identity", g.weight(0), out=layer.outputs[0])
