"""Layers that add, multiply or compare blobs."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


@exports("Eltwise")
def eltwise(g: Graph, layer: Layer) -> None:
    p = layer.message.eltwise_param
    if p.operation == "SUM":
        factors = p.coeff or [1] * len(layer.inputs)
        terms = [g.scaled(x, c) for x, c in zip(layer.inputs, factors, strict=True)]
        g.op("Sum", *terms, out=layer.outputs[0])
    elif p.operation == "MAX":
        g.op("Max", *layer.inputs, out=layer.outputs[0])
    else:
        product = layer.inputs[0]
        for x in layer.inputs[1:-1]:
            product = g.op("Mul", product, x)
        g.op("Mul", product, layer.inputs[-1], out=layer.outputs[0])


@exports("Axpy")
def axpy(g: Graph, layer: Layer) -> None:
    a, x, y = layer.inputs
    shape = layer.bottom_shapes[1]
    factors = g.reshape(a, [0, shape[1], *[1] * (len(shape) - 2)])
    g.op("Add", g.op("Mul", x, factors), y, out=layer.outputs[0])


@exports("Scale")
def scale(g: Graph, layer: Layer) -> None:
    p = layer.message.scale_param
    factor, axes = _operand(g, layer, p.num_axes)
    axis = layer.axis(p.axis) if axes else 0
    factor = g.spread(factor, axes, axis, len(layer.shape))
    if not p.bias_term:
        g.op("Mul", layer.x, factor, out=layer.outputs[0])
        return
    # The bias has the shape of the factor and is the layer's last blob.
    bias = g.spread(g.weight(len(layer.blobs) - 1), axes, axis, len(layer.shape))
    g.op("Add", g.op("Mul", layer.x, factor), bias, out=layer.outputs[0])


@exports("DataAugmentation")
def data_augmentation(g: Graph, layer: Layer) -> None:
    p = layer.message.augmentation_param
    if p.recompute_mean:
        if layer.blobs[0].flat[0] < p.recompute_mean:
            raise layer.fail("its mean is still measured, pass by pass; load weights with a mean")
        mean = layer.blobs[1 if p.mean_per_pixel else 2]
    elif p.mean and not p.mean_per_pixel:
        mean = np.array(p.mean, np.float32).reshape(1, -1, 1, 1)
    else:
        mean = np.zeros(1, np.float32)
    g.op("Sub", layer.x, mean, out=layer.outputs[0])


@exports("Bias")
def bias(g: Graph, layer: Layer) -> None:
    p = layer.message.bias_param
    value, axes = _operand(g, layer, p.num_axes)
    axis = layer.axis(p.axis) if axes else 0
    value = g.spread(value, axes, axis, len(layer.shape))
    g.op("Add", layer.x, value, out=layer.outputs[0])


def _operand(g: Graph, layer: Layer, num_axes: int) -> tuple[str, int]:
    """The second bottom, or else the first learnable blob, and its number of axes."""
    if len(layer.inputs) > 1:
        return layer.inputs[1], len(layer.bottom_shapes[1])
    return g.weight(0), layer.blobs[0].ndim
