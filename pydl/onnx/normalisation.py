"""BatchNorm, LRN, MVN and Softmax."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.pooling import Pool, average
from pydl.onnx.table import exports


@exports("BatchNorm")
def batch_norm(g: Graph, layer: Layer) -> None:
    p = layer.message.batch_norm_param
    stored = p.use_global_stats if p.HasField("use_global_stats") else layer.phase == "TEST"
    if stored:
        _with_stored_statistics(g, layer, p.eps)
    else:
        axes = [i for i in range(len(layer.shape)) if i != 1]
        centred, variance = _moments(g, layer.x, axes)
        deviation = g.op("Sqrt", g.op("Add", variance, float(p.eps)))
        g.op("Div", centred, deviation, out=layer.outputs[0])


def _with_stored_statistics(g: Graph, layer: Layer, eps: float) -> None:
    # The blobs are sums of means and variances and the weight of these sums.
    mean, variance, weight = layer.blobs
    factor = np.float32(1 / weight.flat[0] if weight.flat[0] else 0)
    statistics = [
        g.constant(mean.ravel() * factor, "mean"),
        g.constant(variance.ravel() * factor, "variance"),
    ]
    channels = mean.size
    x = layer.x if len(layer.shape) > 1 else g.reshape(layer.x, [-1, 1])
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    if len(layer.shape) > 1:
        g.op("BatchNormalization", x, ones, zeros, *statistics, epsilon=eps, out=layer.outputs[0])
    else:  # one channel
        y = g.op("BatchNormalization", x, ones, zeros, *statistics, epsilon=eps)
        g.reshape(y, [-1], out=layer.outputs[0])


def _moments(g: Graph, x: str, axes: list[int]) -> tuple[str, str]:
    """x without its mean over some axes, and its variance over them."""
    centred = g.op("Sub", x, g.op("ReduceMean", x, axes, keepdims=1))
    return centred, g.op("ReduceMean", g.op("Mul", centred, centred), axes, keepdims=1)


@exports("MVN")
def mvn(g: Graph, layer: Layer) -> None:
    p = layer.message.mvn_param
    axes = list(range(1 if p.across_channels else 2, len(layer.shape)))
    out = layer.outputs[0]
    if not p.normalize_variance:
        g.op("Sub", layer.x, g.op("ReduceMean", layer.x, axes, keepdims=1), out=out)
        return
    centred, variance = _moments(g, layer.x, axes)
    deviation = g.op("Add", g.op("Sqrt", variance), float(p.eps))
    g.op("Div", centred, deviation, out=out)


@exports("LRN")
def lrn(g: Graph, layer: Layer) -> None:
    p = layer.message.lrn_param
    if p.norm_region == "ACROSS_CHANNELS":
        g.op(
            "LRN", layer.x, size=p.local_size, alpha=p.alpha, beta=p.beta, bias=p.k,
            out=layer.outputs[0],
        )  # fmt: skip
        return
    # x (1 + alpha mean(x^2))^-beta; Caffe ignores k here, and its mean counts the padding.
    side, size = p.local_size, layer.shape[2:]
    pool = Pool([side] * len(size), [1] * len(size), [(side - 1) // 2] * len(size), size, size)
    squares = average(g, g.op("Mul", layer.x, layer.x), pool)
    base = g.op("Add", g.scaled(squares, p.alpha), 1.0)
    g.op("Mul", layer.x, g.op("Pow", base, -float(p.beta)), out=layer.outputs[0])


@exports("Softmax")
def softmax(g: Graph, layer: Layer) -> None:
    axis = layer.axis(layer.message.softmax_param.axis)
    g.op("Softmax", layer.x, axis=axis, out=layer.outputs[0])
