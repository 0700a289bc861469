"""pycaffe's solvers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pydl.solver
from pydl import prototxt
from pydl.caffe import settings
from pydl.caffe.net import Net
from pydl.prototxt import Message as SolverParameter
from pydl.reporting import CaffeLog

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "SolverParameter",
    "get_solver",
]


class _Log(CaffeLog):
    """Caffe's lines; those of a run's beginning and end only where a whole run is asked for."""

    whole_run = False

    def on_start(self, solver: pydl.solver.Solver) -> None:
        if self.whole_run:
            super().on_start(solver)

    def on_end(self, solver: pydl.solver.Solver) -> None:
        if self.whole_run:
            super().on_end(solver)


class Solver:
    """A solver with pycaffe's attributes and methods, around a `pydl.Solver`.

    As in Caffe a NaN loss does not stop it, and what it does goes to the log (`init_log` shows it).
    The update rule is the file's; the classes derived from this one have their own.
    """

    _type: str | None = None  # of the update rule, whatever the file says

    def __init__(self, param_file: Any) -> None:
        message = _message(param_file)
        if self._type is not None:
            message.ClearField("solver_type")
            message.type = self._type
        if message.random_seed < 0:
            message.random_seed = settings.new_seed()
        self._solver = pydl.solver.Solver(message, stop_on_nan=False, allow_python=True)
        self._log = _Log()
        self._solver.listeners.append(self._log)
        self._net = Net.from_core(self._solver.net._core)
        self._test_nets = [Net.from_core(net._core) for net in self._solver.test_nets]

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return self._net

    @property
    def test_nets(self) -> list[Net]:
        """The nets that are tested."""
        return self._test_nets

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._solver.iter

    @property
    def param(self) -> SolverParameter:
        """The solver's message. A new ``base_lr`` counts from the next iteration on."""
        return self._solver.param

    @property
    def lr(self) -> float:
        """The learning rate of the coming update."""
        self._take_base_lr()
        return self._solver.lr

    def step(self, iterations: int) -> None:
        """Runs iterations, with the tests, displays and snapshots that fall into them."""
        self._take_base_lr()
        self._solver.step(iterations)

    def solve(self, resume_file: str | os.PathLike | None = None) -> None:
        """Runs up to ``max_iter``, from a ``.solverstate`` if one is given."""
        self._take_base_lr()
        self._log.whole_run = True
        try:
            self._solver.solve(resume_file)
        finally:
            self._log.whole_run = False

    def restore(self, state_file: str | os.PathLike) -> None:
        """Goes on from a ``.solverstate``."""
        self._solver.restore(state_file)

    def snapshot(self) -> None:
        """Writes the weights and the state."""
        self._solver.snapshot()

    def apply_update(self) -> None:
        """Changes the weights by the gradients in the net, as an iteration does at its end."""
        self._take_base_lr()
        self._solver._core.apply_update()

    def share_weights(self, net: Net) -> None:
        """Lets a net use the weights that are trained here."""
        net.share_with(self.net)

    def add_callback(
        self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any]
    ) -> None:
        """Calls these in each iteration: before it, and between the gradients and the update."""
        self._solver._core.add_callback(on_start, on_gradients_ready)

    def _take_base_lr(self) -> None:
        if self.param.HasField("base_lr"):
            self._solver._core.base_lr = self.param.base_lr


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    _type = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    _type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad (Duchi et al. 2011)."""

    _type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp (Tieleman and Hinton 2012)."""

    _type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta (Zeiler 2012)."""

    _type = "AdaDelta"


class AdamSolver(Solver):
    """Adam (Kingma and Ba 2015)."""

    _type = "Adam"


def get_solver(solver_file: Any) -> Solver:
    """The solver that a solver prototxt describes."""
    message = _message(solver_file)
    named = prototxt.solver_spec(message).get("type", "SGD")
    classes = {kind._type: kind for kind in Solver.__subclasses__()}
    return classes.get(named, Solver)(message)


def _message(model: Any) -> SolverParameter:
    if isinstance(model, str | os.PathLike):
        return prototxt.load_solver(model)
    copy = prototxt.new("SolverParameter")
    copy.CopyFrom(prototxt.as_message(model, "SolverParameter"))
    return copy
