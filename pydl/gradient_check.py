"""Gradients checked against differences of the forward pass, for pydl's layers and your own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pydl import _core, prototxt
from pydl.errors import Error
from pydl.net import Model, Net

# Float32 rounding of a sum, in units of the root of its terms' squares.
_ROUNDING = 2.0**-21
# Gradients below this part of a blob's greatest one are compared as if they were that large.
_FLOOR = 0.1
_FEWEST_SKIPPED = 2


@dataclass
class GradientReport:
    """What `check_gradients` found: nothing wrong, or it would have raised."""

    checked: dict[str, int] = field(default_factory=dict)  # elements compared, per blob
    skipped: list[str] = field(default_factory=list)  # elements at a kink
    worst: float = 0.0  # largest difference seen, relative to the gradient

    def __str__(self) -> str:
        count = sum(self.checked.values())
        return (
            f"{count} gradients in {len(self.checked)} blobs agree to {self.worst:.1e}"
            f" ({len(self.skipped)} skipped at kinks)"
        )


def check_gradients(
    model: Net | Model,
    inputs: Mapping[str, tuple[int, ...] | np.ndarray] | None = None,
    *,
    phase: str = "TRAIN",
    step: float = 1e-2,
    tolerance: float = 2e-3,
    samples: int = 60,
    max_skipped: float = 0.05,
    seed: int = 1,
    allow_python: bool = False,
) -> GradientReport:
    """Compares what a net's backward pass computes with differences of its forward pass.

    The function differentiated is a random linear combination of the net's outputs, summed in
    float64. Its gradient is compared at every input and learnable blob that has one, element by
    element, or at a random choice of elements of large blobs. Elements where the function has a
    kink (ReLU at 0, two equal values under a maximum) are skipped. Random layers draw the same
    numbers in every pass. Blobs whose gradient is cut off on the way (``propagate_down: false``,
    labels) and those with ``lr_mult: 0`` are left out.

    Args:
        model: a path, a `pydl.prototxt` NetParameter or plain data, as for `pydl.Net`, or the text
            of a prototxt, which is built with gradients for all inputs; or a `pydl.Net`, which
            is taken as it is: without ``force_backward`` only what leads to a loss has a gradient.
        inputs: an array, or the shape of one to fill with normal random numbers, for each input.
            Bottoms that no layer has as a top get an Input layer.
        phase: of a net that is not built yet.
        step: how far an element is moved, times max(1, its absolute value).
        tolerance: greatest difference, relative to the gradient.
        samples: most elements to compare in each blob.
        max_skipped: greatest part of all elements that may be skipped (two may in any case).
        seed: of random inputs, of the combination and of the choice of elements. Learnable blobs
            of one value (such as zeros) get random values as well.
        allow_python: as in `pydl.Net`, for layers written in Python.

    Raises:
        Error: a gradient that differs, naming layer, blob, element and the two values; too many
            elements at kinks; nothing to compare.

    >>> print(check_gradients(
    ...     'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"'
    ...     ' inner_product_param { num_output: 3 } }',
    ...     {"x": (2, 4)},
    ... ))  # doctest: +ELLIPSIS
    23 gradients in 3 blobs agree to ... (0 skipped at kinks)
    """
    rng = np.random.default_rng(seed)
    inputs = dict(inputs or {})
    net = model
    if not isinstance(model, Net):
        net = Net(_forced_spec(model, inputs, phase), seed=seed, allow_python=allow_python)
    if net._core.keep != "all":
        raise Error('check_gradients needs a net built with keep="all"')
    probe = _Probe(net, inputs, rng)
    report = GradientReport()
    for target in probe.targets:
        _check_blob(probe, target, report, rng, step, tolerance, samples)
    total = sum(report.checked.values()) + len(report.skipped)
    if len(report.skipped) > max(_FEWEST_SKIPPED, max_skipped * total):
        raise Error(
            f"{len(report.skipped)} of {total} elements lie at kinks, more than max_skipped = "
            f"{max_skipped} allows, so that little is checked: {_some(report.skipped)}; "
            "choose other inputs or a smaller step"
        )
    return report


@dataclass
class _Target:
    """A blob whose gradient is compared. `value` is what it holds before every pass."""

    name: str
    label: str  # for messages
    blob: _core.Blob

    def __post_init__(self) -> None:
        self.value = np.array(self.blob.data)
        self.gradient = np.zeros(self.value.shape)


class _Probe:
    """The function under test: from the values of the targets to one number."""

    def __init__(
        self, net: Net, inputs: Mapping[str, tuple[int, ...] | np.ndarray], rng: np.random.Generator
    ) -> None:
        self.core = net._core
        self.forced = self.core.spec.get("force_backward", False)
        self.rows = self.core.layer_rows()
        self.params = self.core.param_rows()
        _fill_inputs(net, inputs, rng)
        _fill_params(self, rng)
        self.state = self.core.layer_state()
        inputs = {name: self.core.input_blob(name) for name in net.inputs}
        self.kept = [
            *(_Target(name, self._input_label(name), blob) for name, blob in inputs.items()),
            *(_Target(label, label, blob) for label, blob in self._param_blobs()),
        ]
        self._start_state()
        self.core.forward()
        self.tops = {
            name: rng.standard_normal(self.core.blob(name).shape) for name in self._top_names()
        }
        live = self._differentiable()
        self.targets = [target for target in self.kept if target.name in live]
        if not self.targets:
            raise Error(
                f'check_gradients: no input and no learnable blob of net "{net.name}" has a '
                "gradient; give the net a loss or force_backward: true"
            )
        self._find_gradients()
        self.start = self.value()

    def value(self) -> tuple[float, float]:
        """The function, and the size of its rounding error."""
        self._start_state()
        self.core.forward()
        terms = [w * self.core.blob(name).data.astype(np.float64) for name, w in self.tops.items()]
        rounding = _ROUNDING * np.sqrt(sum(float(np.sum(t * t)) for t in terms))
        return float(sum(np.sum(t) for t in terms)), rounding

    def _start_state(self) -> None:
        for target in self.kept:
            target.blob.data[...] = target.value
        self.core.set_layer_state(self.state)

    def _find_gradients(self) -> None:
        self._start_state()
        self.core.clear_param_diffs()
        self.core.forward()
        for name, weights in self.tops.items():
            self.core.blob(name).diff[...] = weights
        self.core.backward()
        for target in self.targets:
            target.gradient = np.array(target.blob.diff, np.float64)
            if not np.isfinite(target.gradient).all():
                raise Error(f"{target.label}: the gradient holds NaN or infinity")

    def _param_blobs(self) -> Iterator[tuple[str, _core.Blob]]:
        for row in self.params:
            layer = self.core.layer(self.core.layer_index(row["layer"]))
            yield _param_name(row, layer.type), layer.blobs[row["index"]]

    def _input_label(self, name: str) -> str:
        readers = [row for row in self.rows if name in row["bottoms"]]
        first = f', read by layer "{readers[0]["name"]}" ({readers[0]["type"]})' if readers else ""
        return f'input "{name}"{first}'

    def _top_names(self) -> list[str]:
        """Tops whose diff decides the gradients: those with a loss weight and, where gradients are
        forced, all outputs that depend on something differentiable."""
        last = {name: row for row in self.rows for name in row["tops"]}
        outputs = set(self.core.outputs)
        names = []
        for name, row in last.items():
            weighted = row["loss_weight"][row["tops"].index(name)] != 0
            forced = self.forced and name in outputs and self._has_gradient(row)
            if row["needs_backward"] and (weighted or forced):
                names.append(name)
        return names

    def _has_gradient(self, row: Mapping[str, Any]) -> bool:
        return any(row["propagates"]) or any(self._learns(i) for i in row["param_ids"])

    def _learns(self, param: int) -> bool:
        return self.params[param]["lr_mult"] != 0

    def _differentiable(self) -> set[str]:
        """Names of the targets whose whole gradient the backward pass computes.

        Goes from the last layer to the first with, per blob, whether it leads to the tops, and
        whether on some way there the gradient is cut off.
        """
        whole = dict.fromkeys(self.tops, True)  # blobs that lead to the tops: not cut off?
        whole_params: dict[int, bool] = {}
        for row in reversed(self.rows):
            if set(row["tops"]) <= set(self.core.inputs) and not row["bottoms"]:
                continue
            tops = [whole.pop(name) for name in row["tops"] if name in whole]
            if not tops:
                continue
            for name, propagates in zip(row["bottoms"], row["propagates"], strict=True):
                whole[name] = whole.get(name, True) and propagates and all(tops)
            for param in row["param_ids"]:
                whole_params[param] = whole_params.get(param, True) and all(tops)
        names = [name for name, _ in self._param_blobs()]
        live = {names[i] for i, uncut in whole_params.items() if uncut and self._learns(i)}
        return live | {name for name in self.core.inputs if whole.get(name)}


def _check_blob(
    probe: _Probe,
    target: _Target,
    report: GradientReport,
    rng: np.random.Generator,
    step: float,
    tolerance: float,
    samples: int,
) -> None:
    count = target.value.size
    chosen = np.arange(count)
    if count > samples:
        chosen = np.sort(rng.choice(count, samples, replace=False))
    floor = _FLOOR * np.abs(target.gradient).max(initial=0)
    report.checked[target.name] = 0
    for flat in chosen:
        index = np.unravel_index(flat, target.value.shape)
        element = _Element(probe, target, index, step, tolerance, floor)
        where = f"{target.label}, element {tuple(int(i) for i in index)}"
        if element.agrees():
            report.checked[target.name] += 1
            report.worst = max(report.worst, element.relative_error)
        elif element.at_kink():
            report.skipped.append(where)
        else:
            raise Error(
                f"{where}: backward gives {element.gradient:.6g}, but differences of forward "
                f"{element.slope:.6g} (with step {element.step:g}; they may differ by "
                f"{element.allowed():.2g})"
            )


class _Element:
    """One element of a blob: its gradient, and the slopes of the function along it."""

    def __init__(
        self,
        probe: _Probe,
        target: _Target,
        index: tuple[int, ...],
        step: float,
        tolerance: float,
        floor: float,
    ) -> None:
        self._probe, self._target, self._index = probe, target, index
        self._start = target.value[index]
        self._tolerance, self._floor = tolerance, floor
        self.gradient = float(target.gradient[index])
        self.step = step * max(1.0, abs(float(self._start)))
        self.slope, *self._sides = self._differences(self.step)
        self._coarse = self.slope

    @property
    def relative_error(self) -> float:
        size = max(abs(self.gradient), abs(self.slope), self._floor)
        return abs(self.gradient - self.slope) / size if size else 0.0

    def allowed(self) -> float:
        size = max(abs(self.gradient), abs(self.slope), self._floor)
        return self._tolerance * size + self.rounding / self.step

    def agrees(self) -> bool:
        if abs(self.gradient - self.slope) <= self.allowed():
            return True
        # Where the function is bent, half the step and Richardson's extrapolation are closer.
        self._fine, *self._fine_sides = self._differences(self.step / 2)
        self.slope = (4 * self._fine - self._coarse) / 3
        return abs(self.gradient - self.slope) <= self.allowed()

    def at_kink(self) -> bool:
        """Whether the slope jumps nearby: then central differences of two steps disagree about as
        much as the gradient does with them, or the slopes to the two sides do not come closer as
        the step shrinks."""
        wrong_by, noise = abs(self.gradient - self.slope), self.rounding / self.step
        if abs(self._coarse - self._fine) > max(wrong_by / 4, noise):
            return True
        gap, fine_gap = (abs(s[0] - s[1]) for s in (self._sides, self._fine_sides))
        return fine_gap > max(0.75 * gap, wrong_by, 4 * noise)

    def _differences(self, step: float) -> tuple[float, float, float]:
        """Slope through the points at +-step, and the slopes to the right and to the left."""
        middle, self.rounding = self._probe.start
        points = []
        for moved in (self._start + step, self._start - step):
            self._target.value[self._index] = moved
            points.append((float(self._target.value[self._index]), self._probe.value()[0]))
        self._target.value[self._index] = self._start
        (right, above), (left, below), x = *points, float(self._start)
        return (
            (above - below) / (right - left),
            (above - middle) / (right - x),
            (middle - below) / (x - left),
        )


def _forced_spec(model: Model, inputs: Mapping[str, Any], phase: str) -> dict[str, Any]:
    """The model as plain data, with gradients for all inputs, and an Input layer for each bottom
    that no layer writes."""
    if isinstance(model, str) and "{" in model:
        model = prototxt.parse(model)
    if isinstance(model, str | os.PathLike):
        model = prototxt.load_net(model)
    if isinstance(model, prototxt.Message):
        model = prototxt.net_spec(model, phase=phase)
    spec = {"phase": phase, **model, "force_backward": True}
    made: set[str] = set()
    missing: dict[str, None] = {}
    for layer in spec["layers"]:
        missing |= dict.fromkeys(b for b in layer.get("bottom", ()) if b not in made)
        made |= set(layer.get("top", ()))
    return spec | {
        "layers": [
            *(_input_layer(name, inputs[name]) for name in missing if name in inputs),
            *spec["layers"],
        ]
    }


def _input_layer(name: str, value: tuple[int, ...] | np.ndarray) -> dict[str, Any]:
    shape = value.shape if isinstance(value, np.ndarray) else value
    return {
        "name": f"input {name}",
        "type": "Input",
        "top": [name],
        "params": {"input_param": {"shape": [{"dim": [int(dim) for dim in shape]}]}},
    }


def _fill_inputs(
    net: Net, inputs: Mapping[str, tuple[int, ...] | np.ndarray], rng: np.random.Generator
) -> None:
    for name, value in inputs.items():
        if not isinstance(value, np.ndarray):
            value = rng.standard_normal(tuple(value))
        net._fill(name, value)
    for name in net.inputs:
        if name not in inputs:
            net._fill(name, rng.standard_normal(net._core.input_blob(name).shape))


def _fill_params(probe: _Probe, rng: np.random.Generator) -> None:
    """Gradients at zeros, or with all weights equal, would be blind to many mistakes."""
    for row, (_, blob) in zip(probe.params, probe._param_blobs(), strict=True):
        data = blob.data
        if row["lr_mult"] != 0 and data.size and np.ptp(data) == 0:
            data[...] += 0.5 * rng.standard_normal(data.shape)


def _param_name(row: Mapping[str, Any], layer_type: str) -> str:
    return f'layer "{row["layer"]}" ({layer_type}), learnable blob {row["index"]}'


def _some(items: list[str], most: int = 3) -> str:
    return "; ".join(items[:most]) + ("; ..." if len(items) > most else "")
