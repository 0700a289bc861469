"""Layers that map each value on its own."""

from __future__ import annotations

import math

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


def _as_one_node(type_name: str, kind: str) -> None:
    @exports(type_name)
    def export(g: Graph, layer: Layer) -> None:
        g.op(kind, layer.x, out=layer.outputs[0])


for _type, _kind in {
    "AbsVal": "Abs",
    "BNLL": "Softplus",
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
}.items():
    _as_one_node(_type, _kind)


@exports("ReLU")
def relu(g: Graph, layer: Layer) -> None:
    slope = layer.message.relu_param.negative_slope
    if slope:
        g.op("LeakyRelu", layer.x, alpha=slope, out=layer.outputs[0])
    else:
        g.op("Relu", layer.x, out=layer.outputs[0])


@exports("LeakyReLU")
def leaky_relu(g: Graph, layer: Layer) -> None:
    slope = layer.message.leaky_relu_param.negative_slope
    g.op("LeakyRelu", layer.x, alpha=slope, out=layer.outputs[0])


@exports("SELU")
def selu(g: Graph, layer: Layer) -> None:
    g.op("Selu", layer.x, out=layer.outputs[0])


@exports("ELU")
def elu(g: Graph, layer: Layer) -> None:
    g.op("Elu", layer.x, alpha=layer.message.elu_param.alpha, out=layer.outputs[0])


@exports("PReLU")
def prelu(g: Graph, layer: Layer) -> None:
    # slope: (C), or one for all, beside x: (N, C, ...)
    slopes = layer.blobs[0].size
    slope = g.weight(0, (slopes, *[1] * (len(layer.shape) - 2)))
    g.op("PRelu", layer.x, slope, out=layer.outputs[0])


@exports("ReLU6")
def relu6(g: Graph, layer: Layer) -> None:
    slope = layer.message.relu6_param.negative_slope
    if slope:
        g.op("Min", g.op("LeakyRelu", layer.x, alpha=slope), 6.0, out=layer.outputs[0])
    else:
        g.op("Clip", layer.x, 0.0, 6.0, out=layer.outputs[0])


@exports("HardSwish")
def hard_swish(g: Graph, layer: Layer) -> None:
    g.op("Mul", layer.x, g.op("HardSigmoid", layer.x, alpha=1 / 6, beta=0.5), out=layer.outputs[0])


@exports("Mish")
def mish(g: Graph, layer: Layer) -> None:
    gate = g.op("Tanh", g.op("Softplus", layer.x))
    g.op("Mul", layer.x, gate, out=layer.outputs[0])


@exports("GELU")
def gelu(g: Graph, layer: Layer) -> None:
    x = layer.x
    if layer.message.gelu_param.approximate == "TANH":
        cube = g.scaled(g.op("Mul", g.op("Mul", x, x), x), 0.044715)
        gate = g.op("Tanh", g.scaled(g.op("Add", x, cube), math.sqrt(2 / math.pi)))
    else:
        gate = g.op("Erf", g.scaled(x, math.sqrt(0.5)))
    g.op("Mul", g.scaled(x, 0.5), g.op("Add", gate, 1.0), out=layer.outputs[0])


@exports("SiLU", "Swish")
def swish(g: Graph, layer: Layer) -> None:
    beta = layer.message.swish_param.beta if layer.type == "Swish" else 1
    gate = g.op("Sigmoid", g.scaled(layer.x, beta))
    g.op("Mul", layer.x, gate, out=layer.outputs[0])


@exports("Softplus")
def softplus(g: Graph, layer: Layer) -> None:
    p = layer.message.softplus_param
    scaled = g.scaled(layer.x, p.beta)
    smooth = g.scaled(g.op("Softplus", scaled), 1 / p.beta)
    straight = g.op("Greater", scaled, float(p.threshold))
    g.op("Where", straight, layer.x, smooth, out=layer.outputs[0])


@exports("GLU")
def glu(g: Graph, layer: Layer) -> None:
    axis = layer.axis(layer.message.glu_param.axis)
    a, b = g.ops("Split", layer.x, axis=axis, num_outputs=2, outs=[None] * 2)
    g.op("Mul", a, g.op("Sigmoid", b), out=layer.outputs[0])


@exports("Maxout")
def maxout(g: Graph, layer: Layer) -> None:
    p = layer.message.maxout_param
    axis, shape = layer.axis(p.axis), layer.top_shapes[0]
    parts = [0] * axis + [shape[axis], p.pieces, *shape[axis + 1 :]]
    g.op("ReduceMax", g.reshape(layer.x, parts), [axis + 1], keepdims=0, out=layer.outputs[0])


@exports("Clip")
def clip(g: Graph, layer: Layer) -> None:
    bounds = layer.message.clip_param
    g.op("Clip", layer.x, float(bounds.min), float(bounds.max), out=layer.outputs[0])


@exports("Threshold")
def threshold(g: Graph, layer: Layer) -> None:
    above = g.op("Greater", layer.x, float(layer.message.threshold_param.threshold))
    g.cast(above, "float", out=layer.outputs[0])


@exports("Power")
def power(g: Graph, layer: Layer) -> None:
    p = layer.message.power_param
    if p.power * p.scale == 0:  # Caffe gives a constant then, whatever x holds
        value = 1.0 if p.power == 0 else p.shift**p.power
        return _constant(g, layer, value)
    x = _affine(g, layer.x, p.scale, p.shift)
    if p.power == 1:
        return g.op("Identity", x, out=layer.outputs[0])
    g.op("Pow", x, float(p.power), out=layer.outputs[0])


@exports("Exp")
def exp(g: Graph, layer: Layer) -> None:
    # base^(shift + scale x) = base^shift e^(ln(base) scale x); base -1 stands for e
    p = layer.message.exp_param
    log_base = 1.0 if p.base == -1 else math.log(p.base)
    power = g.op("Exp", g.scaled(layer.x, log_base * p.scale))
    g.scaled(power, math.exp(log_base * p.shift), out=layer.outputs[0])


@exports("Log")
def log(g: Graph, layer: Layer) -> None:
    p = layer.message.log_param
    log_base = 1.0 if p.base == -1 else math.log(p.base)
    natural = g.op("Log", _affine(g, layer.x, p.scale, p.shift))
    g.scaled(natural, 1 / log_base, out=layer.outputs[0])


@exports("Dropout", "Noise")
def dropout(g: Graph, layer: Layer) -> None:
    if layer.phase == "TRAIN":
        raise layer.fail("is random in phase TRAIN; export the net in phase TEST")
    if layer.type == "Dropout" and not layer.message.dropout_param.scale_train:
        kept = 1 - layer.message.dropout_param.dropout_ratio
        g.scaled(layer.x, kept, out=layer.outputs[0])
    else:
        g.op("Identity", layer.x, out=layer.outputs[0])


@exports("GaussianSampling")
def gaussian_sampling(g: Graph, layer: Layer) -> None:
    if layer.phase == "TRAIN" or layer.message.gaussian_sampling_param.sample_in_test:
        raise layer.fail("draws; export the net in phase TEST, without sample_in_test")
    g.op("Identity", layer.x, out=layer.outputs[0])


def _affine(g: Graph, x: str, scale: float, shift: float) -> str:
    x = g.scaled(x, scale)
    return g.op("Add", x, float(shift)) if shift else x


def _constant(g: Graph, layer: Layer, value: float) -> None:
    like = g.op("Shape", layer.x)
    g.op("Expand", float(value), like, out=layer.outputs[0])
