"""Training in FLOAT32 and in BF16: the test accuracy on the way, over several seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pydl
from pydl.solver import Listener

ROOT = Path(__file__).parent.parent
SEEDS = (1, 2, 3)
PRECISIONS = ("FLOAT32", "BF16")
# Example: test interval and iterations; 4,000 digits, and five passes over 60,000 pictures.
EXAMPLES = {"mnist": (100, 1000), "fashion_mnist": (469, 4690)}


class _Tests(Listener):
    def __init__(self) -> None:
        self.iterations: list[int] = []
        self.scores: dict[str, list[float]] = {"accuracy": [], "loss": []}

    def on_test(self, solver: pydl.Solver, index: int, scores: dict[str, np.ndarray]) -> None:
        self.iterations.append(solver.iter)
        for name, values in self.scores.items():
            values.append(float(scores[name]))


def rows(match: str) -> Iterator[dict[str, Any]]:
    """One row per example, precision and seed whose case contains `match`."""
    os.chdir(ROOT)  # the examples' paths start here
    for example in EXAMPLES:
        for precision in PRECISIONS:
            for seed in SEEDS:
                case = f"{example} {precision} seed {seed}"
                if match in case:
                    yield {"case": case, "example": example, **_train(example, precision, seed)}


def _train(example: str, precision: str, seed: int) -> dict[str, Any]:
    interval, iterations = EXAMPLES[example]
    solver = pydl.Solver(
        f"examples/{example}/lenet_solver.prototxt", precision=precision, random_seed=seed,
        test_interval=interval, max_iter=iterations, snapshot=0, snapshot_after_train=False,
    )  # fmt: skip
    tests = _Tests()
    solver.listeners.append(tests)
    solver.solve()
    return {"precision": precision, "seed": seed, "iterations": tests.iterations, **tests.scores}
