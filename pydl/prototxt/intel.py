"""What Intel's Caffe lets a layer do for others, as layers of their own."""

from __future__ import annotations

from typing import Any

_RECTIFIED = ("convolution_param", "batch_norm_param")
_FIELDS = ("relu", "negative_slope")


def written_out(layer: dict[str, Any], stats_batch_size: int = 0) -> list[dict[str, Any]]:
    """A layer as plain data without fields that Intel's Caffe alone has, and what they stand for.

    ``relu`` (with ``negative_slope``) of a convolution or BatchNorm is a ReLU layer behind it, in
    place; `stats_batch_size`, the net's ``bn_stats_batch_size``, goes to a BatchNorm that has none
    of its own.

    >>> layer = {"name": "c", "type": "Convolution", "bottom": ["x"], "top": ["y"],
    ...          "params": {"convolution_param": {"num_output": 2, "relu": True}}}
    >>> [part["name"] for part in written_out(layer)]
    ['c', 'c/relu']
    """
    if stats_batch_size and layer["type"] == "BatchNorm":
        own = {"stats_batch_size": stats_batch_size, **layer["params"].get("batch_norm_param", {})}
        layer = {**layer, "params": {**layer["params"], "batch_norm_param": own}}
    for message in _RECTIFIED:
        given = layer["params"].get(message, {})
        if not any(name in given for name in _FIELDS):
            continue
        own = {name: value for name, value in given.items() if name not in _FIELDS}
        relu, slope = given.get("relu", False), given.get("negative_slope", 0.0)
        layer = {**layer, "params": {**layer["params"], message: own}}
        if relu:
            return [{**layer, "loss_weight": []}, *_rectifiers(layer, slope)]
    return [layer]


def _rectifiers(layer: dict[str, Any], slope: float) -> list[dict[str, Any]]:
    tops, weights = layer["top"], layer.get("loss_weight", [])
    suffixes = [""] if len(tops) == 1 else [f"_{i}" for i in range(len(tops))]
    return [
        {
            **layer,
            "name": f"{layer['name']}/relu{suffix}",
            "type": "ReLU",
            "bottom": [top],
            "top": [top],
            "param": [],
            "propagate_down": [],
            "loss_weight": weights[i : i + 1],
            "params": {"relu_param": {"negative_slope": slope}} if slope else {},
        }
        for i, (top, suffix) in enumerate(zip(tops, suffixes, strict=True))
    ]
