"""pycaffe's Net."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pydl.net
from pydl import _core
from pydl.caffe import settings
from pydl.errors import Error
from pydl.weights import load_weights

TRAIN, TEST = 0, 1


class Net(pydl.net.Net):
    """A net with pycaffe's methods.

    ``Net(model, phase)`` or ``Net(model, weights, phase)``; also with keywords ``network_file``,
    ``weights``, ``phase``, ``level``, ``stages``, and pydl's ``keep``.
    """

    def __init__(
        self,
        network_file: str | os.PathLike,
        *args: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike | None = None,
        keep: str = "all",
    ) -> None:
        for value in args:
            if isinstance(value, int | np.integer):
                phase = int(value)
            else:
                weights = value
        if phase not in (TRAIN, TEST):
            raise Error("caffe.Net needs a phase: caffe.Net(model, caffe.TEST)")
        super().__init__(
            network_file,
            weights,
            phase=phase,
            level=level,
            stages=stages or (),
            keep=keep,
            seed=settings.random_seed(),
        )

    # ---- parts ----
    @property
    def params(self) -> OrderedDict[str, list[_core.Blob]]:
        return OrderedDict(super().params)

    @property
    def layers(self) -> list[_core.Layer]:
        """The layers in order; each has ``type`` and ``blobs``."""
        return [self._core.layer(i) for i in range(self._core.layer_count)]

    @property
    def layer_dict(self) -> OrderedDict[str, _core.Layer]:
        return OrderedDict((layer.name, layer) for layer in self.layers)

    @property
    def _layer_names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((row["name"], row["tops"]) for row in self._core.layer_rows())

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((row["name"], row["bottoms"]) for row in self._core.layer_rows())

    # ---- running ----
    def _forward(self, begin: int, end: int) -> float:
        """Runs layers ``begin`` to ``end``, both included; the loss of those."""
        return self._core.forward(begin, end)

    def _backward(self, begin: int, end: int) -> None:
        """Runs backward from layer ``begin`` down to layer ``end``, both included."""
        self._core.backward(begin, end)

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Runs the net, or its layers from ``start`` to ``end``.

        Returns the outputs (or the top of ``end``) and the named ``blobs``, as live views.
        """
        names = self._layer_names
        first = self._core.layer_index(start) if start else 0
        last = self._core.layer_index(end) if end else len(names) - 1
        wanted = set(self.top_names[end] if end else self.outputs) | set(blobs or ())
        for name, value in inputs.items():
            self._fill(name, value)
        self._forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **outputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Runs the net backward, or from layer ``start`` down to ``end``, from the given output
        diffs. Returns the diffs of the inputs (or of the bottom of ``end``) and of ``diffs``."""
        first = self._core.layer_index(start) if start else len(self._layer_names) - 1
        last = self._core.layer_index(end) if end else 0
        wanted = set(self.bottom_names[end] if end else self.inputs) | set(diffs or ())
        for name, value in outputs.items():
            blob, value = self.blobs[name], np.asarray(value, np.float32)
            if value.shape != tuple(blob.shape):
                raise Error(f'diff of "{name}": shape {value.shape}, the blob has {blob.shape}')
            blob.diff[...] = value
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def clear_param_diffs(self) -> None:
        self._core.clear_param_diffs()

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Feeds the net's first layer, a MemoryData layer: (N, C, H, W) and N labels."""
        self.layers[0].set_arrays(np.asarray(data, np.float32), np.asarray(labels, np.float32))

    def before_forward(self, function: Callable[[int], None]) -> None:
        """Calls ``function(layer index)`` before each layer's forward pass."""
        self._core.before_forward(function)

    def after_forward(self, function: Callable[[int], None]) -> None:
        self._core.after_forward(function)

    def before_backward(self, function: Callable[[int], None]) -> None:
        self._core.before_backward(function)

    def after_backward(self, function: Callable[[int], None]) -> None:
        self._core.after_backward(function)

    # ---- weights ----
    def copy_from(self, path: str | os.PathLike) -> None:
        """Loads weights of equally named layers."""
        load_weights(self._core, path)

    def share_with(self, other: Net) -> None:
        """Uses the other net's weights of equally named layers from now on."""
        self._core.share_params(other._core)
