"""`.caffemodel` files: Caffe's binary NetParameter, of any fork and any age.

Forks gave the same field numbers to different things. Only what all of them agree on is read: a
layer's name, type, bottom, top and blobs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import zip_longest

import numpy as np

from pydl.errors import Error
from pydl.formats import blobproto, messages, wire
from pydl.formats.atomic import atomic_write
from pydl.formats.files import reading
from pydl.formats.weights import MAX_BLOBS, LayerWeights, Weights
from pydl.formats.wire import Chunk, Field, Span
from pydl.prototxt import proto_file
from pydl.prototxt.layer_types import V0_TYPES, V1_TYPES

EXPECTED = "a .caffemodel (Caffe's binary NetParameter)"

_NET_NAME, _NET_V1_LAYER, _NET_LAYER = 1, 2, 100
# Not Caffe's, which skips it: lets a file cut off between two layers be told from a whole one.
_NET_PYDL = 1701
_LAYER_NAME, _LAYER_TYPE, _LAYER_BOTTOM, _LAYER_TOP, _LAYER_BLOB = 1, 2, 3, 4, 7
_V1_V0, _V1_BOTTOM, _V1_TOP, _V1_NAME, _V1_TYPE, _V1_BLOB = 1, 2, 3, 4, 5, 6
_V0_NAME, _V0_TYPE, _V0_BLOB = 1, 2, 50


def load(path: str | os.PathLike) -> Weights:
    """Read the weights of a net; V2, V1 and V0 layers.

    The file is mapped, not read: float32 blobs are read-only views of it, and are valid as long as
    the file is not overwritten in place (pydl's own writers never do that).

    Raises:
        Error: the file is missing, truncated, damaged, or something else.

    >>> import numpy as np
    >>> from pydl.formats import LayerWeights, caffemodel
    >>> ip = LayerWeights("ip", "InnerProduct", blobs=[np.ones((2, 3))])
    >>> caffemodel.save("net.caffemodel", "net", [ip])
    >>> caffemodel.load("net.caffemodel").layers[0].blobs[0].shape
    (2, 3)
    """
    with reading(path, EXPECTED) as view:
        return parse(Span(view, os.fspath(path), EXPECTED))


def parse(span: Span) -> Weights:
    """Read a serialized NetParameter."""
    weights = Weights()
    old_layers: list[LayerWeights] = []
    promised = None
    for field in span.fields():
        if field.number == _NET_LAYER:
            weights.layers.append(_parse_layer(field.message("layer")))
        elif field.number == _NET_V1_LAYER:
            old_layers.append(_parse_v1_layer(field.message("layers")))
        elif field.number == _NET_NAME:
            weights.name = _parse_net_name(field)
        elif field.number == _NET_PYDL:
            promised = _parse_promise(field)
    if old_layers:  # as in Caffe, V1 layers win over V2 layers beside them
        weights.layers = _drop_padding_layers(old_layers)
    if not weights.layers:
        raise span.error(span.start, "no layers")
    if promised is not None and promised != len(weights.layers):
        problem = f"{len(weights.layers)} of {promised} layers (truncated?)"
        raise span.error(span.end, problem)
    return weights


def save(path: str | os.PathLike, name: str, layers: Iterable[LayerWeights]) -> None:
    """Write a net's weights as Caffe does (V2 layers, float32 with `shape`), atomically.

    The layers' settings go with them, as far as Caffe knows them.

    Raises:
        Error: a blob is missing or the file cannot be written.
    """
    layers = list(layers)
    for layer in layers:
        _check(layer, os.fspath(path))
    with atomic_write(path) as file:
        promise = json.dumps({"layers": len(layers)}).encode()
        wire.write(file, [wire.text(_NET_NAME, name), *wire.nested(_NET_PYDL, [promise])])
        for layer in layers:
            wire.write(file, wire.nested(_NET_LAYER, _layer_chunks(layer)))


def _layer_chunks(layer: LayerWeights) -> list[Chunk]:
    chunks: list[Chunk] = [wire.text(_LAYER_NAME, layer.name)]
    if layer.type:
        chunks.append(wire.text(_LAYER_TYPE, layer.type))
    chunks += [wire.text(_LAYER_BOTTOM, bottom) for bottom in layer.bottom]
    chunks += [wire.text(_LAYER_TOP, top) for top in layer.top]
    settings = messages.known_fields(proto_file.get("LayerParameter"), layer.settings)
    chunks += messages.chunks(settings, below=_LAYER_BLOB)
    for blob, diff in zip_longest(layer.blobs, layer.diffs):
        chunks += wire.nested(_LAYER_BLOB, blobproto.chunks(blob, diff))
    return chunks + messages.chunks(settings, above=_LAYER_BLOB)


def _check(layer: LayerWeights, path: str) -> None:
    for i, blob in enumerate(layer.blobs):
        if blob is None:
            problem = "is shared and not here; give this layer the owner's array"
            raise Error(f'{path}: layer "{layer.name}": blob {i} {problem}')
        blobproto.check(blob, f'{path}: layer "{layer.name}" blob {i}')


def _parse_layer(span: Span) -> LayerWeights:
    layer, blobs = LayerWeights(""), []
    for field in span.fields():
        if field.number == _LAYER_NAME:
            layer.name = field.text("layer name")
        elif field.number == _LAYER_TYPE:
            layer.type = field.text("layer type")
        elif field.number == _LAYER_BOTTOM:
            layer.bottom.append(field.text("bottom"))
        elif field.number == _LAYER_TOP:
            layer.top.append(field.text("top"))
        elif field.number == _LAYER_BLOB:
            blobs.append(field.message("blobs"))
    layer.blobs = _parse_blobs(blobs, layer.name)
    return layer


def _parse_v1_layer(span: Span) -> LayerWeights:
    layer, blobs = LayerWeights(""), []
    for field in span.fields():
        if field.number == _V1_V0:
            layer.name, layer.type, more = _parse_v0_layer(field.message("V0 layer"))
            blobs += more
        elif field.number == _V1_NAME:
            layer.name = field.text("layer name")
        elif field.number == _V1_TYPE:
            number = field.integer("layer type")
            layer.type = V1_TYPES.get(number, f"V1LayerType {number}")
        elif field.number == _V1_BOTTOM:
            layer.bottom.append(field.text("bottom"))
        elif field.number == _V1_TOP:
            layer.top.append(field.text("top"))
        elif field.number == _V1_BLOB:
            blobs.append(field.message("blobs"))
    layer.blobs = _parse_blobs(blobs, layer.name)
    return layer


def _parse_v0_layer(span: Span) -> tuple[str, str, list[Span]]:
    name, layer_type, blobs = "", "", []
    for field in span.fields():
        if field.number == _V0_NAME:
            name = field.text("layer name")
        elif field.number == _V0_TYPE:
            layer_type = field.text("layer type")
        elif field.number == _V0_BLOB:
            blobs.append(field.message("blobs"))
    return name, V0_TYPES.get(layer_type, layer_type), blobs


def _parse_blobs(spans: list[Span], layer: str) -> list[np.ndarray]:
    if len(spans) > MAX_BLOBS:
        problem = f'layer "{layer}" has {len(spans)} blobs, more than {MAX_BLOBS}'
        raise spans[0].error(spans[0].start, problem)
    return [blobproto.parse(span, f'layer "{layer}" blob {i}') for i, span in enumerate(spans)]


def _parse_net_name(field: Field) -> str:
    if field.wire_type == wire.VARINT:
        problem = "begins with a number, as .solverstate, mean (.binaryproto) and ONNX files do"
        raise field.error(problem)
    return field.text("net name")


def _parse_promise(field: Field) -> int | None:
    try:
        return json.loads(bytes(field.message("pydl's note").view()))["layers"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None  # another program's use of the number


def _drop_padding_layers(layers: list[LayerWeights]) -> list[LayerWeights]:
    """V0 padded in a layer of its own, which became a parameter of the convolution after it."""
    unpadded = {
        layer.top[0]: layer.bottom[0]
        for layer in layers
        if layer.type == "padding" and layer.top and layer.bottom
    }
    for layer in layers:
        layer.bottom = [unpadded.get(bottom, bottom) for bottom in layer.bottom]
    return [layer for layer in layers if layer.type != "padding"]
