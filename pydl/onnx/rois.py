"""Pooling of regions of interest."""

from __future__ import annotations

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


@exports("ROIPooling")
def roi_pooling(g: Graph, layer: Layer) -> None:
    p = layer.message.roi_pooling_param
    rois = g.reshape(layer.inputs[1], [-1, 5])
    size = [p.pooled_h, p.pooled_w]
    scale = p.spatial_scale
    g.op("MaxRoiPool", layer.x, rois, pooled_shape=size, spatial_scale=scale, out=layer.outputs[0])


@exports("ROIAlign")
def roi_align(g: Graph, layer: Layer) -> None:
    p = layer.message.roi_align_param
    rois = g.reshape(layer.inputs[1], [-1, 5])
    boxes = g.op("Slice", rois, [1], [5], [1])
    items = g.cast(g.reshape(g.op("Slice", rois, [0], [1], [1]), [-1]), "int64")
    g.op(
        "RoiAlign", layer.x, boxes, items, mode="avg", output_height=p.pooled_h,
        output_width=p.pooled_w, sampling_ratio=max(p.sampling_ratio, 0),
        spatial_scale=p.spatial_scale, coordinate_transformation_mode="output_half_pixel",
        out=layer.outputs[0],
    )  # fmt: skip
