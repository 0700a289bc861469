"""Weights from and to PyTorch, by the names of a state dict. torch itself is not needed: tensors
and numpy arrays are taken, arrays are given.

Layers that follow torch's modules keep its shapes, so that most weights go over as they are:
InnerProduct (Linear), Convolution, Deconvolution (ConvTranspose), Embed, PReLU, LayerNorm, RMSNorm,
GroupNorm, InstanceNorm, Scale, PositionalEmbedding, MultiHeadAttention and GRU; weights under
`weight_norm` are ``weight_v`` and ``weight_g``. An LSTM's gates change places, and its two biases
are one here. BatchNorm has the running statistics and the Scale behind it weight and bias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import weights
from pydl.errors import Error
from pydl.prototxt.names import listed

if TYPE_CHECKING:
    from pydl.net import Net

Arrays = list[np.ndarray]
Names = Mapping[str, str | None]


@dataclass(frozen=True)
class _Form:
    """torch's parameters of a layer, and what makes the layer's blobs of them and the other way."""

    names: tuple[str, ...]
    to_blobs: Callable[[Arrays], Arrays] = list
    to_torch: Callable[[Arrays], Arrays] = list


def _swap_gates(array: np.ndarray) -> np.ndarray:
    """i, f, g, o (torch) to i, f, o, g (Caffe), or back."""
    i, f, third, fourth = np.split(array, 4)
    return np.concatenate([i, f, fourth, third])


def _lstm_to_blobs(arrays: Arrays) -> Arrays:
    of_input, of_hidden, bias_ih, bias_hh = arrays
    return [_swap_gates(array) for array in (of_input, bias_ih + bias_hh, of_hidden)]


def _lstm_to_torch(blobs: Arrays) -> Arrays:
    of_input, bias, of_hidden = (_swap_gates(blob) for blob in blobs)
    return [of_input, of_hidden, bias, np.zeros_like(bias)]


def _statistics_to_torch(blobs: Arrays) -> Arrays:
    mean, variance, factor = blobs  # Caffe keeps sums and their weight
    return [blob / (factor[0] or 1) for blob in (mean, variance)]


_FORMS = {  # by type and number of blobs
    ("LSTM", 3): _Form(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), _lstm_to_blobs, _lstm_to_torch
    ),
    ("GRU", 4): _Form(("weight_ih", "bias_ih", "weight_hh", "bias_hh")),
    ("MultiHeadAttention", 2): _Form(("in_proj_weight", "out_proj.weight")),
    ("MultiHeadAttention", 4): _Form(
        ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    ),
    ("BatchNorm", 3): _Form(
        ("running_mean", "running_var"), lambda found: [*found, np.ones(1)], _statistics_to_torch
    ),
}
_MAY_BE_NORMED = {"InnerProduct", "Convolution", "Deconvolution"}  # by weight_norm
_PLAIN = _MAY_BE_NORMED | {
    *("Embed", "PReLU", "Scale", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm"),
    "PositionalEmbedding",
}  # weight, and perhaps bias
_NOT_LEARNED = "num_batches_tracked"


def load_state_dict(net: Net, state: Mapping[str, Any], names: Names | None = None) -> None:
    """Puts the parameters of a torch module into a net: of all layers that learn, or of none.

    Args:
        net: its layers are called as torch's modules are; ``/`` stands for ``.``. Recurrent layers
            end in torch's suffix, as those of `Builder.recurrent` do ("rnn/l0_reverse"), or are l0.
        state: what ``module.state_dict()`` gives, or arrays by those names.
        names: torch's name of layers that are called otherwise; None leaves a layer as it is.

    Raises:
        Error: a layer's parameters are not in `state` or have another shape, something of `state`
            belongs to no layer, or a layer's type has no form in torch.

    >>> state = torch.nn.Linear(3, 2).state_dict()
    >>> load_state_dict(net, {f"fc.{key}": value for key, value in state.items()})
    >>> load_state_dict(net, torch.load("lenet.pt"), {"ip1": "classifier.0"})
    """
    todo: weights.Found = []
    used = set()
    for index, where, form, keys in _layers(net, names or {}):
        arrays = []
        for key in keys:
            if key not in state:
                raise Error(f"{where}: {_missing(key, state)}")
            arrays.append(_as_array(state[key]))
        used.update(keys)
        blobs = net._core.layer(index).blobs
        for i, (array, blob) in enumerate(zip(form.to_blobs(arrays), blobs, strict=True)):
            if array.shape != tuple(blob.shape):
                raise Error(f"{where}: {keys[0]} and its like make blob {i} {array.shape}, but it "
                            f"is {tuple(blob.shape)}")  # fmt: skip
            todo.append((index, i, array))
    rest = [key for key in state if key not in used and not key.endswith(_NOT_LEARNED)]
    if rest:
        raise Error(f"no layer takes {listed(rest, 6)} of the state; leave them out, or say by "
                    "names={layer: name} whose they are")  # fmt: skip
    weights.put_weights(net._core, todo)


def state_dict(net: Net, names: Names | None = None) -> dict[str, np.ndarray]:
    """The parameters of a net as torch names and shapes them, as copies: the way back from
    `load_state_dict`, with the same `names` and errors.

    >>> state = {key: torch.from_numpy(value) for key, value in state_dict(net).items()}
    >>> module.load_state_dict(state)
    """
    state = {}
    for index, _, form, keys in _layers(net, names or {}):
        blobs = [np.array(blob.data) for blob in net._core.layer(index).blobs]
        state |= dict(zip(keys, form.to_torch(blobs), strict=True))
    return state


def _layers(net: Net, names: Names):
    """Of each layer with blobs: its index, a place for messages, its form, and torch's names."""
    rows = net._core.layer_rows()
    for layer in names:
        if all(row["name"] != layer for row in rows):
            raise Error(f'names: net "{net.name}" has no layer "{layer}"')
    for index, row in enumerate(rows):
        layer, blobs = row["name"], net._core.layer(index).blobs
        if not blobs or names.get(layer, "") is None:
            continue
        where = f'layer "{layer}" ({row["type"]})'
        form = _form(row["type"], [tuple(blob.shape) for blob in blobs])
        if form is None:
            raise Error(
                f"{where} with {len(blobs)} blobs has no form in torch; names={{{layer!r}: None}} "
                "leaves it as it is"
            )
        module, suffix = names.get(layer, layer.replace("/", ".")), ""
        if row["type"] in ("LSTM", "GRU"):
            found = re.fullmatch(r"(.*)\.(l\d+(?:_reverse)?)", module)
            module, suffix = found.groups() if found else (module, "l0")
        start = f"{module}." if module else ""
        yield (
            index,
            where,
            form,
            [start + name + f"_{suffix}" * bool(suffix) for name in form.names],
        )


def _form(kind: str, shapes: list[tuple[int, ...]]) -> _Form | None:
    if kind not in _PLAIN:
        return _FORMS.get((kind, len(shapes)))
    # Weights, then perhaps a bias; or a direction, a bias and lengths (N, 1, ...).
    lengths = kind in _MAY_BE_NORMED and len(shapes) > 1 and len(shapes[-1]) > 1
    bias = ("bias",) * (len(shapes) > 1 + lengths)
    return _Form(("weight_v", *bias, "weight_g") if lengths else ("weight", *bias))


def _as_array(value: Any) -> np.ndarray:
    """Of an array, or of a tensor of any type anywhere."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float().numpy()
    return np.asarray(value, np.float32)


def _missing(key: str, state: Mapping[str, Any]) -> str:
    return (
        f'the state has no "{key}", but {listed(state, 6) or "nothing"}; '
        "names={layer: name} says what a layer is called there"
    )
