"""Nets and solvers written for older versions of Caffe, brought up to date as Caffe's tools do it.

What is rewritten is the tree of a text, before it is checked, so that places in the file are kept
and fields that only a fork knows pass through. A net may be of four ages:

- V0: ``layers { layer { type: "conv" ... } bottom: ... }``, see `pydl.prototxt.upgrade_v0`;
- V1: ``layers { type: CONVOLUTION blobs_lr: 1 ... }``;
- V2 with ``input`` and ``input_dim`` or ``input_shape``, or BatchNorm with three ``param``;
- V2 as it is today.

All functions change the trees they are given.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydl.prototxt import edit, proto_file, upgrade_v0
from pydl.prototxt.bind import UNKNOWN, bind, tree_of
from pydl.prototxt.layer_types import V1_TYPES
from pydl.prototxt.literals import parse_int
from pydl.prototxt.message import Message
from pydl.prototxt.schema import declarations
from pydl.prototxt.text import NAME, NUMBER, STRING, Field, Node, Scalar
from pydl.prototxt.values import not_one_of

# V1 gave what ParamSpecs say in lists of their own.
_PARAM_SPEC = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}
_DATA_PARAMS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "WindowData": "window_data_param",
}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")
_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
_NETS_OF_SOLVERS = ("net_param", "train_net_param", "test_net_param")
_AXES = 4  # of an input that input_dim describes
_BATCH_NORM, _STATISTICS = "BatchNorm", 3  # its blobs


def upgrade_net(net: Message) -> Message:
    """A NetParameter of today with the meaning of `net`, which may be of any age.

    >>> from pydl.prototxt import new
    >>> net = new("NetParameter", input=["data"], input_dim=[1, 3, 8, 8])
    >>> upgrade_net(net).layer[0].input_param.shape[0].dim
    [1, 3, 8, 8]
    """
    return bind(net_tree(tree_of(net)), net._schema) if net_is_old(net) else net


def upgrade_solver(solver: Message) -> Message:
    """A SolverParameter of today: with ``type``, not ``solver_type``.

    >>> from pydl.prototxt import new
    >>> upgrade_solver(new("SolverParameter", solver_type="ADAGRAD")).type
    'AdaGrad'
    """
    return bind(solver_tree(tree_of(solver)), solver._schema)


def net_is_old(net: Message) -> bool:
    """Whether `upgrade_net` has anything to do."""
    return bool(net.input or getattr(net, "layers", ())) or any(
        layer.type == _BATCH_NORM and len(layer.param) == _STATISTICS for layer in net.layer
    )


def tree_is_old(tree: Node) -> bool:
    """Whether the tree of a net's or a solver's text has anything to upgrade."""
    return any(
        name in ("layers", "input", "solver_type")
        or (name == "layer" and _froze_statistics(value))
        or (name in _NETS_OF_SOLVERS and isinstance(value, Node) and tree_is_old(value))
        for name, value in tree.items()
    )


def net_tree(net: Node) -> Node:
    """Upgrades the tree of a NetParameter, whatever its age; returns it.

    Raises Error ``file:line:column: ...`` for what cannot be upgraded.
    """
    if edit.named(net, "layers"):
        _upgrade_layers(net)
    if edit.named(net, "input"):
        _upgrade_input(net)
    for name, layer in net.items():
        if name == "layer" and _froze_statistics(layer):
            _freeze_statistics(layer)
    return net


def solver_tree(solver: Node) -> Node:
    """Upgrades the tree of a SolverParameter and of the nets in it; returns it."""
    for name in _NETS_OF_SOLVERS:
        for item in edit.named(solver, name):
            net_tree(edit.message(item))
    for item in edit.named(solver, "solver_type"):
        _upgrade_solver_type(solver, item)
    return solver


def _upgrade_solver_type(solver: Node, item: Field) -> None:
    current = edit.named(solver, "type")
    if current:
        item.fail(
            f"the solver has both the old solver_type: {item.value} and type: {current[0].value}; "
            "keep type"
        )
    name = _enum_name(item, _enum("SolverParameter", "SolverType"))
    edit.take(solver, "solver_type")
    solver.fields.append(edit.field(item, "type", edit.quoted(item, _SOLVER_TYPES[name])))


# ---- layers { } ----


def _upgrade_layers(net: Node) -> None:
    for item in edit.named(net, "layer"):
        item.fail('the net has both "layers", the old form, and "layer"; use one of them')
    layers = [edit.message(item) for item in edit.take(net, "layers")]
    if any(edit.named(layer, "layer") for layer in layers):
        inputs = [edit.text(item) for item in edit.named(net, "input")]
        layers = upgrade_v0.layers(layers, inputs)
    layers = [_upgrade_layer(layer) for layer in layers]
    sources = [layer for layer in layers if edit.only_text(layer, "type") in _DATA_PARAMS]
    if any(_has_transforms(layer) for layer in sources):
        for layer in sources:  # all of them, as in Caffe, where this leaves empty messages
            _move_transforms(layer)
    net.fields += [edit.field(layer, "layer", layer) for layer in layers]


def _upgrade_layer(old: Node) -> Node:
    """A V1 layer in today's form."""
    layer = Node(old.source, old.offset)
    specs: list[Node] = []
    seen = dict.fromkeys(_PARAM_SPEC, 0)
    for item in edit.single_values(old):
        if item.name == "type":
            layer.fields.append(edit.field(item, "type", edit.quoted(item, _current_type(item))))
        elif item.name in _PARAM_SPEC:
            index = seen[item.name]
            seen[item.name] += 1
            if index == len(specs):
                specs.append(Node(item.source, item.offset))
            specs[index].fields.append(edit.field(item, _PARAM_SPEC[item.name], item.value))
        elif item.name != UNKNOWN:
            layer.fields.append(item)
    layer.fields += [edit.field(spec, "param", spec) for spec in specs]
    return layer


