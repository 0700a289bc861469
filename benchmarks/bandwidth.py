"""Layers whose limit is the memory, on blobs larger than any cache, and the solver's updates.

The bytes are the least that must be moved: each array that does not fit the caches is read or
written once per pass over it, and a BatchNorm in training needs two passes. What the memory can do
changes with what else the host does, so a plain loop that moves bytes takes its turns beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from check import check_close
from peak import Probe
from single import Ours, Single, peers
from table import Row, progress
from timing import best
from torch_peer import torch

from pydl import _core

SHAPE = (32, 96, 96, 96)  # 108 MiB


@dataclass(frozen=True)
class Case:
    name: str
    layer: str  # type and parameters in prototxt
    forward: float  # bottoms' blobs read and tops' written, in blobs of SHAPE
    backward: float
    bottoms: int = 1
    in_place: bool = False

    def single(self, shape: tuple[int, ...]) -> Single:
        return Single(self.layer, (shape,) * self.bottoms, self.in_place)


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


def rows(probe: Probe, match: str = "") -> Iterator[Row]:
    for case in CASES:
        if match in case.name:
            yield from layer_rows(case, probe)
    for rule in RULES:
        if match in f"{rule} update":
            yield update_row(rule, probe)


def timed(name: str, sides: dict[str, Callable], probe: Probe, bytes: float, in_place: bool) -> Row:
    """A row with the time that moving as many bytes takes."""
    move, moved = probe.mover(bytes, in_place)
    ms = best({**sides, "memory": move})
    return Row(name, ms, bytes=bytes, limit_ms=ms.pop("memory") * bytes / moved)


def layer_rows(case: Case, probe: Probe) -> Iterator[Row]:
    progress(case.name)
    verify(case)
    single = case.single(SHAPE)
    for task in ("forward", "backward"):
        ours = Ours(single)
        theirs = peers(single, ours, task == "backward")
        ours = Ours(single)  # anew: arrays of the other were handed out
        calls = {"pydl": getattr(ours, task)}
        calls |= {name: getattr(side, task) for name, side in theirs.items()}
        blobs = case.forward if task == "forward" else case.backward
        bytes = 4.0 * np.prod(SHAPE) * blobs
        yield timed(f"{case.name}, {task}", calls, probe, bytes, case.in_place)


def verify(case: Case) -> None:
    """The same smaller input and gradient through both sides."""
    single = case.single((2, *SHAPE[1:]))
    ours = Ours(single)
    for peer in peers(single, ours, backward=True).values():
        results = ours.results()
        for name, value in peer.results().items():
            check_close(f"{case.name}, {name}", results[name], value, 1e-5)
        ours = Ours(single)


# ---- the updates ----
# Torch's optimizer of the same rule, with the arguments that make it Caffe's; None: it differs.
RULES: dict[str, Callable | None] = {
    "SGD": lambda w: torch.optim.SGD([w], 1e-3, 0.9, weight_decay=5e-4, fused=True),
    "Nesterov": None,
    "AdaGrad": lambda w: torch.optim.Adagrad([w], 1e-3, weight_decay=5e-4, fused=True),
    "RMSProp": lambda w: torch.optim.RMSprop([w], 1e-3, 0.9, weight_decay=5e-4),
    "AdaDelta": lambda w: torch.optim.Adadelta([w], 1e-3, weight_decay=5e-4),
    "Adam": lambda w: torch.optim.Adam([w], 1e-3, weight_decay=5e-4, fused=True),
}


def update_row(rule: str, probe: Probe) -> Row:
    """Weights, history and (as Caffe leaves them) gradients change."""
    name = f"{rule} update"
    progress(name)
    shape = _core.kernels.update.UpdateShape(
        n=PARAMETERS, grad_scale=1.0, weight_decay=5e-4, l1=False, rate=1e-3, momentum=0.9,
        momentum2=0.999, delta=1e-8, decoupled_decay=0.0,
    )  # fmt: skip
    random = np.random.default_rng(0)
    histories = 2 if rule in ("AdaDelta", "Adam") else 1
    arrays = [np.abs(random.standard_normal(PARAMETERS, np.float32)) for _ in range(2 + histories)]
    update = getattr(_core.kernels.update, rule.lower())
    calls = {"pydl": lambda: update(shape, *arrays)}
    if torch and RULES[rule]:
        weight = torch.nn.Parameter(torch.from_numpy(arrays[0].copy()))
        weight.grad = torch.from_numpy(arrays[1].copy())
        calls["torch"] = RULES[rule](weight).step
    return timed(name, calls, probe, 2.0 * 4 * len(arrays) * PARAMETERS, in_place=True)
