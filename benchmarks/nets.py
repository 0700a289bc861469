"""Whole nets: a forward pass, and a training step (forward, backward, SGD with momentum)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_peer
import torch_peer
from check import check_close, distance
from table import OUTPUTS, Row, progress
from timing import best

import pydl
from pydl import _core, onnx

FOLDER = Path(__file__).parent / "nets"
BATCHES = {
    "lenet": 64, "alexnet": 32, "vgg16": 4, "googlenet": 16, "resnet50": 8, "lstm": 32,
    "transformer": 8,
}  # fmt: skip
# Of pydl.zoo, timed in inference only, as pydl exports them to ONNX.
SERVED = {"mobilenet_v1": 16, "mobilenet_v2": 16, "ssd300": 4}
BATCHES |= SERVED
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
            for train in tasks(net):
                yield Case(net, batch, train, bf16)


def tasks(net: str) -> tuple[bool, ...]:
    """Whether to train, for each thing to time."""
    return (False,) if net in SERVED else (True, False)


# ---- the problem, the same for all sides ----
@dataclass
class Problem:
    """Layers as plain data, each layer's blobs in Caffe's order, and arrays for the inputs."""

    message: pydl.prototxt.Message
    layers: list[dict]
    weights: dict[str, list[np.ndarray]]
    inputs: dict[str, np.ndarray]
    statistics: set[str]  # layers whose blobs are not learned
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
    inputs = {name: data[name] for name in net.inputs}
    statistics = {layer["name"] for layer in layers if layer["type"] == "BatchNorm"}
    return Problem(message, layers, weights, inputs, statistics, flops)


def passes(row: dict) -> int:
    """How many products a layer's backward pass has for the one of its forward pass."""
    return row["needs_backward"] * (bool(row["param_ids"]) + any(row["propagates"]))


def message_of(case: Case, dropout: bool = True) -> pydl.prototxt.Message:
    if case.net in SERVED:
        return _served_message(case)
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


def _served_message(case: Case) -> pydl.prototxt.Message:
    """A detector up to the numbers of its boxes, which become one output: what comes after has no
    form in ONNX, and its boxes' places do not depend on the image."""
    message = pydl.zoo.load(case.net, batch=case.batch)
    names = [layer.name for layer in message.layer]
    if "mbox_conf" in names:
        kept = message.layer[: names.index("mbox_conf") + 1]
        del message.layer[:]
        message.layer.extend(layer for layer in kept if layer.type != "PriorBox")
        message.layer.add(
            name="mbox", type="Concat", bottom=["mbox_loc", "mbox_conf"], top=["mbox"]
        )
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

    def __init__(
        self,
        case: Case,
        given: Problem,
        rate: float = 0.001,
        keep: str | None = None,
        arithmetic: str | None = None,
    ) -> None:
        self.train = case.train
        keep = keep or ("all" if case.train else "outputs")
        precision = "BF16" if case.bf16 else "FLOAT32"
        self.net = pydl.Net(
            given.message, phase=case.phase, keep=keep, precision=precision, arithmetic=arithmetic
        )
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

    def blobs(self) -> dict[str, list[np.ndarray]]:
        """Learnable blobs by layer."""
        return {name: [b.data for b in blobs] for name, blobs in self.net.params.items()}


# ---- side by side ----
OUTPUTS_MAY_DIFFER = 1e-3
# Of the weights in a step: rounding decides which way a value near a ReLU's corner, or one of two
# nearly equal maxima, sends its gradient, so deep nets differ more.
CHANGES_MAY_DIFFER = 0.05


def sides() -> list[str]:
    torch = [f"torch {mode}" for mode in torch_peer.modes(images=True)]
    return ["pydl", OUTPUTS, *torch, *onnx_peer.installed()]


