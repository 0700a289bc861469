"""Which score of a run lr_policy "plateau" and early stopping look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import prototxt
from pydl.errors import Error
from pydl.net import Net
from pydl.prototxt.names import nearest
from pydl.solver_setup import where

Scores = dict[str, np.ndarray]


class Monitor:
    """A score at each test: an output of a test net or, where there is none, the mean training
    loss since the last test.

    Args:
        param: the SolverParameter. Its ``monitor`` names an output of a test net, the first one
            with a loss weight if it is not given. ``monitor_mode`` says whether small or large
            scores are better; if it is not given, outputs with a loss weight are to be small and
            others (an accuracy) large.
        test_nets: the solver's.

    Raises:
        Error: no such output, nothing to look at, or fields without use.
    """

    def __init__(self, param: prototxt.Message, test_nets: Sequence[Net]) -> None:
        by_tests = param.lr_policy == "plateau" and not param.plateau_winsize
        self.active = by_tests or param.early_stop_patience > 0
        self.output: str | None = None  # None: the training loss
        self.net, self.mode = 0, "MIN"
        self.total, self.count = 0.0, 0  # of training losses not yet looked at
        if self.active:
            self._choose(param, test_nets)
        for field in ("monitor", "monitor_mode"):
            if not self.active and param.HasField(field):
                raise Error(
                    f"{where(param, field)}{field} is given, but nothing uses it: neither "
                    'lr_policy "plateau" nor early_stop_patience'
                )

    def _choose(self, param: prototxt.Message, test_nets: Sequence[Net]) -> None:
        weights = {
            (name, index): weight
            for index, net in enumerate(test_nets)
            for name, weight in net.loss_weights.items()
        }
        if test_nets:
            self.output, self.net = _chosen(param, weights)
            self.mode = "MIN" if weights[self.output, self.net] else "MAX"
        elif param.monitor:
            raise Error(
                f'{where(param, "monitor")}monitor: "{param.monitor}" is an output of a test net; '
                "there is none"
            )
        elif param.test_interval <= 0:
            raise Error(
                f'{where(param)}lr_policy "plateau" and early_stop_patience look at a test net or, '
                "every test_interval iterations, at the training loss; give test_iter or "
                "test_interval"
            )
        if param.HasField("monitor_mode"):
            self.mode = param.monitor_mode

    def add_loss(self, loss: float) -> None:
        """Counts the training loss of an iteration."""
        if self.active and self.output is None:
            self.total, self.count = self.total + loss, self.count + 1

    def score(self, results: Sequence[Scores]) -> float | None:
        """The score, from what the test nets gave; None if there is none yet."""
        if self.output is not None:
            scores = results[self.net]
            return float(np.mean(scores[self.output])) if self.output in scores else None
        mean = self.total / self.count if self.count else None
        self.total, self.count = 0.0, 0
        return mean


def _chosen(param: prototxt.Message, weights: dict[tuple[str, int], float]) -> tuple[str, int]:
    """The output that is named, else the first with a loss weight, and its test net."""
    wanted, names = param.monitor, list(dict.fromkeys(name for name, _ in weights))
    for (name, index), weight in weights.items():
        if name == wanted if wanted else weight:
            return name, index
    if not wanted:
        raise Error(
            f"{where(param)}no test net has a loss; say what to look at with monitor: "
            f"{', '.join(names)}"
        )
    close = nearest(wanted, names)
    hint = f'did you mean "{close}"?' if close else f"there are {', '.join(names)}"
    raise Error(f'{where(param, "monitor")}monitor: no test net has an output "{wanted}"; {hint}')
