"""Pooling and SPP. ONNX's own rounding differs from Caffe's, so all windows are spelled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pydl.onnx.convolution import with_video_defaults
from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer, Shape
from pydl.onnx.table import exports
from pydl.prototxt.message import Message


@dataclass
class Pool:
    """The windows of a pooling, one number per spatial axis."""

    kernel: list[int]
    stride: list[int]
    pad: list[int]
    size: Shape  # of the input
    windows: Shape  # how many
    padding_counts: bool = True  # for averages

    @property
    def reach(self) -> list[int]:
        """How far the last window ends behind the input, padding not counted."""
        axes = zip(self.windows, self.stride, self.kernel, self.pad, self.size, strict=True)
        return [max(0, (n - 1) * s + k - p - size) for n, s, k, p, size in axes]


def _parameters(layer: Layer) -> Message:
    if layer.type == "Pooling3D":
        return with_video_defaults(layer, "pooling_param", "pooling3d_param")
    return layer.message.pooling_param


def _read(layer: Layer) -> Pool:
    p, size = _parameters(layer), layer.shape[2:]
    axes = len(size)
    kernel = _per_axis(p, "kernel", "kernel_size", axes, 1, "kernel_depth")
    kernel = list(size) if p.global_pooling else kernel
    stride = _per_axis(p, "stride", "stride", axes, 1, "temporal_stride")
    pad = _per_axis(p, "pad", "pad", axes, 0, "temporal_pad")
    return Pool(kernel, stride, pad, size, layer.top_shapes[0][2:], p.avg_include_pad)


def _per_axis(
    p: Message, name: str, field: str, axes: int, default: int, depth: str = ""
) -> list[int]:
    """A field for all axes, one per axis, as _h and _w, or with C3D's name for the length."""
    if depth and p.HasField(depth):
        return [getattr(p, depth), *_per_axis(p, name, field, axes - 1, default)]
    if p.HasField(f"{name}_h") or p.HasField(f"{name}_w"):
        return [getattr(p, f"{name}_h"), getattr(p, f"{name}_w")]
    given = getattr(p, field)
    values = list(given) if isinstance(given, Sequence) else [given] * p.HasField(field)
    values = values or [default]
    return values * axes if len(values) == 1 else values


@exports("Pooling", "Pooling3D")
def pooling(g: Graph, layer: Layer) -> None:
    method = _parameters(layer).pool
    pool = _read(layer)
    if method == "STOCHASTIC":
        if layer.phase == "TRAIN":
            raise layer.fail("STOCHASTIC draws in phase TRAIN; export the net in phase TEST")
        _stochastic(g, layer, pool)
    elif method == "AVE":
        average(g, layer.x, pool, out=layer.outputs[0])
    elif len(layer.outputs) == 1:
        maximum(g, layer.x, pool, out=layer.outputs[0])
    else:
        _maximum_with_mask(g, layer, pool)


def maximum(g: Graph, x: str, pool: Pool, out: str | None = None) -> str:
    """MAX: padding never wins."""
    x, pads = _max_pads(g, x, pool)
    return g.op("MaxPool", x, kernel_shape=pool.kernel, strides=pool.stride, pads=pads, out=out)


def _max_pads(g: Graph, x: str, pool: Pool) -> tuple[str, list[int]]:
    """MaxPool's padding; where it would be as large as the kernel, padding in front of it."""
    pads = [*pool.pad, *pool.reach]
    if all(pad < kernel for pad, kernel in zip(pads, pool.kernel * 2, strict=True)):
        return x, pads
    return _padded(g, x, pads, -np.finfo(np.float32).max), [0] * len(pads)


def average(g: Graph, x: str, pool: Pool, out: str | None = None) -> str:
    """AVE: divided by the window's size up to the end of the padding, which counts as zeros, or by
    what of it is in the input."""
    if not pool.padding_counts:
        pads = [*pool.pad, *pool.reach]
        return g.op(
            "AveragePool", x, kernel_shape=pool.kernel, strides=pool.stride, pads=pads, out=out
        )
    pads = [*pool.pad, *(min(r, p) for r, p in zip(pool.reach, pool.pad, strict=True))]
    beyond = [r - p for r, p in zip(pool.reach, pool.pad, strict=True)]
    if max(beyond) <= 0:
        return g.op(
            "AveragePool", x, kernel_shape=pool.kernel, strides=pool.stride, pads=pads,
            count_include_pad=1, out=out,
        )  # fmt: skip
    x = _padded(g, x, pool.pad * 2, 0.0) if any(pool.pad) else x
    # Beyond the padding nothing counts: that part is AveragePool's own padding.
    pads = [0] * len(beyond) + [max(0, b) for b in beyond]
    return g.op("AveragePool", x, kernel_shape=pool.kernel, strides=pool.stride, pads=pads, out=out)


def _padded(g: Graph, x: str, pads: list[int], value: float) -> str:
    spatial = len(pads) // 2
    return g.op("Pad", x, [0, 0, *pads[:spatial], 0, 0, *pads[spatial:]], float(value))


def _maximum_with_mask(g: Graph, layer: Layer, pool: Pool) -> None:
    """The second top is the place of each maximum in its plane, as a float."""
    x, pads = _max_pads(g, layer.x, pool)
    if x != layer.x:
        raise layer.fail("windows beyond the input have no place for the second top to show")
    _, place = g.ops(
        "MaxPool", x, kernel_shape=pool.kernel, strides=pool.stride, pads=pads,
        outs=[layer.outputs[0], None],
    )  # fmt: skip
    in_plane = g.op("Mod", place, int(np.prod(pool.size)))  # ONNX counts through all planes
    g.cast(in_plane, "float", out=layer.outputs[1])


def _stochastic(g: Graph, layer: Layer, pool: Pool) -> None:
    """TEST: the sum of squares over the sum of each window, and 0 where that is not positive."""
    total = average(g, layer.x, pool)
    squares = average(g, g.op("Mul", layer.x, layer.x), pool)
    ratio = g.op("Div", squares, total)
    g.op("Where", g.op("Greater", total, 0.0), ratio, 0.0, out=layer.outputs[0])


@exports("SPP")
def spp(g: Graph, layer: Layer) -> None:
    p = layer.message.spp_param
    if p.pool == "STOCHASTIC":
        raise layer.fail("STOCHASTIC pooling has no ONNX form; use MAX or AVE")
    pooled = average if p.pool == "AVE" else maximum
    levels = []
    for level in range(p.pyramid_height):
        y = pooled(g, layer.x, _spp_level(layer.shape[2:], 2**level))
        levels.append(g.op("Flatten", y, axis=1))
    g.op("Concat", *levels, axis=1, out=layer.outputs[0])


def _spp_level(size: Shape, bins: int) -> Pool:
    kernel = [-(-n // bins) for n in size]
    pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, size, strict=True)]
    windows = [_windows(*axis) for axis in zip(size, kernel, pad, strict=True)]
    return Pool(kernel, kernel, pad, size, tuple(windows))


def _windows(size: int, kernel: int, pad: int) -> int:
    """Caffe's CEIL rule with the stride of a kernel."""
    count = -(-(size + 2 * pad - kernel) // kernel) + 1
    return count - 1 if pad and (count - 1) * kernel >= size + pad else count
