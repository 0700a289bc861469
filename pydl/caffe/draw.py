"""pycaffe's draw: pictures of nets.

`draw_net` and `draw_net_to_file` draw them with `pydl.drawing`; `get_pydot_graph` is for programs
that go on with the package pydot's graph.
"""

from __future__ import annotations

import os
from typing import Any

from pydl import drawing, prototxt
from pydl.drawing.graph import phase_name, phases
from pydl.drawing.style import colours
from pydl.errors import Error
from pydl.prototxt import Message

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_LABELS = {
    "Data": lambda layer: f"Batch {layer.data_param.batch_size}",
    "Convolution": lambda layer: str(layer.convolution_param.num_output),
    "Deconvolution": lambda layer: str(layer.convolution_param.num_output),
    "InnerProduct": lambda layer: str(layer.inner_product_param.num_output),
}
_WINDOWS = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "Pooling": "pooling_param",
}


def draw_net_to_file(
    caffe_net: Any,
    filename: str | os.PathLike,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Writes the picture of a NetParameter; the suffix says the format (svg, png, pdf, dot).

    Args:
        rankdir: where the net runs to: LR, RL, TB or BT.
        phase: TRAIN or TEST: only its layers; None: all.
        display_lrm: show the learning-rate multipliers.
    """
    drawing.save(caffe_net, filename, rankdir=rankdir, phase=phase, lr_mult=display_lrm)


def draw_net(
    caffe_net: Any,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """The picture as the content of a file; see `draw_net_to_file`."""
    return drawing.render(caffe_net, ext, rankdir=rankdir, phase=phase, lr_mult=display_lrm)


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """A ``pydot.Dot`` with a node for each layer and each blob. Raises Error without pydot."""
    try:
        import pydot
    except ImportError as error:
        raise Error(
            "get_pydot_graph needs the package pydot: pip install pydot; draw_net and "
            "draw_net_to_file do not"
        ) from error
    net = prototxt.as_message(caffe_net)
    graph = pydot.Dot(f'"{net.name or "Net"}"', graph_type="digraph", rankdir=f'"{rankdir}"')
    blobs, edges = {}, []
    for layer in net.layer:
        if phase is not None and phase_name(phase) not in phases(layer):
            continue
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        style = NEURON_LAYER_STYLE if in_place else _style(layer.type)
        node = f"{layer.name}_{layer.type}"
        label = get_layer_label(layer, rankdir, display_lrm=display_lrm)
        graph.add_node(pydot.Node(node, label=f'"{label}"', **style))
        for blob in [*layer.bottom, *layer.top]:
            blobs[blob] = pydot.Node(f"{blob}_blob", label=f'"{blob}"', **BLOB_STYLE)
        edges += [(f"{blob}_blob", node, "") for blob in layer.bottom]
        label = get_edge_label(layer) if label_edges else ""
        edges += [(node, f"{blob}_blob", label) for blob in layer.top]
    for node in blobs.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(source, target, label=f'"{label}"'))
    return graph


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the pooling methods by number."""
    return {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}


def get_edge_label(layer: Any) -> str:
    """The label of the edges to a layer's tops: batch size or number of outputs, or ""."""
    layer = _as_layer(layer)
    return _LABELS[layer.type](layer) if layer.type in _LABELS else ""


def get_layer_lr_mult(layer: Any) -> str:
    """The learning-rate multipliers of a layer with weights and biases, or ""."""
    layer = _as_layer(layer)
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct") or not layer.param:
        return ""
    return f" lr mult: {', '.join(f'{spec.lr_mult:g}' for spec in layer.param[:2])}"


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """A layer's name, type and window; in lines where the net runs sideways."""
    layer = _as_layer(layer)
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    parts = [layer.name, f"({layer.type})"]
    if layer.type in _WINDOWS:
        window = getattr(layer, _WINDOWS[layer.type])
        if layer.type == "Pooling":
            parts[1] = f"({window.pool} {layer.type})"
        sizes = (_first(window, "kernel_size", 1), _first(window, "stride", 1))
        parts += [f"kernel size: {sizes[0]}", f"stride: {sizes[1]}"]
        parts.append(f"pad: {_first(window, 'pad', 0)}")
    if display_lrm and get_layer_lr_mult(layer):
        parts.append(get_layer_lr_mult(layer).strip())
    return separator.join(parts)


def choose_color_by_layertype(layertype: str) -> str:
    """The colour that a layer of this type is filled with."""
    return colours(layertype)[0]


def _style(layer_type: str) -> dict[str, str]:
    return {**LAYER_STYLE_DEFAULT, "fillcolor": f'"{choose_color_by_layertype(layer_type)}"'}


def _first(window: Message, name: str, default: int) -> int:
    """A size given once, as h and w, or not at all."""
    given = getattr(window, name)
    values = [given] if isinstance(given, int) else list(given)
    height = f"{name.removesuffix('_size')}_h"
    if window.HasField(height):
        return getattr(window, height)
    return values[0] if values and values[0] else default


def _as_layer(layer: Any) -> Message:
    """pydl's message of a LayerParameter of either kind."""
    if type(layer) is Message:
        return layer
    return prototxt.parse(f"layer {{ {layer} }}", filename="LayerParameter").layer[0]
