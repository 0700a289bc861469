"""pycaffe's Net."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

import pydl.net
from pydl import _core, formats, prototxt
from pydl.caffe import settings
from pydl.errors import Error
from pydl.python_layer import Layer
from pydl.weights import NoCommonLayerError, layer_weights, load_weights

TRAIN, TEST = 0, 1
_POSITIONAL = ("phase", "level", "stages", "weights")
Arrays = Mapping[str, np.ndarray]


class Net(pydl.net.Net):
    """A net with pycaffe's attributes and methods.

    ``Net(file, phase, level=0, stages=None, weights=None)``, with keywords or without, or as in old
    programs ``Net(file, weights, phase)``. ``file`` may be a message as well (`NetSpec.to_proto`).
    ``keep`` and ``allow_python`` are `pydl.Net`'s; Python layers run unless that is False.

    >>> net = Net("deploy.prototxt", TEST, weights="lenet.caffemodel")
    >>> net.blobs["data"].data[...] = 0
    >>> net.forward()["prob"].shape
    (64, 10)
    """

    def __init__(
        self,
        network_file: Any,
        *args: Any,
        keep: str = "all",
        allow_python: bool = True,
        **kwargs: Any,
    ) -> None:
        given = _arguments(args, kwargs)
        if given.get("phase") not in (TRAIN, TEST):
            raise Error(
                "caffe.Net needs a phase: caffe.Net(file, caffe.TEST), or "
                "caffe.Net(file, weights, caffe.TEST)"
            )
        if not isinstance(network_file, str | os.PathLike | Mapping):
            network_file = prototxt.as_message(network_file)
        super().__init__(
            network_file,
            phase=int(given["phase"]),
            level=given.get("level", 0),
            stages=given.get("stages") or (),
            keep=keep,
            seed=settings.new_seed(),
            allow_python=allow_python,
        )
        if given.get("weights") is not None:
            self.copy_from(given["weights"])

    # ---- parts ----
    @cached_property
    def blobs(self) -> Mapping[str, _core.Blob]:
        """The blobs by name, in the net's order."""
        if self._core.keep != "all":
            return pydl.net.Blobs(self._core)
        return OrderedDict((name, self._core.blob(name)) for name in self._core.blob_names)

    @cached_property
    def params(self) -> OrderedDict[str, list[_core.Blob]]:
        """The learnable blobs by layer name."""
        return OrderedDict((name, x.blobs) for name, x in self.layer_dict.items() if x.blobs)

    @cached_property
    def layers(self) -> list[_core.Layer | Layer]:
        """The layers in order, with ``type`` and ``blobs``; of Python layers your own objects."""
        layers = (self._core.layer(i) for i in range(self._core.layer_count))
        return [layer.python_code.layer if layer.python_code else layer for layer in layers]

    @cached_property
    def layer_dict(self) -> OrderedDict[str, _core.Layer | Layer]:
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @cached_property
    def inputs(self) -> list[str]:
        return list(self._core.inputs)

    @cached_property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer reads, in alphabetical order as Caffe has it."""
        return sorted(self._core.outputs)

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The tops of each layer."""
        return OrderedDict((row["name"], row["tops"]) for row in self._rows)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The bottoms of each layer."""
        return OrderedDict((row["name"], row["bottoms"]) for row in self._rows)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of each blob in the loss."""
        weights = dict.fromkeys(self._blob_names, 0.0)
        for row in self._rows:
            weights.update(zip(row["tops"], row["loss_weight"], strict=True))
        return OrderedDict(weights)

    # What pycaffe's own classes are made of, and some programs use.
    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return self._core.layer_rows()

    @cached_property
    def _layer_names(self) -> list[str]:
        return [row["name"] for row in self._rows]

    @property
    def _blob_names(self) -> list[str]:
        return list(self._core.blob_names)

    @property
    def _blobs(self) -> list[_core.Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._rows[layer]["bottoms"]]

    def _top_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._rows[layer]["tops"]]

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
        **kwargs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Runs the net, or its layers from ``start`` to ``end``.

        Args:
            blobs: names of blobs to return besides the outputs (or the tops of ``end``).
            kwargs: an array for each input, of the size that the input has.

        Returns:
            Live arrays by name.
        """
        first = self._core.layer_index(start) if start else 0
        last = self._core.layer_index(end) if end else len(self._layer_names) - 1
        names = self.top_names[end] if end else self.outputs
        if kwargs:
            self._check_names(kwargs, self.inputs, "inputs")
            for name, value in kwargs.items():
                blob = self._core.input_blob(name)
                _check_batch(name, value, blob)
                blob.data[...] = value
        self._forward(first, last)
        return {name: self.blobs[name].data for name in dict.fromkeys([*names, *(blobs or ())])}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Runs the net backward, or from layer ``start`` down to ``end``.

        Args:
            diffs: names of blobs whose diff to return besides those of the inputs (or of the
                bottoms of ``end``).
            kwargs: the diff of each output.

        Returns:
            Live arrays by name.
        """
        first = self._core.layer_index(start) if start else len(self._layer_names) - 1
        last = self._core.layer_index(end) if end else 0
        names = self.bottom_names[end] if end else self.inputs
        if kwargs:
            self._check_names(kwargs, self.outputs, "outputs")
            for name, value in kwargs.items():
                _check_batch(name, value, self.blobs[name])
                self.blobs[name].diff[...] = value
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in dict.fromkeys([*names, *(diffs or ())])}

    def forward_all(
        self, blobs: Sequence[str] | None = None, **kwargs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Runs the net on any number of records, a batch at a time.

        Args:
            blobs: names of blobs to return besides the outputs.
            kwargs: (N, ...) for each input.

        Returns:
            Arrays (N, ...) by name.
        """
        parts: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(kwargs):
            _collect(parts, self.forward(blobs=blobs, **batch))
        return _joined(parts, len(next(iter(kwargs.values()))))

    def forward_backward_all(
        self,
        blobs: Sequence[str] | None = None,
        diffs: Sequence[str] | None = None,
        **kwargs: np.ndarray,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Runs the net forward and backward on any number of records, a batch at a time.

        Args:
            blobs: names of blobs to return besides the outputs.
            diffs: names of blobs whose diff to return besides the inputs'.
            kwargs: (N, ...) for each input, and the diff of each output that is to be set.

        Returns:
            Arrays (N, ...) by name: data, and diffs.
        """
        data_parts: dict[str, list[np.ndarray]] = {}
        diff_parts: dict[str, list[np.ndarray]] = {}
        forward = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        backward = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        for inputs, tops in itertools.zip_longest(forward, backward, fillvalue={}):
            _collect(data_parts, self.forward(blobs=blobs, **inputs))
            _collect(diff_parts, self.backward(diffs=diffs, **tops))
        count = len(next(iter(kwargs.values())))
        return _joined(data_parts, count), _joined(diff_parts, count)

    def _batch(self, blobs: Arrays) -> Iterator[dict[str, np.ndarray]]:
        """The arrays in batches of the net's size; zeros fill up the last one."""
        if not blobs:
            return
        size = next(iter(self.blobs.values())).shape[0]
        count = len(next(iter(blobs.values())))
        for start in range(0, count, size):
            batch = {name: np.asarray(value[start : start + size]) for name, value in blobs.items()}
            missing = size - min(size, count - start)
            yield {
                name: np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)])
                if missing
                else value
                for name, value in batch.items()
            }

    def _check_names(self, given: Iterable[str], wanted: list[str], what: str) -> None:
        if set(given) != set(wanted):
            raise Error(
                f'arrays for {", ".join(given)} do not match the {what} of net "{self.name}": '
                f"{', '.join(wanted) or 'it has none'}"
            )

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Feeds the net's first layer, a MemoryData layer: (N, C, H, W) and N labels."""
        self._set_input_arrays(data, labels)

    def _set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        first = self.layers[0]
        if first.type != "MemoryData":
            raise Error(
                "set_input_arrays: the net's first layer must be a MemoryData layer, but "
                f'"{self._layer_names[0]}" is of type {first.type}'
            )
        first.set_arrays(np.asarray(data, np.float32), np.asarray(labels, np.float32))

    def before_forward(self, function: Callable[[int], Any]) -> None:
        """Calls ``function(layer index)`` before each layer's forward pass."""
        self._core.before_forward(function)

    def after_forward(self, function: Callable[[int], Any]) -> None:
        """Calls ``function(layer index)`` after each layer's forward pass."""
        self._core.after_forward(function)

    def before_backward(self, function: Callable[[int], Any]) -> None:
        """Calls ``function(layer index)`` before each layer's backward pass."""
        self._core.before_backward(function)

    def after_backward(self, function: Callable[[int], Any]) -> None:
        """Calls ``function(layer index)`` after each layer's backward pass."""
        self._core.after_backward(function)

    # ---- weights ----
    def copy_from(self, weights: str | os.PathLike) -> None:
        """Loads the weights of equally named layers from a caffemodel or an HDF5 file; warns if
        there is no such layer, where Caffe says nothing."""
        try:
            load_weights(self._core, weights)
        except NoCommonLayerError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)

    def load_hdf5(self, path: str | os.PathLike) -> None:
        """Loads the weights of equally named layers; as `copy_from`."""
        self.copy_from(path)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the weights as a caffemodel, whatever the file is called."""
        formats.caffemodel.save(path, self.name, layer_weights(self._core))

    def save_hdf5(self, path: str | os.PathLike, write_diff: bool = False) -> None:
        """Writes the weights, and if asked for the gradients, as HDF5."""
        formats.hdf5.save(path, layer_weights(self._core, diffs=write_diff))

    def share_with(self, other: Net) -> None:
        """Uses the other net's weights of equally named layers from now on."""
        self._core.share_params(other._core)


