"""Data layers in the place of a training net's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydl import prototxt
from pydl.errors import Error
from pydl.prototxt import Message

_MEAN = (104.0, 117.0, 123.0)  # of ImageNet's blue, green and red


def read_from(message: Message, sources: Sequence[str], batch: int) -> None:
    """Replaces the inputs ``data`` and ``label``: by `sources` to train and to test on, or one for
    both. Images are cut out to the input's size, in training at random places and mirrored.

    Raises Error if there are more than two.
    """
    if len(sources) > 2:
        raise Error(f"expected a source to train on and one to test on, got {', '.join(sources)}")
    _, channels, rows, _ = message.layer[0].input_param.shape[0].dim
    layers = [
        prototxt.new(
            "LayerParameter",
            name="data",
            type="Data",
            top=["data", "label"],
            include=[{"phase": phase}],
            transform_param=_transform(channels, rows, phase == "TRAIN"),
            data_param={"source": source, "batch_size": batch},
        )
        for phase, source in zip(("TRAIN", "TEST"), (sources[0], sources[-1]), strict=True)
    ]
    kept = [layer for layer in message.layer if layer.type != "Input"]
    del message.layer[:]
    message.layer.extend(layers + kept)


def _transform(channels: int, size: int, mirror: bool) -> dict[str, Any]:
    param: dict[str, Any] = {"crop_size": size, "mean_value": list(_MEAN[:channels])}
    return param | ({"mirror": True} if mirror else {})
