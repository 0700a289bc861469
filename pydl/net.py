"""`Net`: a net built from prototxt, a bundle or plain data, run and inspected from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pydl import _core, hooks, prototxt, python_layer
from pydl.errors import Error

hooks.install()
python_layer.install()

Model = str | os.PathLike | prototxt.Message | Mapping[str, Any]


class Blobs(Mapping[str, _core.Blob]):
    """A net's blobs by name, in the order of the net."""

    def __init__(self, core: _core.Net) -> None:
        self._core = core

    def __getitem__(self, name: str) -> _core.Blob:
        if not isinstance(name, str):
            raise KeyError(name)
        try:
            return self._core.blob(name)
        except Error as error:
            if name in self._core.blob_names:
                raise
            raise BlobNameError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.blob_names)

    def __len__(self) -> int:
        return len(self._core.blob_names)

    def __contains__(self, name: object) -> bool:
        return name in self._core.blob_names


class BlobNameError(Error, KeyError):
    """A blob or layer name that the net does not have."""

    __str__ = Error.__str__


class Net:
    """A net, ready to run.

    Args:
        model: a ``.prototxt`` path, a NetParameter (of `pydl.prototxt` or, such as NetSpec makes,
            of `pydl.caffe.proto.caffe_pb2`), a bundle written by
            ``pydl export`` (``.safetensors``), or the plain data of a NetSpec.
        weights: a weight file or several (``.caffemodel``, ``.caffemodel.h5``, ``.safetensors``),
            loaded by layer name in this order.
        phase: "TEST" or "TRAIN"; a file's own ``state`` counts if it is None.
        level, stages: for layers with include or exclude rules.
        keep: "all": every blob can be read after a forward pass; "outputs": only inputs and
            outputs, which saves memory and time. Layers then run in order, forward and (in phase
            TRAIN) backward, once each.
        seed: of fillers and everything random; 1 if not given.
        precision: "FLOAT32" or "BF16", of activations and their gradients; weights, sums and losses
            are float32 in any case.
        arithmetic: of convolutions: "FAST", "STRICT" (no larger error than the plain order of
            sums) or "DIRECT" (no Winograd transforms).
        autotune: time the kernels that can do a convolution, the first time each pass of it runs,
            and keep the fastest; once in a process for each shape.
        deterministic: no autotune; results then depend on nothing but the instruction set.
            The last four replace the file's own fields of these names, where they are given.
        allow_python: run the classes that Python layers name. Such a net is a program, and is
            refused unless this is given.

    Raises:
        Error: a file that cannot be read, a typo, parameters or shapes that do not fit, naming
            file, line and layer.

    >>> net = Net("lenet.prototxt", "lenet.caffemodel")
    >>> net.forward(data=np.zeros((64, 1, 28, 28)))["prob"].shape
    (64, 10)
    """

    def __init__(
        self,
        model: Model,
        weights: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        *,
        phase: str | int | None = "TEST",
        level: int | None = None,
        stages: Iterable[str] = (),
        keep: str = "all",
        seed: int = 1,
        precision: str | None = None,
        arithmetic: str | None = None,
        autotune: bool | None = None,
        deterministic: bool | None = None,
        allow_python: bool = False,
    ) -> None:
        given = {
            "precision": precision,
            "arithmetic": arithmetic,
            "autotune": autotune,
            "deterministic": deterministic,
        }
        options = {name: value for name, value in given.items() if value is not None}
        options["allow_python"] = bool(allow_python)
        self._core = _build(model, phase, level, stages, keep, seed, options)
        for path in _as_paths(weights):
            self.load(path)

    @classmethod
    def from_core(cls, core: _core.Net) -> Net:
        """The Python side of a net that the core holds already (a solver's)."""
        net = cls.__new__(cls)
        net._core = core
        return net

    # ---- parts ----
    @property
    def name(self) -> str:
        return self._core.name

    @property
    def phase(self) -> str:
        return self._core.phase

    @property
    def inputs(self) -> list[str]:
        """Names of the blobs to fill before a forward pass: the tops of Input layers."""
        return list(self._core.inputs)

    @property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer reads."""
        return list(self._core.outputs)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each output in the loss, 0 for those that are only shown. With a
        ``loss_weight_schedule`` it is that of the last iteration."""
        weights = {
            name: weight * row["loss_factor"]
            for row in self._core.layer_rows()
            for name, weight in zip(row["tops"], row["loss_weight"], strict=True)
        }
        return {name: weights.get(name, 0.0) for name in self.outputs}

    @property
    def blobs(self) -> Blobs:
        """Blobs by name: ``net.blobs["conv1"].data`` is a live float32 array (N, C, H, W)."""
        return Blobs(self._core)

    @property
    def params(self) -> dict[str, list[_core.Blob]]:
        """Learnable blobs of each layer that has any: ``net.params["conv1"][0].data``."""
        layers = (self._core.layer(i) for i in range(self._core.layer_count))
        return {layer.name: layer.blobs for layer in layers if layer.blobs}

    # ---- running ----
    def forward(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the net; returns copies of its outputs by name.

        Args:
            inputs: arrays for input blobs. One of another batch size or shape reshapes the net.
        """
        for name, value in inputs.items():
            self._fill(name, value)
        self._core.forward()
        return {name: np.array(self._core.blob(name).data) for name in self._core.outputs}

    def backward(self, **gradients: np.ndarray) -> None:
        """Gradients of all parameters (added to ``diff``) and of the blobs that need one.

        Args:
            gradients: of outputs whose loss is no layer of the net, of their shapes. Such outputs
                have ``loss_weight: 1`` in their layers, so that what leads to them gets a
                gradient. Those of other outputs follow from the net's own losses.

        >>> score = net.forward(data=x)["score"]
        >>> net.backward(score=(score - target) / len(x))
        """
        for name, value in gradients.items():
            self._check_gradient(name, np.shape(value))
            self._core.blob(name).diff[...] = value
        self._core.backward()

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all learnable blobs to 0."""
        self._core.clear_param_diffs()

    def reshape(self) -> None:
        """Gives all blobs the shapes that follow from the inputs' shapes."""
        self._core.reshape()

    def predict(self, data: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """The first output for each row of ``data`` (N, ...), computed in batches. Raises Error for
        a net with other than one input.

        >>> net.predict(images).argmax(axis=1)  # doctest: +SKIP
        """
        if len(self.inputs) != 1:
            found = ", ".join(self.inputs) or "none"
            raise Error(
                f'net "{self.name}" has as inputs {found}, but predict gives one: use '
                "forward(name=array, ...), or a net in which labels and losses are for training "
                "only, by include { phase: TRAIN }"
            )
        data = np.asarray(data, np.float32)
        if data.ndim == 0 or len(data) == 0:
            raise Error(f"predict needs at least one row, got an array of shape {data.shape}")
        size = batch_size or self.blobs[self.inputs[0]].shape[0] or 1
        parts = []
        for start in range(0, len(data), size):
            outputs = self.forward(**{self.inputs[0]: data[start : start + size]})
            parts.append(outputs[self.outputs[0]])
        return np.concatenate(parts)

    def _fill(self, name: str, value: np.ndarray) -> None:
        if name not in self._core.inputs:
            known = ", ".join(self._core.inputs) or "none"
            raise Error(f'net "{self.name}" has no input "{name}"; its inputs: {known}')
        blob, value = self._core.input_blob(name), np.asarray(value, np.float32)
        if value.shape != tuple(blob.shape):
            blob.reshape(*value.shape)
        blob.data[...] = value

    def _check_gradient(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self._core.outputs:
            known = ", ".join(self._core.outputs) or "none"
            raise Error(f'net "{self.name}" has no output "{name}"; its outputs: {known}')
        if shape != (expected := tuple(self._core.blob(name).shape)):
            raise Error(f'"{name}" has shape {list(expected)}, its gradient {list(shape)}')
        if not self.loss_weights[name] and not self._core.spec.get("force_backward"):
            raise Error(
                f'a gradient of "{name}" would not reach the parameters: give its layer '
                "loss_weight: 1, or the net force_backward: true"
            )

    # ---- weights ----
    def load(self, source: str | os.PathLike | Net) -> None:
        """Loads weights of equally named layers from a file, or copies those of another net.
        Nothing changes if any of them does not fit.

        Raises Error for files that cannot be read, shapes that differ, or no common layer.
        """
        from pydl.weights import load_weights

        load_weights(self._core, source._core if isinstance(source, Net) else source)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the weights; the suffix says how: ``.caffemodel``, ``.caffemodel.h5``, or
        ``.safetensors``, which holds the net as well and opens by itself: ``Net(path)``."""
        from pydl.weights import save_weights

        save_weights(self._core, path)

    def summary(self) -> str:
        """A table of layers with output shapes, parameters, FLOPs and memory."""
        from pydl.summary import summary

        return summary(self._core)

    def __repr__(self) -> str:
        return f"<pydl.Net {self.name!r}: {self._core.layer_count} layers, {self.phase}>"


def _build(
    model: Model,
    phase: str | int | None,
    level: int | None,
    stages: Iterable[str],
    keep: str,
    seed: int,
    options: Mapping[str, Any],
) -> _core.Net:
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix == ".safetensors":
            train = phase in ("TRAIN", 0)
            return _core.Net.open_bundle(str(path), train, keep, seed, **options)
        model = prototxt.load_net(path)
    if not isinstance(model, Mapping):
        message = prototxt.as_message(model)
        model = prototxt.net_spec(message, phase=phase, level=level, stages=stages)
    return _core.Net(dict(model), keep, seed, **options)


def _as_paths(weights: str | os.PathLike | Sequence[str | os.PathLike] | None) -> list:
    if weights is None:
        return []
    return [weights] if isinstance(weights, str | os.PathLike) else list(weights)
