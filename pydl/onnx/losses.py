"""Losses and Accuracy, for nets that are exported with their scores."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer, size
from pydl.onnx.table import exports

_LEAST_SOFTMAX = float(np.finfo(np.float32).tiny)  # Caffe's floors under a logarithm
_LEAST_PROBABILITY = 1e-20


@exports("SoftmaxWithLoss")
def softmax_with_loss(g: Graph, layer: Layer) -> None:
    axis = layer.axis(layer.message.softmax_param.axis)
    if layer.bottom_shapes[1] == layer.shape and layer.shape[axis] > 1:
        raise layer.fail("labels that are probabilities are for training; leave the loss out")
    probability = g.op("Softmax", layer.x, axis=axis)
    labels, valid = _labels(g, layer, axis)
    losses = _minus_log(g, _at_labels(g, layer, probability, labels, axis), _LEAST_SOFTMAX)
    p = layer.message.loss_param
    if p.label_smoothing and layer.phase == "TRAIN":
        costs = _minus_log(g, _three_axes(g, layer, probability, axis), _LEAST_SOFTMAX)
        of_all = g.op("ReduceMean", costs, [1], keepdims=1)
        at_labels = g.scaled(losses, 1 - p.label_smoothing)
        losses = g.op("Add", at_labels, g.scaled(of_all, p.label_smoothing))
    if p.weight_by_label_freqs:
        weights = np.array(p.class_weighting, np.float32)
        losses = g.op("Mul", losses, g.op("Gather", weights, labels))
    _sum(g, layer, losses, valid, "VALID", axis)
    if len(layer.outputs) > 1:
        g.op("Identity", probability, out=layer.outputs[1])


@exports("InfogainLoss")
def infogain_loss(g: Graph, layer: Layer) -> None:
    # Each record costs - sum_k H[label, k] log(p_k).
    axis = layer.axis(layer.message.infogain_loss_param.axis)
    probability = g.op("Softmax", layer.x, axis=axis)
    labels, valid = _labels(g, layer, axis)
    classes = layer.shape[axis]
    rows = g.op("Gather", g.reshape(_infogain(g, layer), [classes, classes]), labels, axis=0)
    rows = g.op("Squeeze", rows, [1])  # (outer, inner, K)
    costs = _minus_log(g, _three_axes(g, layer, probability, axis), _LEAST_PROBABILITY)
    weighted = g.op("Mul", rows, g.op("Transpose", costs, perm=[0, 2, 1]))
    losses = g.op("Unsqueeze", g.op("ReduceSum", weighted, [2], keepdims=0), [1])
    _sum(g, layer, losses, valid, "VALID", axis)
    if len(layer.outputs) > 1:
        g.op("Identity", probability, out=layer.outputs[1])


def _infogain(g: Graph, layer: Layer) -> str:
    if len(layer.inputs) > 2:
        return layer.inputs[2]
    from pydl.formats import binaryproto

    matrix = binaryproto.load(layer.message.infogain_loss_param.source)
    return g.constant(np.array(matrix, np.float32), "H")


@exports("MultinomialLogisticLoss")
def multinomial_logistic_loss(g: Graph, layer: Layer) -> None:
    labels = g.cast(g.reshape(layer.inputs[1], [-1, 1]), "int64")
    probability = g.op("GatherElements", g.op("Flatten", layer.x, axis=1), labels, axis=1)
    costs = g.op("ReduceSum", _minus_log(g, probability, _LEAST_PROBABILITY), keepdims=0)
    g.scaled(costs, 1 / layer.shape[0], out=layer.outputs[0])


@exports("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(g: Graph, layer: Layer) -> None:
    # log(1 + e^x) - x t
    x, target = layer.inputs
    losses = g.op("Sub", g.op("Softplus", x), g.op("Mul", x, target))
    p = layer.message.loss_param
    valid = None
    if p.HasField("ignore_label"):
        valid = _differs(g, g.cast(target, "int64"), p.ignore_label)
    _sum(g, layer, losses, valid, "BATCH_SIZE", 1, outer=layer.shape[0])


@exports("EuclideanLoss")
def euclidean_loss(g: Graph, layer: Layer) -> None:
    difference = g.op("Sub", *_flat(g, layer))
    squares = g.op("ReduceSumSquare", difference, keepdims=0)
    g.scaled(squares, 0.5 / layer.shape[0], out=layer.outputs[0])


@exports("HingeLoss")
def hinge_loss(g: Graph, layer: Layer) -> None:
    # max(0, 1 - x) at the label, max(0, 1 + x) elsewhere
    classes = size(layer.shape[1:])
    labels = g.cast(g.reshape(layer.inputs[1], [-1]), "int64")
    signs = g.op("OneHot", labels, classes, np.array([1, -1], np.float32))
    signed = g.op("Mul", signs, g.op("Flatten", layer.x, axis=1))
    margins = g.op("Relu", g.op("Add", signed, 1.0))
    kind = "ReduceSumSquare" if layer.message.hinge_loss_param.norm == "L2" else "ReduceSum"
    total = g.op(kind, margins, keepdims=0)
    g.scaled(total, 1 / layer.shape[0], out=layer.outputs[0])


@exports("ContrastiveLoss")
def contrastive_loss(g: Graph, layer: Layer) -> None:
    # Similar pairs cost their squared distance, others what they lack to the margin.
    p = layer.message.contrastive_loss_param
    difference = g.op("Sub", *_flat(g, layer))
    squares = g.op("ReduceSumSquare", difference, [1], keepdims=0)  # (N)
    distance = squares if p.legacy_version else g.op("Sqrt", squares)
    lack = g.op("Relu", g.op("Sub", float(p.margin), distance))
    lack = lack if p.legacy_version else g.op("Mul", lack, lack)
    similar = g.cast(g.cast(g.reshape(layer.inputs[2], [-1]), "int64"), "bool")
    losses = g.op("ReduceSum", g.op("Where", similar, squares, lack), keepdims=0)
    g.scaled(losses, 0.5 / layer.shape[0], out=layer.outputs[0])


@exports("Accuracy")
def accuracy(g: Graph, layer: Layer) -> None:
    # A class with the label's own score is as good: the label is right if it is among top_k so.
    p = layer.message.accuracy_param
    axis = layer.axis(p.axis)
    labels, valid = _labels(g, layer, axis, p)
    scores = _three_axes(g, layer, layer.x, axis)
    own = g.op("GatherElements", scores, labels, axis=1)
    at_least = g.cast(g.op("GreaterOrEqual", scores, own), "float")
    rank = g.op("ReduceSum", at_least, [1], keepdims=1)  # (outer, 1, inner), from 1
    right = g.cast(g.op("LessOrEqual", rank, float(p.top_k)), "float")
    right = right if valid is None else g.op("Mul", right, valid)
    counted = g.op("Expand", 1.0, g.op("Shape", right)) if valid is None else valid
    _ratio(g, right, counted, None, out=layer.outputs[0])
    if len(layer.outputs) > 1:
        _per_class(g, layer, axis, labels, right, counted)


def _per_class(g: Graph, layer: Layer, axis: int, labels: str, right: str, counted: str) -> None:
    classes = layer.shape[axis]
    flat = g.reshape(labels, [-1])
    member = g.op("OneHot", flat, classes, np.array([0, 1], np.float32))  # (records, classes)
    columns = [g.op("Mul", member, g.reshape(x, [-1, 1])) for x in (right, counted)]
    _ratio(g, *columns, [0], out=layer.outputs[1])


def _ratio(g: Graph, part: str, whole: str, axes: list[int] | None, out: str) -> None:
    """Sum over sum, 0 where there is nothing."""
    over = [] if axes is None else [axes]
    part, whole = (g.op("ReduceSum", x, *over, keepdims=0) for x in (part, whole))
    g.op("Div", part, g.op("Max", whole, 1.0), out=out)


def _flat(g: Graph, layer: Layer) -> list[str]:
    """The first two bottoms as (N, everything)."""
    return [g.op("Flatten", x, axis=1) for x in layer.inputs[:2]]


def _three_axes(g: Graph, layer: Layer, x: str, axis: int) -> str:
    """(outer, classes, inner)"""
    return g.reshape(x, [-1, layer.shape[axis], size(layer.shape[axis + 1 :])])


def _labels(g: Graph, layer: Layer, axis: int, p=None) -> tuple[str, str | None]:
    """Labels as int64 (outer, 1, inner), and 1 for those that count, None if all do.

    Ignored labels may be no class at all: they become 0.
    """
    p = layer.message.loss_param if p is None else p
    labels = g.reshape(layer.inputs[1], [-1, 1, size(layer.shape[axis + 1 :])])
    labels = g.cast(labels, "int64")
    if not p.HasField("ignore_label"):
        return labels, None
    valid = _differs(g, labels, p.ignore_label)
    return g.op("Mul", labels, g.cast(valid, "int64")), valid


def _differs(g: Graph, labels: str, ignored: int) -> str:
    return g.cast(g.op("Not", g.op("Equal", labels, int(ignored))), "float")


def _at_labels(g: Graph, layer: Layer, x: str, labels: str, axis: int) -> str:
    return g.op("GatherElements", _three_axes(g, layer, x, axis), labels, axis=1)


def _minus_log(g: Graph, probability: str, least: float) -> str:
    return g.op("Neg", g.op("Log", g.op("Max", probability, least)))


def _sum(
    g: Graph,
    layer: Layer,
    losses: str,
    valid: str | None,
    default: str,
    axis: int,
    outer: int | None = None,
) -> None:
    """The sum of the losses over the normaliser that loss_param names, never below 1."""
    outer = size(layer.shape[:axis]) if outer is None else outer
    total = size(layer.bottom_shapes[1])
    losses = losses if valid is None else g.op("Mul", losses, valid)
    loss = g.op("ReduceSum", losses, keepdims=0)
    kind = _normalization(layer, default)
    if kind == "VALID" and valid is not None:
        count = g.op("Max", g.op("ReduceSum", valid, keepdims=0), 1.0)
        g.op("Div", loss, count, out=layer.outputs[0])
        return
    count = {"FULL": total, "VALID": total, "BATCH_SIZE": outer, "NONE": 1}[kind]
    g.scaled(loss, 1 / max(1, count), out=layer.outputs[0])


def _normalization(layer: Layer, default: str) -> str:
    p = layer.message.loss_param
    if not p.HasField("normalization") and p.HasField("normalize"):
        return "VALID" if p.normalize else "BATCH_SIZE"
    return p.normalization if p.HasField("normalization") else default