def _arguments(args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Both of pycaffe's lists of arguments, by name."""
    legacy = bool(args) and not isinstance(args[0], int | np.integer)
    order = ("weights", "phase") if legacy else _POSITIONAL
    if len(args) > len(order):
        raise TypeError(f"caffe.Net: {len(args) - len(order)} arguments too many")
    given = dict(zip(order, args, strict=False))
    for name, value in kwargs.items():
        if name not in _POSITIONAL:
            raise TypeError(f"caffe.Net got an unexpected argument {name!r}")
        if name in given:
            raise TypeError(f"caffe.Net got {name} twice")
        given[name] = value
    return given


def _check_batch(name: str, value: np.ndarray, blob: _core.Blob) -> None:
    if np.ndim(value) == 0 or len(value) != blob.shape[0]:
        raise Error(
            f'the array for "{name}" has shape {np.shape(value)}, but its blob {blob.shape}; give '
            f"{blob.shape[0]} records, or first reshape the blob and the net"
        )


def _collect(parts: dict[str, list[np.ndarray]], outputs: Arrays) -> None:
    """Adds the outputs of a batch; a single number is one record."""
    for name, value in outputs.items():
        parts.setdefault(name, []).append(np.array(value, ndmin=1))


def _joined(parts: Mapping[str, list[np.ndarray]], count: int) -> dict[str, np.ndarray]:
    """Without what was filled up. An output that is one for the whole batch stays whole."""
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return {name: value[:count] if len(value) >= count else value for name, value in joined.items()}
