"""What a net sees of its data in training: the same pictures, each time varied at random anew."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pydl import prototxt
from pydl.errors import Error
from pydl.net import Net

# Layers with a transform_param that read their pictures themselves: name of their own message.
_LAYERS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "DenseImageData": "dense_image_data_param",
    "AnnotatedData": "data_param",
}
_MEANS_AND_SCALE = ("mean_file", "mean_value", "scale")
_RANDOM = ("augment", "mirror", "distort_param", "expand_param", "noise_param")


@dataclass(frozen=True)
class Preview:
    """Pictures as a data layer gives them, before mean and scale.

    Attributes:
        originals: float32 (N, C, H, W), the middle of each picture, not varied.
        samples: float32 (R, N, C, H, W), the same pictures as R passes over them give them.
        labels: float32 (N,), or None where a picture has no single label.
        layer: the layer's name.
    """

    originals: np.ndarray
    samples: np.ndarray
    labels: np.ndarray | None
    layer: str


def preview(
    model: str | Path,
    *,
    transform: str | None = None,
    count: int = 8,
    rows: int = 5,
    level: int | None = None,
    stages: Iterable[str] = (),
) -> Preview:
    """The first ``count`` pictures of a net's training data, varied ``rows`` times.

    Args:
        model: a ``.prototxt`` file with a Data, ImageData, DenseImageData or AnnotatedData layer in
            phase TRAIN; or what the source of a Data layer may be.
        transform: fields of a transform_param, in the place of the layer's own; a source needs it.
        count, rows: how many pictures, and how often each is varied.
        level, stages: for layers with include or exclude rules.

    Raises:
        Error: no such layer, fields or data that do not fit.

    >>> from pydl.data.preview import preview
    >>> seen = preview("mnist_sample/train", transform="augment { rotation: 15 }", count=4, rows=2)
    >>> seen.samples.shape
    (2, 4, 1, 28, 28)
    """
    if count < 1 or rows < 1:
        raise Error(f"{count} pictures, varied {rows} times: both must be at least 1")
    if str(model).endswith(".prototxt"):
        layer = _training_layer(Path(model), level, stages)
    elif transform is None:
        hint = 'transform="mirror: true augment { rotation: 10 }"'
        raise Error(f"{model}: nothing varies a set by itself; say what does, as in {hint}")
    else:
        layer = _layer_of('type: "Data" top: "data" top: "label"')
        layer["params"]["data_param"] = {"source": str(model)}
    if transform is not None:
        given = _layer_of(f'type: "{layer["type"]}" transform_param {{ {transform} }}')
        layer["params"]["transform_param"] = given["params"]["transform_param"]
    _show_the_first(layer, count)
    _leave_out_the_mean(layer)
    passes = [_forward(layer, "TRAIN", seed) for seed in range(1, rows + 1)]
    originals, labels = _forward(_not_varied(layer), "TEST", 1)
    if labels is not None and labels.shape != (count,):
        labels = None
    samples = np.stack([pictures for pictures, _ in passes])
    return Preview(originals, samples, labels, layer["name"])


def _training_layer(path: Path, level: int | None, stages: Iterable[str]) -> dict[str, Any]:
    message = prototxt.load_net(path)
    spec = prototxt.net_spec(message, phase="TRAIN", level=level, stages=stages)
    spec["layers"] = [layer for layer in spec["layers"] if layer["type"] in _LAYERS]
    used = Net(spec)._core.spec["layers"] if spec["layers"] else []
    if not used:
        raise Error(f"{path}: no layer of type {', '.join(_LAYERS)} in phase TRAIN")
    return next(layer for layer in spec["layers"] if layer["name"] == used[0]["name"])


def _layer_of(fields: str) -> dict[str, Any]:
    message = prototxt.parse(f'layer {{ name: "data" {fields} }}', filename="transform")
    return prototxt.net_spec(message)["layers"][0]


def _show_the_first(layer: dict[str, Any], count: int) -> None:
    layer["include"], layer["exclude"] = [], []
    reads = layer["params"].setdefault(_LAYERS[layer["type"]], {})
    reads["batch_size"] = count
    for name in ("shuffle", "rand_skip"):
        reads.pop(name, None)


def _leave_out_the_mean(layer: dict[str, Any]) -> None:
    """Neither mean nor scale, but what else the mean stands for: the places without a picture."""
    reads = layer["params"][_LAYERS[layer["type"]]]
    transform = layer["params"].setdefault("transform_param", {})
    old = {k: part.pop(k) for part in (transform, reads) for k in _MEANS_AND_SCALE if k in part}
    if "augment" not in transform or transform["augment"].get("fill"):
        return
    if old.get("mean_value"):
        transform["augment"]["fill"] = old["mean_value"]
    elif old.get("mean_file"):
        from pydl.formats import binaryproto

        mean = binaryproto.load(old["mean_file"])
        transform["augment"]["fill"] = mean.mean(axis=(-1, -2)).ravel().tolist()


def _not_varied(layer: dict[str, Any]) -> dict[str, Any]:
    layer = copy.deepcopy(layer)
    for name in _RANDOM:
        layer["params"]["transform_param"].pop(name, None)
    layer["params"][_LAYERS[layer["type"]]].pop("mirror", None)
    layer["params"].get("annotated_data_param", {}).pop("batch_sampler", None)
    return layer


def _forward(layer: dict[str, Any], phase: str, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    net = Net({"name": "preview", "phase": phase, "layers": [layer]}, seed=seed)
    net.forward()
    tops = [net.blobs[name].data.copy() for name in layer["top"]]
    return tops[0], tops[1] if len(tops) > 1 else None
