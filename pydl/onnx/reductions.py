"""Reduction, ArgMax and Gram."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer, size
from pydl.onnx.table import exports

_KINDS = {
    "SUM": "ReduceSum",
    "ASUM": "ReduceL1",
    "SUMSQ": "ReduceSumSquare",
    "MEAN": "ReduceMean",
}


@exports("Reduction")
def reduction(g: Graph, layer: Layer) -> None:
    p = layer.message.reduction_param
    axes = list(range(layer.axis(p.axis), len(layer.shape)))
    reduced = g.op(_KINDS[p.operation], layer.x, axes, keepdims=0)
    g.scaled(reduced, p.coeff, out=layer.outputs[0])


@exports("Gram")
def gram(g: Graph, layer: Layer) -> None:
    channels, positions = layer.shape[1], size(layer.shape[2:])
    x = g.reshape(layer.x, [0, channels, positions])
    products = g.op("MatMul", x, g.op("Transpose", x, perm=[0, 2, 1]))
    values = channels * positions if layer.message.gram_param.normalize else 1
    g.scaled(products, 1 / values, out=layer.outputs[0])


@exports("ArgMax")
def arg_max(g: Graph, layer: Layer) -> None:
    p = layer.message.argmax_param
    if p.HasField("axis"):
        axis = layer.axis(p.axis)
        values, places = _largest(g, layer.x, layer.shape[axis], p.top_k, axis)
        if p.out_max_val:
            g.op("Identity", values, out=layer.outputs[0])
        else:
            g.cast(places, "float", out=layer.outputs[0])
        return
    flat = g.op("Flatten", layer.x, axis=1)
    values, places = _largest(g, flat, int(np.prod(layer.shape[1:])), p.top_k, 1)
    # (N, K) -> (N, 1, K) or, with the values, (N, 2, K), and ones up to three axes
    columns = [g.cast(places, "float")] + ([values] if p.out_max_val else [])
    stacked = columns[0] if len(columns) == 1 else g.op("Concat", *columns, axis=1)
    g.reshape(stacked, [-1, *layer.top_shapes[0][1:]], out=layer.outputs[0])


def _largest(g: Graph, x: str, count: int, top_k: int, axis: int) -> tuple[str, str]:
    """The largest values along an axis and their places; of equal ones the last, as in Caffe.

    TopK prefers the first, so it gets the axis backwards.
    """
    backwards = g.op("Slice", x, [-1], [-(2**31)], [axis], [-1])
    values, places = g.ops("TopK", backwards, [top_k], axis=axis, outs=[None, None])
    return values, g.op("Sub", count - 1, places)
