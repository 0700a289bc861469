"""Convolution, Deconvolution, Im2col and InnerProduct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer, Shape, size
from pydl.onnx.table import exports
from pydl.prototxt.message import Message


@dataclass
class Window:
    """Kernel, stride, padding and dilation, one number per spatial axis."""

    kernel: list[int]
    stride: list[int]
    pad: list[int]
    dilation: list[int]

    @classmethod
    def read(cls, p: Message, spatial: int) -> Window:
        """From convolution_param, for so many spatial axes."""
        return cls(
            _per_axis(p, "kernel", p.kernel_size, spatial, 1, "kernel_depth"),
            _per_axis(p, "stride", p.stride, spatial, 1, "temporal_stride"),
            _per_axis(p, "pad", p.pad, spatial, 0, "temporal_pad"),
            _per_axis(p, "hole", list(p.dilation) or p.hole, spatial, 1),
        )

    def attributes(self, group: int) -> dict:
        return {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": self.pad * 2,
            "dilations": self.dilation,
            "group": group,
        }


def _per_axis(
    p: Message, name: str, values: list[int], spatial: int, default: int, depth: str = ""
) -> list[int]:
    if depth and p.HasField(depth):
        return [getattr(p, depth), *_per_axis(p, name, values, spatial - 1, default)]
    if p.HasField(f"{name}_h") or p.HasField(f"{name}_w"):
        given = [f"{name}_h", f"{name}_w"]
        return [getattr(p, field) if p.HasField(field) else default for field in given]
    values = list(values) or [default]
    return values * spatial if len(values) == 1 else values


@exports("Convolution", "DepthwiseConvolution", "Convolution3D")
def convolution(g: Graph, layer: Layer) -> None:
    _for_each_bottom(g, layer, "Conv", _parameters(layer).group)


@exports("ConvolutionDepthwise")
def convolution_depthwise(g: Graph, layer: Layer) -> None:
    _for_each_bottom(g, layer, "Conv", layer.shape[layer.axis(_parameters(layer).axis)])


def _parameters(layer: Layer) -> Message:
    if layer.type == "Convolution3D":
        return with_video_defaults(layer, "convolution_param", "convolution3d_param")
    return layer.message.convolution_param


def with_video_defaults(layer: Layer, *names: str) -> Message:
    """The parameters of a layer of C3D, under one of two names, with what it takes for the length
    where nothing is said about it."""
    message = layer.message
    p = getattr(message, next((name for name in names if message.HasField(name)), names[0]))
    for field, others, default in (
        ("kernel_depth", p.kernel_size, 1),
        ("temporal_stride", p.stride, 1),
        ("temporal_pad", p.pad, 0),
    ):
        if not p.HasField(field) and len(others) < 3:
            setattr(p, field, default)
    return p


@exports("Deconvolution")
def deconvolution(g: Graph, layer: Layer) -> None:
    p = layer.message.convolution_param
    _for_each_bottom(g, layer, "ConvTranspose", p.group)


def _for_each_bottom(g: Graph, layer: Layer, kind: str, group: int) -> None:
    """All bottoms go through the same weights (out, in / group, kernel...)."""
    p = _parameters(layer)
    axis = layer.axis(p.axis)
    spatial = len(layer.shape) - axis - 1
    window = Window.read(p, spatial) if spatial else Window([1], [1], [0], [1])
    shape = layer.blobs[0].shape if spatial else (*layer.blobs[0].shape, 1)
    weights = _weights(g, layer, p, shape)
    for bottom, x in enumerate(layer.inputs):
        x = _plain_images(g, x, layer.bottom_shapes[bottom], axis)
        top, out = layer.top_shapes[bottom], layer.outputs[bottom]
        if axis == 1 and spatial:
            g.op(kind, x, *weights, out=out, **window.attributes(group))
        else:
            y = g.op(kind, x, *weights, **window.attributes(group))
            g.reshape(y, _leading(axis, top), out=out)


def _weights(g: Graph, layer: Layer, p: Message, shape: Shape) -> list[str]:
    """The weights, and the bias where there is one."""
    bias = [g.weight(1, (-1,))] if p.bias_term else []
    if not p.weight_norm:
        return [g.weight(0, shape), *bias]
    v, length = layer.blobs[0].reshape(len(layer.blobs[0]), -1), layer.blobs[-1]
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    w = np.divide(length.reshape(-1, 1) * v, norm, out=np.zeros_like(v), where=norm > 0)
    return [g.constant(w.reshape(shape), "weights"), *bias]


def _plain_images(g: Graph, x: str, shape: Shape, axis: int) -> str:
    """(N, C, spatial...): axes before the channels are one, and there is a spatial axis."""
    if axis == 1 and len(shape) > 2:
        return x
    return g.reshape(x, [-1, shape[axis], *(shape[axis + 1 :] or (1,))])


def _leading(axis: int, top: Shape) -> list[int]:
    """The shape of a top whose first axis may have any size."""
    return [-1, *top[1:]] if axis else list(top)


@exports("Im2col")
def im2col(g: Graph, layer: Layer) -> None:
    # A convolution whose filters each pick one tap of one channel: C groups of K filters.
    p = layer.message.convolution_param
    axis = layer.axis(p.axis)
    window = Window.read(p, len(layer.shape) - axis - 1)
    channels, taps = layer.shape[axis], size(window.kernel)
    picks = np.eye(taps, dtype=np.float32).reshape(taps, 1, *window.kernel)
    x = _plain_images(g, layer.x, layer.shape, axis)
    filters = np.tile(picks, (channels, *[1] * (picks.ndim - 1)))
    y = g.op("Conv", x, filters, **window.attributes(channels))
    g.reshape(y, _leading(axis, layer.top_shapes[0]), out=layer.outputs[0])


@exports("InnerProduct")
def inner_product(g: Graph, layer: Layer) -> None:
    p = layer.message.inner_product_param
    axis, top, out = layer.axis(p.axis), layer.top_shapes[0], layer.outputs[0]
    weights = _weights(g, layer, p, layer.blobs[0].shape)
    transposed = 0 if p.transpose else 1
    flat = axis == 1 and len(layer.shape) == 2
    x = layer.x if flat else g.op("Flatten", layer.x, axis=axis)
    if axis == 1:
        g.op("Gemm", x, *weights, transB=transposed, out=out)
    else:
        y = g.op("Gemm", x, *weights, transB=transposed)
        g.reshape(y, _leading(axis, top), out=out)