def rows(net: str, threads: int, match: str = "") -> Iterator[Row]:
    """One for each batch, task and precision whose description contains `match`."""
    for case in cases(net):
        if match not in str(case):
            continue
        progress(str(case))
        verify(case, threads)
        given = problem(case)
        calls = {"pydl": Ours(case, given).call()}
        if case.train:
            calls[OUTPUTS] = Ours(case, given, keep="outputs").call()
        calls |= peers(case, given, threads)
        yield Row(
            str(case),
            best(calls, seconds=3),
            flops=given.flops,
            bf16=case.bf16,
            extra={"net": net, "batch": case.batch, "kind": f"{case.task} {case.precision}"},
        )


def peers(case: Case, given: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """What to time beside pydl, ready to call, by name."""
    calls = {}
    modes = torch_peer.modes(images=given.inputs["data"].ndim == 4)
    for mode in () if case.net in SERVED else modes:
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
    if case.net in SERVED:
        model = onnx.to_model(Ours(replace(case, bf16=False), given).net, case.batch)
        model = model.SerializeToString()
    else:
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

    At a rate of 1 the change is as large as the gradient, far above the weights' rounding. What
    pydl's bf16 is off float32 may be at most twice what the peers' bf16 is.
    """
    given = problem(case, dropout=False)
    if case.net in SERVED:
        verify_served(case, given, threads)
        return
    if torch_peer.torch is None:
        return
    exact = in_torch(replace(case, bf16=False), given, "eager", rate=1)
    (verify_step if case.train else verify_outputs)(case, given, exact, threads)


def verify_outputs(case: Case, given: Problem, exact: torch_peer.Torch, threads: int) -> None:
    want = exact.forward().numpy()
    outputs = {name: peer.forward() for name, peer in served(case, given, threads).items()}
    allowed = OUTPUTS_MAY_DIFFER
    if case.bf16:
        outputs["torch"] = in_torch(case, given, "eager").forward().float().numpy()
        allowed = 2 * max(distance(output, want) for output in outputs.values())
    outputs["pydl"] = Ours(case, given).forward()
    for name, output in outputs.items():
        check_close(f"{case}, {name}", output, want, allowed)


def verify_served(case: Case, given: Problem, threads: int) -> None:
    """Every side's outputs against pydl's in float32 without Winograd's transforms."""
    exact = Ours(replace(case, bf16=False), given, keep="all", arithmetic="DIRECT")
    want = exact.forward().copy()
    outputs = {name: peer.forward() for name, peer in served(case, given, threads).items()}
    allowed = OUTPUTS_MAY_DIFFER
    if case.bf16:
        allowed = 2 * max((distance(y, want) for y in outputs.values()), default=0.05)
    outputs["pydl"] = Ours(case, given).forward()
    for name, output in outputs.items():
        check_close(f"{case}, {name}", output, want, allowed)


def verify_step(case: Case, given: Problem, exact: torch_peer.Torch, threads: int) -> None:
    ours = Ours(case, given, rate=1)
    loss = np.array(ours.call()()), np.array(exact.step())
    check_close(f"{case}, loss", *loss, OUTPUTS_MAY_DIFFER * (20 if case.bf16 else 1))
    want, allowed = changes(exact, given), CHANGES_MAY_DIFFER
    errors = {name: distance(change, want[name]) for name, change in changes(ours, given).items()}
    worst = max(errors, key=errors.__getitem__)
    if case.bf16:  # single layers are a matter of luck
        theirs = in_torch(case, given, "eager", rate=1)
        theirs.step()
        allowed = 2 * np.mean([distance(c, want[n]) for n, c in changes(theirs, given).items()])
        errors[worst] = np.mean(list(errors.values()))
    if not errors[worst] <= allowed:
        raise SystemExit(f"{case}, update of {worst}: pydl is off by {errors[worst]:.2g}")


def changes(side: Ours | torch_peer.Torch, given: Problem) -> dict[str, np.ndarray]:
    """How each layer's largest blob is different from what was `given`."""
    found = {}
    for name, blobs in side.blobs().items():
        before = given.weights[name]
        i = int(np.argmax([blob.size for blob in before]))
        if name not in given.statistics:
            found[name] = blobs[i] - before[i]
    return found
