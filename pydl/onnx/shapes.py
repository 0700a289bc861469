"""Layers that move, cut and join values without changing any."""

from __future__ import annotations

import numpy as np

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


@exports("Permute")
def permute(g: Graph, layer: Layer) -> None:
    named = list(layer.message.permute_param.order)
    rest = [axis for axis in range(len(layer.shape)) if axis not in named]
    g.op("Transpose", layer.x, perm=named + rest, out=layer.outputs[0])


@exports("ShuffleChannel")
def shuffle_channel(g: Graph, layer: Layer) -> None:
    group, channels = layer.message.shuffle_channel_param.group, layer.shape[1]
    groups = g.reshape(layer.x, [0, group, channels // group, -1])
    turned = g.op("Transpose", groups, perm=[0, 2, 1, 3])
    g.reshape(turned, [0, *layer.shape[1:]], out=layer.outputs[0])


@exports("Reorg")
def reorg(g: Graph, layer: Layer) -> None:
    # Between (C / s^2, H s, W s) and (s, s, C / s^2, H, W), whatever shape these values have.
    p, top = layer.message.reorg_param, list(layer.top_shapes[0][1:])
    s = p.stride
    if p.reverse:
        channels, height, width = layer.shape[1:]
        split, perm = [s, s, channels // s**2, height, width], [0, 3, 4, 1, 5, 2]
    else:
        channels, height, width = layer.shape[1] // s**2, layer.shape[2], layer.shape[3]
        split, perm = [channels, height, s, width, s], [0, 3, 5, 1, 2, 4]
    turned = g.op("Transpose", g.reshape(layer.x, [0, *split]), perm=perm)
    g.reshape(turned, [0, *top], out=layer.outputs[0])


@exports("Interp")
def interp(g: Graph, layer: Layer) -> None:
    p, x, size = layer.message.interp_param, layer.x, layer.shape[2:]
    if p.pad_beg or p.pad_end:
        ends = [n + p.pad_end for n in size]
        x = g.op("Slice", x, [-p.pad_beg] * 2, ends, [2, 3])
        size = tuple(n + p.pad_beg + p.pad_end for n in size)
    _between_corners(g, x, size, layer.top_shapes[0][2:], out=layer.outputs[0])


def _between_corners(
    g: Graph, x: str, size: tuple[int, ...], wanted: tuple[int, ...], out: str | None = None
) -> str:
    # A scale is rounded down to a size.
    scales = [(new + 0.5) / old for new, old in zip(wanted, size, strict=True)]
    return g.op(
        "Resize", x, "", np.array([1, 1, *scales], np.float32), mode="linear",
        coordinate_transformation_mode="align_corners", out=out,
    )  # fmt: skip


@exports("Accum")
def accum(g: Graph, layer: Layer) -> None:
    count = len(layer.inputs) - layer.message.accum_param.have_reference
    wanted = tuple(layer.top_shapes[0][2:])
    parts = [
        x if tuple(shape[2:]) == wanted else _between_corners(g, x, shape[2:], wanted)
        for x, shape in zip(layer.inputs[:count], layer.bottom_shapes[:count], strict=True)
    ]
    g.op("Concat", *parts, axis=1, out=layer.outputs[0])


@exports("Upsample")
def upsample(g: Graph, layer: Layer) -> None:
    _, channels, height, width = layer.top_shapes[0]
    values, places = (g.reshape(x, [0, channels, -1]) for x in layer.inputs)
    batch = g.op("Slice", g.op("Shape", layer.x), [0], [1], [0])
    empty = g.op("Expand", 0.0, g.op("Concat", batch, [channels, height * width], axis=0))
    planes = g.op("ScatterElements", empty, g.cast(places, "int64"), values, axis=2)
    g.reshape(planes, [0, channels, height, width], out=layer.outputs[0])


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