def _current_type(item: Field) -> str:
    value = item.value
    if isinstance(value, Scalar) and value.kind == STRING:
        item.fail(
            "layers { } is the old form, with types such as CONVOLUTION; "
            f"for type: {value} write layer {{ }}"
        )
    types = _enum("V1LayerParameter", "LayerType")
    if isinstance(value, Scalar) and value.kind == NAME and value.value not in types:
        of_a_fork = _type_spelt_as(value.value)
        if of_a_fork:
            return of_a_fork
    return V1_TYPES[types[_enum_name(item, types)]]


def _type_spelt_as(name: str) -> str | None:
    """The layer type of today for a name that a fork added to V1's: DENSE_IMAGE_DATA, say."""
    plain = name.replace("_", "").lower()
    return next((kind for kind in declarations() if kind.lower() == plain), None)


def _has_transforms(layer: Node) -> bool:
    param = _DATA_PARAMS[edit.only_text(layer, "type")]
    messages = [edit.message(item) for item in edit.named(layer, param)]
    return any(edit.named(message, name) for message in messages for name in _TRANSFORMS)


def _move_transforms(layer: Node) -> None:
    """What data layers did to images became one message for all of them."""
    param = edit.inner(layer, _DATA_PARAMS[edit.only_text(layer, "type")])
    transform = edit.inner(layer, "transform_param")
    for name in _TRANSFORMS:
        for item in edit.take(param, name):
            edit.move(item, transform, name)


# ---- input ----


def _upgrade_input(net: Node) -> None:
    """The inputs become an Input layer in front."""
    inputs = edit.take(net, "input")
    layer = Node(inputs[0].source, inputs[0].offset)
    layer.fields = [
        edit.field(layer, "name", edit.quoted(layer, "input")),
        edit.field(layer, "type", edit.quoted(layer, "Input")),
        *(edit.field(item, "top", item.value) for item in inputs),
    ]
    shapes = edit.take(net, "input_shape")
    dims = edit.take(net, "input_dim")
    param = edit.inner(layer, "input_param")
    param.fields = _given_shapes(inputs, shapes) if shapes else _four_each(inputs, dims)
    net.fields.insert(0, edit.field(layer, "layer", layer))


def _given_shapes(inputs: list[Field], shapes: list[Field]) -> list[Field]:
    if len(shapes) != len(inputs):
        shapes[0].fail(f"{len(shapes)} input_shape for {len(inputs)} input; give one for each")
    return [edit.field(item, "shape", item.value) for item in shapes]


def _four_each(inputs: list[Field], dims: list[Field]) -> list[Field]:
    if len(dims) != _AXES * len(inputs):
        (dims or inputs)[0].fail(
            f"{len(dims)} input_dim for {len(inputs)} input; give four for each, or one "
            "input_shape for each"
        )
    shapes = []
    for first in range(0, len(dims), _AXES):
        shape = Node(dims[first].source, dims[first].offset)
        shape.fields = [edit.field(d, "dim", d.value) for d in dims[first : first + _AXES]]
        shapes.append(edit.field(shape, "shape", shape))
    return shapes


# ---- BatchNorm ----


def _froze_statistics(layer: Node | Scalar) -> bool:
    """BatchNorm's three blobs are statistics; old files kept the solver off them by hand."""
    if not isinstance(layer, Node) or len(edit.named(layer, "param")) != _STATISTICS:
        return False
    return any(edit.text(item) == _BATCH_NORM for item in edit.named(layer, "type"))


def _freeze_statistics(layer: Node) -> None:
    for item in edit.named(layer, "param"):
        zero = Scalar(item.source, item.offset, NUMBER, "0")
        for name in ("lr_mult", "decay_mult"):
            edit.move(edit.field(item, name, zero), edit.message(item), name)


# ---- enums ----


def _enum(message: str, enum: str) -> Mapping[str, int]:
    return proto_file.definitions()[1][message]["enums"][enum]


def _enum_name(item: Field, enum: Mapping[str, int]) -> str:
    """The name that a field's value, a name or a number, has in an enum."""
    value = item.value
    if isinstance(value, Scalar) and value.kind in (NAME, NUMBER):
        number = parse_int(value.value) if value.kind == NUMBER else enum.get(value.value)
        for name in (name for name in enum if enum[name] == number):
            return name
    item.fail(f"{item.name}: {not_one_of(str(value), enum)}")
