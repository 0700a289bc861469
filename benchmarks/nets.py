"""Whole nets: a forward pass, and a training step (forward, backward, SGD with momentum)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_peer
import torch_peer
from check import check_close, distance
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
        return f"{self.net} ({self.batch}) {self.task} {self.precision}"

    @property
    def task(self) -> str:
        return "training step" if self.train else "inference"

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "f32"

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
    inputs: dict[str, np.ndarray]
    flops: float  # of a pass; in training with the gradients of weights and, where needed, inputs


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
    rows = {row["name"]: row for row in net._core.layer_rows()}
    layers = [layer for layer in net._core.spec["layers"] if layer["name"] in rows]
    flops = sum(row["flops"] * (1 + passes(row)) for row in rows.values())
    return Problem(message, layers, weights, {name: data[name] for name in net.inputs}, flops)


def passes(row: dict) -> int:
    """How many products a layer's backward pass has for the one of its forward pass."""
    return row["needs_backward"] * (bool(row["param_ids"]) + any(row["propagates"]))


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


def has_bf16() -> bool:
    try:
        pydl.Net(FOLDER / "lenet.prototxt", precision="BF16")
    except TypeError:
        return False
    return True


# ---- side by side ----
# Of the outputs; of the weights' change in a step, where rounding decides which way a value near a
# ReLU's corner or one of two nearly equal maxima sends its gradient, so deep nets differ more.
OUTPUTS_MAY_DIFFER = {"f32": 1e-3, "bf16": 0.1}
CHANGES_MAY_DIFFER = 0.05


def sides(bf16: bool = False) -> list[str]:
    torch = [f"torch {mode}" for mode in torch_peer.modes(images=True)]
    return ["pydl", *torch, *onnx_peer.installed()]


def rows(net: str, threads: int, match: str = "") -> Iterator[Row]:
    """One for each batch, task and precision whose description contains `match`."""
    for case in cases(net):
        if match not in str(case):
            continue
        progress(str(case))
        supported = not case.bf16 or has_bf16()
        if supported:
            verify(case, threads)
        given = problem(case)
        calls = {"pydl": Ours(case, given).call()} if supported else {}
        calls |= peers(case, given, threads)
        yield Row(
            str(case),
            best(calls, seconds=3),
            flops=given.flops,
            bf16=case.bf16,
            note="" if supported else "pydl has no bf16 here",
            extra={"net": net, "batch": case.batch, "kind": f"{case.task} {case.precision}"},
        )


def peers(case: Case, given: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """What to time beside pydl, ready to call, by name."""
    calls = {}
    for mode in torch_peer.modes(images=given.inputs["data"].ndim == 4):
        calls[f"torch {mode}"] = in_torch(case, given, mode).call()
    if not case.train:
        calls |= {name: peer.call() for name, peer in served(case, given, threads).items()}
    return calls


def in_torch(case: Case, given: Problem, mode: str, rate: float = 0.001) -> torch_peer.Torch:
    return torch_peer.Torch(
        given.layers, given.weights, given.inputs, mode, case.bf16, rate, MOMENTUM, DECAY
    )


def served(case: Case, given: Problem, threads: int) -> dict[str, Any]:
    """The net in ONNX Runtime (which has no bf16 on x86) and in OpenVINO."""
    if not onnx_peer.installed():
        return {}
    model = onnx_peer.onnx_model(given.layers, given.weights, given.inputs)
    data, sides = given.inputs["data"], {}
    for name in onnx_peer.installed():
        if name == "openvino":
            sides[name] = onnx_peer.OpenVino(model, data, threads, case.bf16)
        elif not case.bf16:
            sides[name] = onnx_peer.OnnxRuntime(model, data, threads)
    return sides


def verify(case: Case, threads: int) -> None:
    """The same outputs on all sides or, after a step without dropout, the same change of weights.

    At a rate of 1 the change is as large as the gradient, far above the weights' rounding.
    """
    if torch_peer.torch is None:
        return
    given = problem(case, dropout=False)
    theirs = in_torch(case, given, "eager", rate=1)
    ours = Ours(case, given, rate=1)
    tolerance = OUTPUTS_MAY_DIFFER[case.precision]
    if not case.train:
        output = ours.forward()
        check_close(f"{case}, torch", output, theirs.forward().float().numpy(), tolerance)
        for name, peer in served(case, given, threads).items():
            check_close(f"{case}, {name}", output, peer.forward(), tolerance)
        return
    loss, their_loss = ours.call()(), theirs.step()
    check_close(f"{case}, loss", np.array(loss), np.array(their_loss), tolerance)
    if not case.bf16:
        for name, error in change_errors(ours, theirs, given).items():
            if not error <= CHANGES_MAY_DIFFER:
                raise SystemExit(f"{case}, update of {name}: pydl and torch differ by {error:.2g}")


def change_errors(ours: Ours, theirs: torch_peer.Torch, given: Problem) -> dict[str, float]:
    """How far the changes of each layer's largest blob since `given` are from each other."""
    after, errors = theirs.model.blobs(), {}
    for name, blobs in after.items():
        i = int(np.argmax([blob.size for blob in blobs]))
        before = given.weights[name][i]
        change = ours.net.params[name][i].data - before
        errors[name] = distance(change, blobs[i] - before)
    return errors
