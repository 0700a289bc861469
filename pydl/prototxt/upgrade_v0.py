"""Nets of Caffe's first form, ``layers { layer { type: "conv" ... } bottom: "data" ... }``.

All parameters of a layer stood beside its name, and convolutions were padded by a layer of their
own. `layers` gives the V1 form, which `pydl.prototxt.upgrade` takes further.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from pydl.prototxt import edit, proto_file
from pydl.prototxt.bind import UNKNOWN
from pydl.prototxt.layer_types import V0_TYPES, V1_TYPES
from pydl.prototxt.text import NAME, NUMBER, Field, Node, Scalar
from pydl.prototxt.values import not_one_of

_PADDING = "padding"
_SAME = ("name", "blobs", "blobs_lr", "weight_decay")

_CONVOLUTION = {"conv": "convolution_param"}
_WEIGHTED = {**_CONVOLUTION, "innerproduct": "inner_product_param"}
_WINDOWED = {**_CONVOLUTION, "pool": "pooling_param"}
_POOLING = {"pool": "pooling_param"}
_LRN = {"lrn": "lrn_param"}
_IMAGES = {"images": "image_data_param"}
_WINDOWS = {"window_data": "window_data_param"}
_DATABASES = {"data": "data_param", **_IMAGES}
_BATCHES = {**_DATABASES, **_WINDOWS, "hdf5_data": "hdf5_data_param"}
_TRANSFORM = dict.fromkeys(V0_TYPES, "transform_param")

# Field -> its name in V1, and the message it is in for each type of layer that knows it.
_FIELDS: dict[str, tuple[str, Mapping[str, str]]] = {
    "num_output": ("num_output", _WEIGHTED),
    "biasterm": ("bias_term", _WEIGHTED),
    "weight_filler": ("weight_filler", _WEIGHTED),
    "bias_filler": ("bias_filler", _WEIGHTED),
    "pad": ("pad", _WINDOWED),
    "kernelsize": ("kernel_size", _WINDOWED),
    "group": ("group", _CONVOLUTION),
    "stride": ("stride", _WINDOWED),
    "pool": ("pool", _POOLING),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", _LRN),
    "alpha": ("alpha", _LRN),
    "beta": ("beta", _LRN),
    "k": ("k", _LRN),
    "source": ("source", {**_BATCHES, "infogain_loss": "infogain_loss_param"}),
    "scale": ("scale", _TRANSFORM),
    "meanfile": ("mean_file", _TRANSFORM),
    "batchsize": ("batch_size", _BATCHES),
    "cropsize": ("crop_size", _TRANSFORM),
    "mirror": ("mirror", _TRANSFORM),
    "rand_skip": ("rand_skip", _DATABASES),
    "det_fg_threshold": ("fg_threshold", _WINDOWS),
    "det_bg_threshold": ("bg_threshold", _WINDOWS),
    "det_fg_fraction": ("fg_fraction", _WINDOWS),
    "det_context_pad": ("context_pad", _WINDOWS),
    "det_crop_mode": ("crop_mode", _WINDOWS),
    "new_num": ("", {}),  # of a Reshape layer that never was
    "new_channels": ("", {}),
    "new_height": ("new_height", _IMAGES),
    "new_width": ("new_width", _IMAGES),
    "shuffle_images": ("shuffle", _IMAGES),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
}


def layers(old: Iterable[Node], inputs: Iterable[str]) -> list[Node]:
    """V0 ``layers`` in V1's form, without the padding layers; V1 layers among them stay.

    `inputs` are the net's input blobs. As in Caffe, what a layer's type has no use for is dropped,
    with a warning.
    """
    return [_to_v1(layer) for layer in _without_padding(old, inputs)]


def _without_padding(old: Iterable[Node], inputs: Iterable[str]) -> list[Node]:
    """Padding moves into the convolution or pooling layer that reads what was padded."""
    writers: dict[str, Node | None] = dict.fromkeys(inputs)  # blob -> the layer that wrote it last
    kept = []
    for layer in old:
        for bottom in edit.named(layer, "bottom"):
            name = edit.text(bottom)
            if name not in writers:
                bottom.fail(f'unknown bottom blob "{name}": no input and no layer above has it')
            writer = writers[name]
            if writer is not None and _type(writer) == _PADDING:
                _take_over(layer, writer)
        for top in edit.named(layer, "top"):
            writers[edit.text(top)] = layer
        if _type(layer) != _PADDING:
            kept.append(layer)
    return kept


def _take_over(layer: Node, padding: Node) -> None:
    """The layer pads as the padding layer did, and reads what that read."""
    if _type(layer) not in _WINDOWED:
        layer.fail(f'a padding layer goes before conv and pool layers, not "{_type(layer)}"')
    blobs = [*edit.named(layer, "bottom"), *edit.named(padding, "bottom")]
    if len(blobs) != 2 or len(edit.named(padding, "top")) != 1:
        layer.fail("this layer and the padding layer before it must have one bottom and one top")
    none = edit.field(padding, "pad", Scalar(padding.source, padding.offset, NUMBER, "0"))
    pads = edit.named(edit.inner(padding, "layer"), "pad")
    edit.move(pads[-1] if pads else none, edit.inner(layer, "layer"), "pad")
    edit.move(blobs[1], layer, "bottom")


def _type(layer: Node) -> str:
    settings = edit.named(layer, "layer")
    return edit.only_text(edit.message(settings[0]), "type") if settings else ""


def _to_v1(layer: Node) -> Node:
    if not edit.named(layer, "layer"):
        return layer
    settings, kind = edit.message(edit.take(layer, "layer")[0]), ""
    made = Node(layer.source, layer.offset)
    for item in edit.named(settings, "type"):
        kind = edit.text(item)
        made.fields.append(edit.field(item, "type", _v1_type(item, kind)))
    for item in edit.single_values(settings):
        if item.name in _SAME:
            made.fields.append(item)
        elif item.name not in ("type", UNKNOWN):
            _place(item, kind, made)
    made.fields += layer.fields
    return made


def _v1_type(item: Field, kind: str) -> Scalar:
    if kind not in V0_TYPES:
        item.fail(f"type: {not_one_of(kind, V0_TYPES)}")
    numbers = proto_file.definitions()[1]["V1LayerParameter"]["enums"]["LayerType"]
    names = {V1_TYPES[number]: name for name, number in numbers.items()}
    return Scalar(item.source, item.offset, NAME, names[V0_TYPES[kind]])


def _place(item: Field, kind: str, layer: Node) -> None:
    """Puts a parameter into the message where V1 has it."""
    if item.name == "hdf5_output_param" and kind == "hdf5_output":
        layer.fields.append(item)
    elif kind in _FIELDS.get(item.name, ("", {}))[1]:
        name, messages = _FIELDS[item.name]
        target = edit.inner(layer, messages[kind])
        target.fields.append(edit.field(item, name, item.value))
    else:
        known = proto_file.get("V0LayerParameter")
        if item.name not in known.fields:
            item.fail(known.unknown(item.name, "layer"))
        warnings.warn(
            f"{item.source.location(item.offset)}: {item.name} means nothing to a layer of type "
            f'"{kind}" and is dropped',
            stacklevel=2,
        )
