"""A small net that trains in no time, and the pydl command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydl

# Everything whose state a snapshot must carry: shuffled data and dropout.
NET = """
name: "small"
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.00390625 }
  data_param { source: "mnist_sample/train" batch_size: 16 shuffle: true }
}
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.00390625 }
  data_param { source: "mnist_sample/test" batch_size: 100 }
}
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer {
  name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer {
  name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST }
}
"""

SOLVER = {
    "net": '"net.prototxt"',
    "test_iter": 10,
    "test_interval": 20,
    "base_lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "lr_policy": '"inv"',
    "gamma": 0.01,
    "power": 0.75,
    "display": 10,
    "max_iter": 60,
    "snapshot": 20,
    "snapshot_prefix": '"run"',
    "random_seed": 3,
}


def write_run(folder: Path, net_text: str = NET, /, **solver: object) -> Path:
    """Puts net.prototxt and solver.prototxt into a folder; None leaves a solver field out."""
    (folder / "net.prototxt").write_text(net_text)
    fields = {**SOLVER, **solver}
    lines = [f"{name}: {value}\n" for name, value in fields.items() if value is not None]
    path = folder / "solver.prototxt"
    path.write_text("".join(lines))
    return path


def environment(**extra: str) -> dict[str, str]:
    """This one's, in which the same pydl is found."""
    home = str(Path(pydl.__file__).parents[1])
    paths = [home, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "pydl", *map(str, args)]


def run_pydl(*args: object, cwd: Path, **extra: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*args), cwd=cwd, env=environment(**extra), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def start_pydl(*args: object, cwd: Path, **popen: object) -> subprocess.Popen:
    return subprocess.Popen(
        command(*args), cwd=cwd, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **popen,
    )  # fmt: skip


def assert_one_line_error(done: subprocess.CompletedProcess, *words: str) -> None:
    """Status 1, one message on stderr with these words in it, no traceback."""
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("pydl: error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
