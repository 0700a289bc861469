"""A DBN as the net that fine-tuning starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pydl import formats, prototxt
from pydl.errors import Error
from pydl.net import Net

Weights = Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
_RATES = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 1, "decay_mult": 0}]
_TEST = [{"phase": "TEST"}]


@dataclass(frozen=True)
class Stack:
    """What is unrolled: RBM layers with their weights, and the layers that give `blob` below."""

    rbms: Sequence[prototxt.Message]
    weights: Weights  # W (hidden, visible), visible and hidden biases
    data: Sequence[prototxt.Message]
    blob: str


@dataclass(frozen=True)
class Unrolled:
    """A net as prototxt, and the weights of those of its layers that have learned already."""

    net: prototxt.Message
    weights: dict[str, list[np.ndarray]]

    def copy_to(self, net: Net) -> None:
        """Puts the weights into a net of `net`'s layers, such as a solver's.

        >>> solver = pydl.Solver(pydl.prototxt.new("SolverParameter", net_param=unrolled.net, ...))
        >>> unrolled.copy_to(solver.net)
        """
        put_weights(net, self.weights)

    def save(self, prefix: str | os.PathLike) -> tuple[Path, Path]:
        """Writes ``<prefix>.prototxt`` and ``<prefix>.caffemodel``; returns their paths."""
        text, model = Path(f"{prefix}.prototxt"), Path(f"{prefix}.caffemodel")
        text.parent.mkdir(parents=True, exist_ok=True)
        types = {layer.name: layer.type for layer in self.net.layer}
        layers = [
            formats.LayerWeights(name, types[name], blobs=blobs)
            for name, blobs in self.weights.items()
        ]
        formats.save_weights(model, self.net.name, layers)
        with formats.atomic_write(text) as file:
            file.write(prototxt.dumps(self.net).encode())
        return text, model


def put_weights(net: Net, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Fills the parameters of the layers that `weights` names, if the net has them."""
    for name, blobs in net.params.items():
        for blob, values in zip(blobs, weights.get(name, ()), strict=False):
            blob.data[...] = values


def inputs(batch_size: int, weights: Weights) -> list[prototxt.Message]:
    """Input layers "data" and "label"."""
    net = prototxt.new("NetParameter")
    for name, shape in (("data", [batch_size, weights[0][0].shape[1]]), ("label", [batch_size])):
        net.layer.add(name=name, type="Input", top=[name],
                      input_param={"shape": [{"dim": shape}]})  # fmt: skip
    return list(net.layer)


def classifier(stack: Stack, classes: int, label: str) -> Unrolled:
    """The stack's units, and a softmax with a loss over the labels."""
    tops = {top for layer in stack.data for top in layer.top}
    if label not in tops:
        raise Error(
            f'classifier: no data layer gives the labels "{label}", only {", ".join(sorted(tops))}'
        )
    net, weights, blob = _encoder(stack, "classifier")
    _inner_product(net, "score", blob, classes)
    bottoms = ["score", label]
    net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=bottoms, top=["loss"])
    net.layer.add(name="accuracy", type="Accuracy", bottom=bottoms, top=["accuracy"], include=_TEST)
    net.layer.add(name="prob", type="Softmax", bottom=["score"], top=["prob"], include=_TEST)
    return Unrolled(net, weights)


def autoencoder(stack: Stack) -> Unrolled:
    """Up, and down by the transposed weights."""
    net, weights, blob = _encoder(stack, "autoencoder")
    for number in range(len(stack.rbms), 0, -1):
        layer, (w, bias, _) = stack.rbms[number - 1], stack.weights[number - 1]
        name = f"{layer.name}_down"
        weights[name] = [np.ascontiguousarray(w.T), bias]
        _inner_product(net, name, blob, len(bias))
        blob = name
        if number > 1:
            _activation(net, f"{name}_units", blob, layer.rbm_param.visible)
    target = [blob, stack.blob]
    if stack.rbms[0].rbm_param.visible == "GAUSSIAN":
        net.layer.add(name="loss", type="EuclideanLoss", bottom=target, top=["loss"])
        return Unrolled(net, weights)
    net.layer.add(name="loss", type="SigmoidCrossEntropyLoss", bottom=target, top=["loss"])
    net.layer.add(name="reconstruction", type="Sigmoid", bottom=[blob], top=["reconstruction"])
    error = ["reconstruction", stack.blob]
    net.layer.add(name="error", type="EuclideanLoss", bottom=error, top=["error"], loss_weight=[0])
    return Unrolled(net, weights)


def _encoder(stack: Stack, name: str) -> tuple[prototxt.Message, dict[str, list[np.ndarray]], str]:
    """The net so far, its weights and the name of its last blob."""
    net = prototxt.new("NetParameter", name=name)
    for layer in stack.data:
        net.layer.extend([layer])
    blob, weights = stack.blob, {}
    for layer, (w, _, bias) in zip(stack.rbms, stack.weights, strict=True):
        weights[layer.name] = [w, bias]
        _inner_product(net, layer.name, blob, len(bias))
        blob = layer.name
        _activation(net, f"{layer.name}_units", blob, layer.rbm_param.hidden)
    return net, weights, blob


def _inner_product(net: prototxt.Message, name: str, bottom: str, outputs: int) -> None:
    filler = {"type": "xavier"}
    param = {"num_output": outputs, "weight_filler": filler}
    net.layer.add(name=name, type="InnerProduct", bottom=[bottom], top=[name], param=_RATES,
                  inner_product_param=param)  # fmt: skip


def _activation(net: prototxt.Message, name: str, blob: str, units: str) -> None:
    """In place; Gaussian units stay linear."""
    if units == "BINARY":
        net.layer.add(name=name, type="Sigmoid", bottom=[blob], top=[blob])
