"""Whole nets: a forward pass, and a training step (forward, backward, SGD with momentum)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_peer
import torch_peer
from table import Row, progress
from timing import best

import pydl
from pydl import _core

FOLDER = Path(__file__).parent / "nets"
BATCHES = {"lenet": 64, "alexnet": 32, "vgg16": 4, "googlenet": 16, "resnet50": 8, "lstm": 32}
MOMENTUM, DECAY = 0.9, 0.0005


@dataclass(frozen=True)
class Case:
    net: str
    batch: int
    train: bool
    bf16: bool = False

    def __str__(self) -> str:
        task = "training step" if self.train else "inference"
        return f"{self.net} ({self.batch}) {task} {'bf16' if self.bf16 else 'f32'}"

    @property
    def phase(self) -> str:
        return "TRAIN" if self.train else "TEST"


def cases(net: str) -> Iterator[Case]:
    for batch in (BATCHES[net], 1):
        for bf16 in (False, True):
            yield Case(net, batch, True, bf16)
            yield Case(net, batch, False, bf16)


# ---- the problem, the same for all sides ----
@dataclass
class Problem:
    """Layers as plain data, each layer's blobs in Caffe's order, and arrays for the inputs."""

    message: pydl.prototxt.Message
    layers: list[dict]
    weights: dict[str, list[np.ndarray]]
    inputs: dict[str, np.ndarray] = field(default_factory=dict)


def problem(case: Case, dropout: bool = True) -> Problem:
    message = message_of(case, dropout)
    net = pydl.Net(message, phase="TRAIN")
    data = random_inputs(net)
    for name, array in data.items():
        net.blobs[name].data[...] = array
    if any(layer.type == "BatchNorm" for layer in message.layer):
        net._core.forward()  # its statistics start from nothing
    weights = {name: [np.array(b.data) for b in blobs] for name, blobs in net.params.items()}
    if not case.train:
        net = pydl.Net(message)
    used = {row["name"] for row in net._core.layer_rows()}
    layers = [layer for layer in net._core.spec["layers"] if layer["name"] in used]
    return Problem(message, layers, weights, {name: data[name] for name in net.inputs})


def message_of(case: Case, dropout: bool = True) -> pydl.prototxt.Message:
    message = pydl.prototxt.load_net(FOLDER / f"{case.net}.prototxt")
    kept = []
    for layer in message.layer:
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                axis = 1 if case.net == "lstm" else 0  # time comes first
                shape.dim[axis] = case.batch
        if dropout or layer.type != "Dropout":
            kept.append(layer)
    del message.layer[:]
    message.layer.extend(kept)
    return message


def random_inputs(net: pydl.Net) -> dict[str, np.ndarray]:
    """Images or, of a net that begins with Embed, ids; labels; marks where sequences begin."""
    random = np.random.default_rng(0)
    ids = any(row["type"] == "Embed" for row in net._core.layer_rows())
    inputs = {}
    for name in net.inputs:
        shape = net.blobs[name].shape
        if name == "cont":
            inputs[name] = np.ones(shape, np.float32)
            inputs[name][0] = 0
        elif name == "label" or ids:
            inputs[name] = random.integers(0, 10, shape)
        else:
            inputs[name] = random.standard_normal(shape, np.float32)
    return inputs


# ---- pydl ----
class Ours:
    """A net in pydl with its inputs filled; for training, with a solver.

    Its weights are never handed out as arrays: they would be packed anew before each use then, as
    somebody might have written to them.
    """

    def __init__(self, case: Case, given: Problem, rate: float = 0.001) -> None:
        self.train = case.train
        options = {"precision": "BF16"} if case.bf16 else {}
        keep = "all" if case.train else "outputs"
        self.net = pydl.Net(given.message, phase=case.phase, keep=keep, **options)
        self.core = self.net._core
        for name, blobs in given.weights.items():
            for i, blob in enumerate(blobs):
                self.core.set_param(self.core.layer_index(name), i, blob)
        if case.train:
            spec = {"base_lr": rate, "momentum": MOMENTUM, "weight_decay": DECAY}
            self.solver = _core.Solver(spec, self.core)
        for name, array in given.inputs.items():
            self.net.blobs[name].data[...] = array

    def call(self) -> Callable[[], object]:
        return self.solver.step if self.train else self.core.forward

    def forward(self) -> np.ndarray:
        self.core.forward()
        return self.net.blobs[self.net.outputs[0]].data

    def flops(self) -> float:
        """Of a pass; in training with the gradients of weights and, where needed, of inputs."""
        return sum(row["flops"] * (1 + passes(row)) for row in self.core.layer_rows())


def passes(row: dict) -> int:
    """How many products a layer's backward pass has for the one of its forward pass."""
    return bool(row["needs_backward"]) * (bool(row["param_ids"]) + any(row["propagates"]))


def has_bf16() -> bool:
    try:
        pydl.Net(FOLDER / "lenet.prototxt", precision="BF16")
    except TypeError:
        return False
    return True


# ---- side by side ----
def peers(case: Case, given: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """What to time beside pydl, ready to call, by name."""
    images = given.inputs["data"].ndim == 4
    calls = {}
    for mode in torch_peer.modes(images):
        model = torch_peer.Torch(
            given.layers, given.weights, given.inputs, mode, case.bf16,
            momentum=MOMENTUM, decay=DECAY,
        )  # fmt: skip
        calls[f"torch {mode}"] = model.call()
    if not case.train:
        calls |= {name: peer.call() for name, peer in served(case, given, threads).items()}
    return calls


def served(case: Case, given: Problem, threads: int) -> dict[str, object]:
    """The net in ONNX Runtime (which has no bf16 on x86) and in OpenVINO."""
    if onnx_peer.helper is None:
        return {}
    model = onnx_peer.onnx_model(given.layers, given.weights, given.inputs)
    data, sides = given.inputs["data"], {}
    if onnx_peer.onnxruntime and not case.bf16:
        sides["onnxruntime"] = onnx_peer.OnnxRuntime(model, data, threads)
    if onnx_peer.openvino:
        sides["openvino"] = onnx_peer.OpenVino(model, data, threads, case.bf16)
    return sides
