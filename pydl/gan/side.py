"""`Side`: one of a GAN's two nets with its solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.net import Net
from pydl.solver import Model, Solver


class Side(Solver):
    """A solver whose gradients come from outside: its net ends in what the other side or the
    objective differentiates, not in a loss. Gradients go back to its inputs."""

    def __init__(self, role: str, model: Model, **overrides: Any) -> None:
        super().__init__(model, keep="all", **overrides)
        self.role = role
        if not self.param.HasField("base_lr"):
            raise Error(f"{self.source}: base_lr, the learning rate, is missing")
        if self.test_nets:
            raise Error(f"{self.source}: test nets are not used in a GAN; take test_iter out")
        for field in ("noise", "dropout_ratio"):
            if any(row[field] for row in self.net._core.param_rows()):
                raise Error(f"{self.source}: param {{ {field} }} is not used in a GAN; take it out")
        if len(self.net.outputs) != 1:
            found = ", ".join(self.net.outputs) or "none"
            raise Error(
                f"{self.source}: the {role} needs one output, but it has {found}; end unwanted "
                "ones in a Silence layer"
            )

    @property
    def source(self) -> str:
        """What messages about this side begin with."""
        return str(self._file or f"the {self.role}'s solver")

    @property
    def output(self) -> np.ndarray:
        """Of the last forward pass."""
        return self.net.blobs[self.net.outputs[0]].data

    def backward(self, gradient: np.ndarray, first: int = 0) -> None:
        """From the gradient of the output down to layer `first`; parameters' gradients add up."""
        self.net.blobs[self.net.outputs[0]].diff[...] = gradient
        self.net._core.backward(self.net._core.layer_count - 1, first)

    def clear(self) -> None:
        self.net.clear_param_diffs()

    def _make_net(self, spec: Mapping[str, Any], keep: str, allow_python: bool) -> Net:
        return super()._make_net({**spec, "force_backward": True}, keep, allow_python)
