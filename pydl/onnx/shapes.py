"""Layers that move, cut and join values without changing any."""

from __future__ import annotations

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports
from pydl.prototxt.message import Message


@exports("Split")
def split(g: Graph, layer: Layer) -> None:
    for out in layer.outputs:
        g.op("Identity", layer.x, out=out)


@exports("Silence")
def silence(g: Graph, layer: Layer) -> None:
    pass


def _joined_axis(layer: Layer, p: Message, old_name: str) -> int:
    return layer.axis(getattr(p, old_name if p.HasField(old_name) else "axis"))


@exports("Concat")
def concat(g: Graph, layer: Layer) -> None:
    axis = _joined_axis(layer, layer.message.concat_param, "concat_dim")
    g.op("Concat", *layer.inputs, axis=axis, out=layer.outputs[0])


@exports("Slice")
def slice_(g: Graph, layer: Layer) -> None:
    axis = _joined_axis(layer, layer.message.slice_param, "slice_dim")
    sizes = [shape[axis] for shape in layer.top_shapes]
    g.ops("Split", layer.x, sizes, axis=axis, outs=layer.outputs)


@exports("Flatten")
def flatten(g: Graph, layer: Layer) -> None:
    p = layer.message.flatten_param
    axis, end = layer.axis(p.axis), layer.axis(p.end_axis)
    g.reshape(layer.x, [0] * axis + [-1, *layer.shape[end + 1 :]], out=layer.outputs[0])


@exports("Reshape")
def reshape(g: Graph, layer: Layer) -> None:
    p, top = layer.message.reshape_param, layer.top_shapes[0]
    # With n axes there are n + 1 places for an axis; num_axes -1 takes all from there on.
    begin = p.axis if p.axis >= 0 else len(layer.shape) + p.axis + 1
    asked = list(p.shape.dim)
    # Axes in front keep their size, as does an asked-for 0 (its place is the same in both shapes).
    middle = [0 if d == 0 else -1 if d == -1 else d for d in asked]
    target = [0] * begin + middle + list(top[begin + len(asked) :])
    g.reshape(layer.x, target, out=layer.outputs[0])


@exports("Crop")
def crop(g: Graph, layer: Layer) -> None:
    # The second bottom only lends its shape.
    p = layer.message.crop_param
    axis = layer.axis(p.axis)
    axes = list(range(axis, len(layer.shape)))
    offsets = list(p.offset) or [0]
    starts = offsets * len(axes) if len(offsets) == 1 else offsets
    ends = [start + layer.bottom_shapes[1][i] for start, i in zip(starts, axes, strict=True)]
    g.op("Slice", layer.x, starts, ends, axes, out=layer.outputs[0])


@exports("Tile")
def tile(g: Graph, layer: Layer) -> None:
    p = layer.message.tile_param
    repeats = [1] * len(layer.shape)
    repeats[layer.axis(p.axis)] = p.tiles
    g.op("Tile", layer.x, repeats, out=layer.outputs[0])
