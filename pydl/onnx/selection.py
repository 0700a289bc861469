"""Layers whose second bottom or input says which rows to take."""

from __future__ import annotations

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


@exports("Embed")
def embed(g: Graph, layer: Layer) -> None:
    p = layer.message.embed_param
    rows = g.cast(layer.x, "int64")
    if not p.bias_term:
        g.op("Gather", g.weight(0), rows, axis=0, out=layer.outputs[0])
        return
    vectors = g.op("Gather", g.weight(0), rows, axis=0)
    g.op("Add", vectors, g.weight(1, (-1,)), out=layer.outputs[0])


@exports("BatchReindex")
def batch_reindex(g: Graph, layer: Layer) -> None:
    rows = g.cast(layer.inputs[1], "int64")
    g.op("Gather", layer.x, rows, axis=0, out=layer.outputs[0])


@exports("Filter")
def filter_(g: Graph, layer: Layer) -> None:
    # The last bottom, (N) or (N, 1, ...), is not 0 for the items to keep.
    *items, selector = layer.inputs
    keep = g.reshape(g.cast(selector, "bool"), [-1])
    g.any_length = True
    for x, out in zip(items, layer.outputs, strict=True):
        g.op("Compress", x, keep, axis=0, out=out)
