"""`to_model` and `save`: a net as an ONNX model, in memory or as a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats.atomic import atomic_write
from pydl.net import Net
from pydl.onnx.graph import Graph, import_onnx
from pydl.onnx.layer import Layer, Shape, net_layers
from pydl.onnx.table import REFUSED, exporters
from pydl.prototxt.names import nearest

OPSET, _IR_VERSION = 18, 8
LARGEST_FILE = 2**31 - 2**20  # protobuf's limit; weights beyond it go to a file of their own
_INLINE, _ALIGNMENT = 1024, 4096  # bytes: smaller arrays stay in the model; those outside begin so


def to_model(net: Net, batch: int | None = None) -> Any:
    """A net and its weights as an ``onnx.ModelProto``.

    Args:
        net: usually one for phase TEST. Its activations are lost.
        batch: fixes the size of the first axis. By default that axis is free ("N") if the model
            is the same for all sizes, and else as the net has it.

    Raises:
        Error: a layer that ONNX cannot express, naming it; or the package onnx is missing.

    Inputs and outputs have the names and shapes of the net's blobs, and weights are named
    ``<layer>/<i>``. Tops of data layers become inputs.

    >>> model = to_model(pydl.Net("lenet_deploy.prototxt", "lenet.caffemodel"))
    >>> [value.name for value in model.graph.input]
    ['data']
    """
    graph, outputs = _export(net, batch)
    tensors = [_tensor(graph, name) for name in graph.constants]
    return _model(net, graph, tensors, outputs)


def save(net: Net, path: str | os.PathLike, batch: int | None = None) -> None:
    """Writes a net as an .onnx file; arguments and errors as `to_model`.

    Weights of more than 2 GB go to a second file, ``<path>.data``, that stays beside the first.
    """
    path = Path(path)
    graph, outputs = _export(net, batch)
    if sum(array.nbytes for array in graph.constants.values()) > LARGEST_FILE:
        tensors = _write_data(graph, path.with_name(f"{path.name}.data"))
    else:
        tensors = [_tensor(graph, name) for name in graph.constants]
    with atomic_write(path) as file:
        file.write(_model(net, graph, tensors, outputs).SerializeToString())


# ---- layers ----
def _export(net: Net, batch: int | None) -> tuple[Graph, dict[str, list]]:
    """The graph, with the model's outputs and their shapes."""
    import_onnx()
    before = {name: tuple(net.blobs[name].shape) for name in net.inputs}
    try:
        if batch is not None:
            _set_batch(net, batch)
            return _fixed(net)
        graph, outputs = _fixed(net)
        return _free(net, before, graph, outputs) or (graph, outputs)
    finally:
        _set_shapes(net, before)


def _fixed(net: Net) -> tuple[Graph, dict[str, list]]:
    layers = net_layers(net._core)
    graph = _write_layers(layers)
    shapes = {
        graph.values[top]: list(shape)
        for layer in layers
        for top, shape in zip(layer.tops, layer.top_shapes, strict=True)
    }
    values = [graph.values[name] for name in net.outputs]
    outputs = {value: shapes[value] for value in values if value not in graph.inputs}
    if not outputs:
        raise Error(f'net "{net.name}" has no output that a layer computes: nothing to export')
    if graph.any_length:
        outputs = {
            value: [None, *shape[1:]] if shape else shape for value, shape in outputs.items()
        }
    return graph, outputs


def _free(
    net: Net, shapes: dict[str, Shape], graph: Graph, outputs: dict[str, list]
) -> tuple[Graph, dict[str, list]] | None:
    """With a free first axis, if a batch that is larger by one has the same graph."""
    if not shapes or not all(shapes.values()) or set(graph.inputs) != set(shapes):
        return None
    try:
        _set_shapes(net, {name: (shape[0] + 1, *shape[1:]) for name, shape in shapes.items()})
        larger, larger_outputs = _fixed(net)
    except Error:
        return None  # some layer has a fixed size
    if not _same(graph, larger):
        return None
    graph.inputs = {name: ("N", *shape[1:]) for name, shape in shapes.items()}
    return graph, {
        name: [
            a if a == b else "N" if axis == 0 else None
            for axis, (a, b) in enumerate(zip(shape, larger_outputs[name], strict=True))
        ]
        for name, shape in outputs.items()
    }


def _same(a: Graph, b: Graph) -> bool:
    return (
        a.nodes == b.nodes
        and a.constants.keys() == b.constants.keys()
        and all(np.array_equal(a.constants[name], b.constants[name]) for name in a.constants)
    )


def _set_batch(net: Net, batch: int) -> None:
    if not net.inputs:
        raise Error(
            f'net "{net.name}" reads its own data: the batch size is that of its data layers'
        )
    shapes = {name: tuple(net.blobs[name].shape) for name in net.inputs}
    _set_shapes(net, {name: (batch, *shape[1:]) for name, shape in shapes.items() if shape})


def _set_shapes(net: Net, shapes: dict[str, Shape]) -> None:
    inputs = {name: net._core.input_blob(name) for name in shapes}
    if any(tuple(blob.shape) != shapes[name] for name, blob in inputs.items()):
        for name, blob in inputs.items():
            blob.reshape(*shapes[name])
        net.reshape()


def _write_layers(layers: Sequence[Layer]) -> Graph:
    graph, known = Graph(layers), exporters()
    for layer in layers:
        if layer.type in REFUSED:
            raise layer.fail(f"ONNX has no form for it: {REFUSED[layer.type]}")
        if layer.type not in known:
            close = nearest(layer.type, known)
            hint = f"; the nearest type that has is {close}" if close else ""
            raise layer.fail(f"pydl knows no ONNX form for this type{hint}")
        graph.begin(layer)
        known[layer.type](graph, layer)
    return graph


# ---- the model and its files ----
def _model(net: Net, graph: Graph, tensors: list, outputs: dict[str, list]) -> Any:
    import pydl

    make, kind = graph.onnx.helper, graph.onnx.TensorProto.FLOAT
    infos = [
        [make.make_tensor_value_info(name, kind, shape) for name, shape in values.items()]
        for values in (graph.inputs, outputs)
    ]
    return make.make_model(
        make.make_graph(graph.nodes, net.name or "net", *infos, initializer=tensors),
        opset_imports=[make.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="pydl",
        producer_version=pydl.__version__,
    )


def _tensor(graph: Graph, name: str) -> Any:
    return graph.onnx.numpy_helper.from_array(graph.constants[name], name)


def _write_data(graph: Graph, path: Path) -> list:
    """Writes the large constants to a file; returns all, the large ones as places in it."""
    tensors = []
    with atomic_write(path) as file:
        for name, array in graph.constants.items():
            if array.nbytes < _INLINE:
                tensors.append(_tensor(graph, name))
                continue
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            tensors.append(_place(graph, name, path.name, file.tell()))
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return tensors


def _place(graph: Graph, name: str, file: str, offset: int) -> Any:
    proto, array = graph.onnx.TensorProto, graph.constants[name]
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = proto(name=name, dims=array.shape, data_type=kind, data_location=proto.EXTERNAL)
    for key, value in {"location": file, "offset": offset, "length": array.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
