"""Layers whose limit is the memory, on blobs larger than any cache, and the solver's update.

Each layer stands in a net between two others, as they set the layout it works in; only the layer
itself is timed. The bytes are the least that must be moved: each array that does not fit the caches
is read or written once per pass over it, and a BatchNorm in training needs two passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch_peer
from check import check_close
from table import Row, progress
from timing import best
from torch_peer import torch

import pydl
from pydl import _core

SHAPE = (32, 96, 96, 96)  # 108 MiB
IDENTITY = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 1 }'


@dataclass(frozen=True)
class Case:
    name: str
    layer: str  # type and parameters in prototxt
    forward: float  # bottoms' blobs read and tops' written, in blobs of SHAPE
    backward: float
    bottoms: int = 1
    in_place: bool = False


def _pool(kind: str, kernel: int, stride: int) -> str:
    return (
        f'type: "Pooling" pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} }}'
    )


# Forward reads x and writes y; backward reads dy, what it needs of x or y, and writes dx.
CASES = (
    Case("ReLU in place", 'type: "ReLU"', 2, 3, in_place=True),
    Case("Sigmoid in place", 'type: "Sigmoid"', 2, 3, in_place=True),
    Case("TanH in place", 'type: "TanH"', 2, 3, in_place=True),
    Case("Eltwise sum", 'type: "Eltwise"', 3, 3, bottoms=2),
    Case("LRN 5", 'type: "LRN" lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }', 2, 4),
    Case("max pooling 3x3/2", _pool("MAX", 3, 2), 1.25, 2.25),
    Case("max pooling 2x2/2", _pool("MAX", 2, 2), 1.25, 2.25),
    Case("max pooling 3x3/1", _pool("MAX", 3, 1), 2, 3),
    Case("average pooling 3x3/2", _pool("AVE", 3, 2), 1.25, 1.25),
    Case("BatchNorm", 'type: "BatchNorm"', 3, 5),
)
PARAMETERS = 64 << 20  # of the update: 256 MiB


def sides() -> list[str]:
    return ["pydl", *(["torch", "torch channels_last"] if torch else [])]


def rows(match: str = "") -> Iterator[Row]:
    for case in CASES:
        if match in case.name:
            yield from layer_rows(case)
    if match in "SGD update":
        yield update_row()


def layer_rows(case: Case) -> Iterator[Row]:
    progress(case.name)
    ours, theirs = Ours(case), Theirs.all(case)
    if theirs:
        verify(case)
    for task in ("forward", "backward"):
        blobs = case.forward if task == "forward" else case.backward
        calls = {"pydl": getattr(ours, task)}
        if task == "forward":
            calls |= {name: side.forward for name, side in theirs.items()}
        yield Row(
            f"{case.name}, {task}",
            best(calls),
            bytes=4.0 * np.prod(SHAPE) * blobs,
            in_place=case.in_place and task == "forward",
            note=ours.implementation,
        )


# ---- pydl ----
def net_of(case: Case, shape: tuple[int, ...] = SHAPE) -> pydl.Net:
    """x -> before -> layer -> after, and a second input for layers of two bottoms."""
    dims = " ".join(f"dim: {d}" for d in shape)
    filler = 'data_filler { type: "gaussian" }'
    top = "before" if case.in_place else "y"
    second = 'bottom: "x2"' if case.bottoms == 2 else ""
    text = f"""
        layer {{ name: "x" type: "DummyData" top: "x"
                 dummy_data_param {{ shape {{ {dims} }} {filler} }} }}
        layer {{ name: "before" bottom: "x" top: "before" {IDENTITY} }}
        layer {{ name: "before2" bottom: "x" top: "x2" {IDENTITY} }}
        layer {{ name: "layer" bottom: "before" {second} top: "{top}" propagate_down: true
                 {"propagate_down: true" if second else ""} {case.layer} }}
        layer {{ name: "after" bottom: "{top}" top: "z" loss_weight: 1 propagate_down: true
                 {IDENTITY} }}
        layer {{ name: "rest" type: "Silence" bottom: "x2" }}
    """
    return pydl.Net(pydl.prototxt.parse(text), phase="TRAIN")


class Ours:
    """The layer in pydl, its blobs filled and in place."""

    def __init__(self, case: Case, shape: tuple[int, ...] = SHAPE) -> None:
        self.net = net_of(case, shape)
        self.core = self.net._core
        self.layer, after = (self.core.layer_index(name) for name in ("layer", "after"))
        self.core.forward()
        z = self.core.blob("z")
        z.diff[...] = np.random.default_rng(1).standard_normal(z.shape, np.float32)
        self.core.backward(after, after)
        self.implementation = self.core.layer_rows()[self.layer]["implementation"]

    def forward(self) -> None:
        self.core.forward(self.layer, self.layer)

    def backward(self) -> None:
        self.core.backward(self.layer, self.layer)


# ---- PyTorch ----
class Theirs:
    """The layer in PyTorch in `memory_format`, on the same kind of values."""

    def __init__(self, case: Case, memory_format: object, shape: tuple[int, ...] = SHAPE) -> None:
        layers = net_of(case, (1, *shape[1:]))._core.spec["layers"]
        layer = next(layer for layer in layers if layer["name"] == "layer")
        weights = [np.ones(s, np.float32) for s in ((shape[1],), (shape[1],), (1,))]
        self.part = torch_peer.MAKERS[layer["type"]](
            torch_peer.params_of(layer), weights, case.in_place
        ).train()
        self.bottoms = [
            torch.randn(shape).to(memory_format=memory_format) for _ in range(case.bottoms)
        ]

    @classmethod
    def all(cls, case: Case) -> dict[str, Theirs]:
        if torch is None:
            return {}
        formats = {"torch": torch.contiguous_format, "torch channels_last": torch.channels_last}
        return {name: cls(case, form) for name, form in formats.items()}

    def forward(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.part(*self.bottoms)


def verify(case: Case) -> None:
    """The same small input through both sides."""
    shape = (2, *SHAPE[1:])
    ours, theirs = Ours(case, shape), Theirs(case, torch.contiguous_format, shape)
    x = np.ascontiguousarray(ours.core.blob("x").data)
    with torch.no_grad():
        y = theirs.part(*(torch.from_numpy(x.copy()) for _ in theirs.bottoms))
    check_close(case.name, ours.core.blob("z").data, y.numpy(), 1e-5)


# ---- the update ----
def update_row() -> Row:
    """SGD with momentum and decay: weights, history and (as Caffe leaves them) gradients change."""
    name = "SGD update"
    progress(name)
    shape = _core.kernels.update.UpdateShape(
        n=PARAMETERS, grad_scale=1.0, weight_decay=5e-4, l1=False, rate=1e-3, momentum=0.9
    )
    random = np.random.default_rng(0)
    weights, gradients, history = (random.standard_normal(PARAMETERS, np.float32) for _ in range(3))
    calls = {"pydl": lambda: _core.kernels.update.sgd(shape, weights, gradients, history)}
    if torch:
        weight = torch.nn.Parameter(torch.from_numpy(weights.copy()))
        weight.grad = torch.from_numpy(gradients.copy())
        sgd = torch.optim.SGD([weight], 1e-3, 0.9, weight_decay=5e-4, fused=True)
        calls["torch"] = sgd.step
    return Row(name, best(calls), bytes=6.0 * 4 * PARAMETERS, in_place=True)
