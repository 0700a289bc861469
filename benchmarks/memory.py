#!/usr/bin/env python3
"""Peak memory of training steps: each side in a process of its own, less what its imports take.

    python benchmarks/memory.py pydl|eager|channels_last vgg16

prints the bytes that a few training steps added to the process at their peak (Linux's VmHWM less
VmRSS after the imports). pydl keeps only outputs, which changes no result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NETS = ("vgg16", "resnet50")
SIDES = ("pydl", "eager", "channels_last")
STEPS = 3


def rows(match: str = "") -> Iterator[dict[str, Any]]:
    """A row for each net: MiB by side."""
    for net in NETS:
        if match in net:
            mib = {side: measured(side, net) / 2**20 for side in SIDES}
            least = min(mib[side] for side in SIDES if side != "pydl")
            yield {"case": net, "mib": mib, "ratio": mib["pydl"] / least}


def measured(side: str, net: str) -> int:
    """Bytes, measured in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        outline = Path(folder) / "outline.json"
        outline.write_text(json.dumps(outline_of(net)))
        command = [sys.executable, __file__, side, net, str(outline)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def outline_of(net: str) -> dict[str, Any]:
    """What PyTorch's side needs of pydl's: layers, and the shapes of weights and inputs."""
    from nets import BATCHES, Case, problem

    given = problem(Case(net, BATCHES[net], train=True))
    return {
        "layers": given.layers,
        "weights": {name: [b.shape for b in blobs] for name, blobs in given.weights.items()},
        "inputs": {name: a.shape for name, a in given.inputs.items()},
    }


def train_pydl(net: str, outline: dict[str, Any]) -> int:
    import nets

    from pydl import Net, _core

    before = status("VmRSS")
    case = nets.Case(net, nets.BATCHES[net], train=True)
    ours = Net(nets.message_of(case), phase="TRAIN", keep="outputs")
    spec = {"base_lr": 0.001, "momentum": nets.MOMENTUM, "weight_decay": nets.DECAY}
    solver = _core.Solver(spec, ours._core)
    for name, array in random_inputs(outline).items():
        ours.blobs[name].data[...] = array
    for _ in range(STEPS):
        solver.step()
    return status("VmHWM") - before


def train_torch(mode: str, outline: dict[str, Any]) -> int:
    import torch_peer

    before = status("VmRSS")
    weights = {name: Blobs(shapes) for name, shapes in outline["weights"].items()}
    model = torch_peer.Torch(outline["layers"], weights, random_inputs(outline), mode)
    for _ in range(STEPS):
        model.step()
    return status("VmHWM") - before


class Blobs(list):
    """A layer's weights of these shapes, made one at a time when they are read."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        shape = super().__getitem__(index)
        if isinstance(index, slice):
            return Blobs(shape)
        return np.random.default_rng(0).uniform(0.01, 0.05, shape).astype(np.float32)


def random_inputs(outline: dict[str, Any]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(0, 10, shape)
        if name == "label"
        else random.standard_normal(shape, np.float32)
        for name, shape in outline["inputs"].items()
    }


def status(field: str) -> int:
    """Bytes of a field of Linux's /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"this system does not tell {field}")


def main() -> None:
    side, net, *file = sys.argv[1:]
    if not file:
        print(measured(side, net))
        return
    outline = json.loads(Path(file[0]).read_text())
    print(train_pydl(net, outline) if side == "pydl" else train_torch(side, outline))


if __name__ == "__main__":
    main()
