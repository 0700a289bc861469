"""pycaffe's solvers."""

from __future__ import annotations

import os

import pydl.solver
from pydl.caffe.net import Net


class SGDSolver:
    """A solver with pycaffe's methods, around a `pydl.Solver`. A NaN loss does not stop it."""

    def __init__(self, model: str | os.PathLike) -> None:
        self._solver = pydl.solver.Solver(model, stop_on_nan=False)
        self.net = Net.from_core(self._solver.net._core)
        self.test_nets = [Net.from_core(net._core) for net in self._solver.test_nets]

    @property
    def iter(self) -> int:
        return self._solver.iter

    @property
    def lr(self) -> float:
        """The learning rate of the coming update."""
        return self._solver.lr

    @property
    def param(self) -> object:
        """The solver's message."""
        return self._solver.param

    def step(self, iterations: int) -> None:
        self._solver.step(iterations)

    def solve(self, resume: str | os.PathLike | None = None) -> None:
        self._solver.solve(resume)

    def restore(self, path: str | os.PathLike) -> None:
        self._solver.restore(path)

    def snapshot(self) -> None:
        self._solver.snapshot()

    def apply_update(self) -> None:
        self._solver._core.apply_update()


def get_solver(model: str | os.PathLike) -> SGDSolver:
    """The solver that a solver prototxt describes."""
    return SGDSolver(model)
