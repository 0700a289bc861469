"""BatchNorm, BN, GroupNorm, InstanceNorm, LayerNorm, LRN, MVN, Normalize, RMSNorm and Softmax."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.pooling import Pool, average
from pydl.onnx.table import exports
from pydl.prototxt.message import Message


@exports("BatchNorm")
def batch_norm(g: Graph, layer: Layer) -> None:
    p = layer.message.batch_norm_param
    # The blobs are sums of means and variances, the weight of these sums, factors and biases.
    mean, variance, weight, *affine = layer.blobs
    in_test, eps = layer.phase == "TEST", p.eps
    if _is_nvidias(p):  # whose sums are averages
        stored, factor, eps = in_test, np.float32(1), max(eps, 1e-5)
    else:
        stored = p.use_global_stats if p.HasField("use_global_stats") else in_test
        factor = np.float32(1 / weight.flat[0] if weight.flat[0] else 0)
    if stored:
        statistics = (mean * factor, variance * factor)
        _with_stored_statistics(g, layer, eps, *statistics, *affine)
    elif p.stats_batch_size:
        raise layer.fail("ONNX has no statistics of parts of a batch; export the net in phase TEST")
    else:
        _with_batch_statistics(g, layer, eps, *affine)


@exports("LayerNorm")
def layer_norm(g: Graph, layer: Layer) -> None:
    p = layer.message.layer_norm_param
    axis = layer.axis(p.axis)
    ones = np.ones(layer.shape[axis:], np.float32)
    affine = [g.weight(i) for i in range(len(layer.blobs))] or [ones]
    g.op("LayerNormalization", layer.x, *affine, axis=axis, epsilon=p.eps, out=layer.outputs[0])


@exports("RMSNorm")
def rms_norm(g: Graph, layer: Layer) -> None:
    p = layer.message.rms_norm_param
    axes = list(range(layer.axis(p.axis), len(layer.shape)))
    square = g.op("ReduceMean", g.op("Mul", layer.x, layer.x), axes)
    root = g.op("Sqrt", g.op("Add", square, float(p.eps)))
    normal = g.op("Div", layer.x, root, out=None if layer.blobs else layer.outputs[0])
    if layer.blobs:
        g.op("Mul", normal, g.weight(0), out=layer.outputs[0])


@exports("GroupNorm")
def group_norm(g: Graph, layer: Layer) -> None:
    p = layer.message.group_norm_param
    _by_groups(g, layer, p.num_groups, p.eps)


@exports("InstanceNorm")
def instance_norm(g: Graph, layer: Layer) -> None:
    _by_groups(g, layer, layer.shape[1], layer.message.instance_norm_param.eps)


def _by_groups(g: Graph, layer: Layer, groups: int, eps: float) -> None:
    _, centred, variance = _moments(g, g.reshape(layer.x, [0, groups, -1]), [2])
    normal = g.op("Div", centred, g.op("Sqrt", g.op("Add", variance, float(eps))))
    if not layer.blobs:
        g.reshape(normal, [0, *layer.shape[1:]], out=layer.outputs[0])
        return
    shape = (-1, *[1] * (len(layer.shape) - 2))
    scaled = g.op("Mul", g.reshape(normal, [0, *layer.shape[1:]]), g.weight(0, shape))
    g.op("Add", scaled, g.weight(1, shape), out=layer.outputs[0])


def _is_nvidias(p: Message) -> bool:
    if p.HasField("scale_bias"):
        return p.scale_bias
    intels = any(p.HasField(name) for name in ("use_weight_bias", "bias_term", "filler"))
    return p.HasField("scale_filler") or (p.HasField("bias_filler") and not intels)


@exports("BN")
def bn(g: Graph, layer: Layer) -> None:
    p = layer.message.bn_param
    scale, bias, *statistics = layer.blobs
    if statistics:  # PSPNet's
        eps = p.eps if p.HasField("eps") else p.var_eps if p.HasField("var_eps") else 1e-5
        if layer.phase == "TEST" or p.frozen:
            _with_stored_statistics(g, layer, eps, *statistics, scale, bias)
        else:
            _with_batch_statistics(g, layer, eps, scale, bias)
    elif p.bn_mode == "INFERENCE":
        ones, zeros = np.ones_like(scale), np.zeros_like(scale)
        _with_stored_statistics(g, layer, 0.0, zeros, ones, scale, bias)
    else:
        _with_batch_statistics(g, layer, 1e-9, scale, bias)


def _with_stored_statistics(
    g: Graph,
    layer: Layer,
    eps: float,
    mean: np.ndarray,
    variance: np.ndarray,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> None:
    statistics = [g.constant(mean.ravel(), "mean"), g.constant(variance.ravel(), "variance")]
    channels = mean.size
    scale = np.ones(channels, np.float32) if scale is None else scale.ravel()
    bias = np.zeros(channels, np.float32) if bias is None else bias.ravel()
    x = layer.x if len(layer.shape) > 1 else g.reshape(layer.x, [-1, 1])
    if len(layer.shape) > 1:
        g.op("BatchNormalization", x, scale, bias, *statistics, epsilon=eps, out=layer.outputs[0])
    else:  # one channel
        y = g.op("BatchNormalization", x, scale, bias, *statistics, epsilon=eps)
        g.reshape(y, [-1], out=layer.outputs[0])


def _with_batch_statistics(
    g: Graph,
    layer: Layer,
    eps: float,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> None:
    axes = [i for i in range(len(layer.shape)) if i != 1]
    mean, centred, variance = _moments(g, layer.x, axes)
    for value, out in zip((mean, variance), layer.outputs[1:], strict=False):  # SegNet's
        g.reshape(value, [1, layer.shape[1], 1, 1], out=out)
    deviation = g.op("Sqrt", g.op("Add", variance, float(eps)))
    if scale is None:
        g.op("Div", centred, deviation, out=layer.outputs[0])
        return
    shape = [1, -1, *[1] * (len(layer.shape) - 2)]
    scaled = g.op("Mul", g.op("Div", centred, deviation), scale.reshape(shape))
    bias = np.zeros_like(scale) if bias is None else bias
    g.op("Add", scaled, bias.reshape(shape), out=layer.outputs[0])


@exports("Normalize")
def normalize(g: Graph, layer: Layer) -> None:
    p = layer.message.norm_param
    axes = list(range(1, len(layer.shape))) if p.across_spatial else [1]
    squares = g.op("ReduceSumSquare", layer.x, axes, keepdims=1)
    length = g.op("Sqrt", g.op("Add", squares, float(p.eps)))
    scale = g.weight(0, (layer.blobs[0].size, *[1] * (len(layer.shape) - 2)))
    g.op("Mul", g.op("Div", layer.x, length), scale, out=layer.outputs[0])


def _moments(g: Graph, x: str, axes: list[int]) -> tuple[str, str, str]:
    """The mean of x over some axes, x without it, and the variance over them."""
    mean = g.op("ReduceMean", x, axes, keepdims=1)
    centred = g.op("Sub", x, mean)
    return mean, centred, g.op("ReduceMean", g.op("Mul", centred, centred), axes, keepdims=1)


@exports("MVN")
def mvn(g: Graph, layer: Layer) -> None:
    p = layer.message.mvn_param
    axes = list(range(1 if p.across_channels else 2, len(layer.shape)))
    out = layer.outputs[0]
    if not p.normalize_variance:
        g.op("Sub", layer.x, g.op("ReduceMean", layer.x, axes, keepdims=1), out=out)
        return
    _, centred, variance = _moments(g, layer.x, axes)
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
