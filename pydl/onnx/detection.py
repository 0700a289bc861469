"""Layers of detectors, in SSD's form."""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports

_COLUMNS = 7  # of a detection: image, label, score, x1, y1, x2, y2


@exports("PriorBox")
def prior_box(g: Graph, layer: Layer) -> None:
    """A constant: the boxes depend on nothing but shapes."""
    g.op("Identity", _prior_values(layer), out=layer.outputs[0])


def _prior_values(layer: Layer) -> np.ndarray:
    from pydl.net import Net
    from pydl.prototxt import net_spec, new

    net = new("NetParameter")
    for name, shape in zip(("features", "image"), layer.bottom_shapes, strict=True):
        dims = {"shape": [{"dim": list(shape)}]}
        net.layer.add(name=name, type="Input", top=[name], input_param=dims)
    own = net.layer.add(name=layer.name, type="PriorBox", bottom=["features", "image"])
    own.top.append("prior")
    own.prior_box_param.CopyFrom(layer.message.prior_box_param)
    return np.array(Net(net_spec(net)).forward()["prior"], np.float32)


@exports("SmoothL1Loss")
def smooth_l1_loss(g: Graph, layer: Layer) -> None:
    a, b, *weights = layer.inputs
    square = layer.message.smooth_l1_loss_param.sigma**2
    difference = g.op("Sub", a, b)
    if weights:
        difference = g.op("Mul", difference, weights[0])
    size = g.op("Abs", difference)
    small = g.scaled(g.op("Mul", difference, difference), square / 2)
    cost = g.op("Where", g.op("Less", size, 1 / square), small, g.op("Sub", size, 0.5 / square))
    if len(weights) > 1:
        cost = g.op("Mul", cost, weights[1])
    total = g.op("ReduceSum", cost, keepdims=0)
    g.scaled(total, 1 / layer.shape[0], out=layer.outputs[0])


@exports("DetectionOutput")
def detection_output(g: Graph, layer: Layer) -> None:
    """By way of NonMaxSuppression. Where nothing is found there are no rows."""
    p = layer.message.detection_output_param
    images, keep = layer.shape[0], p.keep_top_k
    if not p.share_location:
        raise layer.fail("share_location false has no ONNX form")
    if p.nms_param.eta < 1:
        raise layer.fail("an eta below 1 has no ONNX form")
    if keep >= 0 and images != 1:
        raise layer.fail("keep_top_k has an ONNX form only for batches of one image")
    boxes = _decoded(g, layer)
    labels = [c for c in range(p.num_classes) if c != p.background_label_id]
    scores = g.reshape(layer.inputs[1], [images, -1, p.num_classes])
    scores = g.op("Transpose", g.op("Gather", scores, labels, axis=2), perm=[0, 2, 1])  # (N, C, P)
    least = p.confidence_threshold if p.HasField("confidence_threshold") else -3.0e38
    count = layer.bottom_shapes[2][2] // 4
    counted = scores
    if p.nms_param.HasField("top_k") and 0 <= p.nms_param.top_k < count:
        counted = _best_of_each(g, scores, p.nms_param.top_k)
    found = g.op(
        "NonMaxSuppression", boxes, counted, [count], np.float32([p.nms_param.nms_threshold]),
        np.float32([least]),
    )  # fmt: skip
    g.any_length = True
    if keep >= 0:
        found = _best_of_all(g, scores, found, keep)
    image, kind, place = (g.op("Gather", found, [k], axis=1) for k in range(3))
    score = g.reshape(g.op("GatherND", scores, found), [-1, 1])
    corners = g.op("GatherND", boxes, g.op("Concat", image, place, axis=1))
    label = g.cast(g.op("Gather", labels, kind, axis=0), "float")
    rows = g.op("Concat", g.cast(image, "float"), label, score, corners, axis=1)
    g.reshape(rows, [1, 1, -1, _COLUMNS], out=layer.outputs[0])


def _decoded(g: Graph, layer: Layer) -> str:
    """(N, P, 4): the corners of the boxes that are predicted."""
    p = layer.message.detection_output_param
    priors = g.reshape(layer.inputs[2], [2, -1, 4])
    box, variance = (g.op("Gather", priors, [k], axis=0) for k in (0, 1))  # (1, P, 4)
    codes = g.reshape(layer.inputs[0], [layer.shape[0], -1, 4])
    if not p.variance_encoded_in_target:
        codes = g.op("Mul", codes, variance)
    first, last = (g.op("Gather", box, k, axis=2) for k in ([0, 1], [2, 3]))  # (1, P, 2)
    size = g.op("Sub", last, first)
    if p.code_type == "CORNER":
        return g.op("Add", box, codes)
    if p.code_type == "CORNER_SIZE":
        return g.op("Add", box, g.op("Mul", codes, g.op("Concat", size, size, axis=2)))
    shift, growth = (g.op("Gather", codes, k, axis=2) for k in ([0, 1], [2, 3]))
    center = g.op("Add", g.scaled(g.op("Add", first, last), 0.5), g.op("Mul", shift, size))
    half = g.scaled(g.op("Mul", g.op("Exp", growth), size), 0.5)
    return g.op("Concat", g.op("Sub", center, half), g.op("Add", center, half), axis=2)


def _best_of_each(g: Graph, scores: str, most: int) -> str:
    """The scores, but only the best of each class; the others are too small to count."""
    best, _ = g.ops("TopK", scores, [most], outs=[None, None], axis=2)
    worst = g.op("Gather", best, [most - 1], axis=2)
    return g.op("Where", g.op("Less", scores, worst), -3.4e38, scores)


def _best_of_all(g: Graph, scores: str, found: str, most: int) -> str:
    """At most so many rows of `found`, in the order that they have."""
    score = g.op("GatherND", scores, found)
    count = g.op("Min", g.op("Shape", score), [most])
    _, chosen = g.ops("TopK", score, count, outs=[None, None], axis=0)
    order, _ = g.ops("TopK", chosen, count, outs=[None, None], axis=0, largest=0)
    return g.op("Gather", found, order, axis=0)
