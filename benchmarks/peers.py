"""The same nets in PyTorch: modules made from pydl's own description of a net."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError:  # only pydl is timed then
    torch = None

MISSING = "torch is not installed, so pydl is timed alone; pip install torch==2.13.0"
LEFT_OUT = ("Input", "SoftmaxWithLoss")

Params = Mapping[str, Any]


def build(layers: Sequence[Params], shape: Sequence[int]) -> Any:
    """An `nn.Sequential` with the layers of a chain, named alike; inputs and losses left out.

    Args:
        layers: of a NetSpec, as plain data (``net._core.spec["layers"]``).
        shape: of the input.
    """
    modules: OrderedDict[str, Any] = OrderedDict()
    channels = shape[1]
    for layer in layers:
        if layer["type"] in LEFT_OUT:
            continue
        if layer["type"] == "InnerProduct" and "flatten" not in modules:
            modules["flatten"] = nn.Flatten()
        in_place = layer["bottom"] == layer["top"]
        modules[layer["name"]] = MAKERS[layer["type"]](_params(layer), channels, in_place)
        channels = _params(layer).get("num_output", channels)
    model = nn.Sequential(modules)
    with torch.no_grad():
        model(torch.zeros(shape))  # lazy layers see their input
    return model


def copy_weights(net: Any, model: Any) -> None:
    """Weights of a `pydl.Net` into the layers of the same names."""
    modules = dict(model.named_children())
    with torch.no_grad():
        for name, blobs in net.params.items():
            for blob, target in zip(blobs, modules[name].parameters(), strict=False):
                target.copy_(torch.from_numpy(np.array(blob.data)))


def variants(shape: Sequence[int]) -> dict[str, Any]:
    """Sides to time: PyTorch's default memory format and, for images, channels-last."""
    if torch is None:
        return {}
    formats = {"torch": torch.contiguous_format}
    if len(shape) == 4:
        formats["torch cl"] = torch.channels_last
    return formats


def _params(layer: Params) -> dict[str, Any]:
    """All of a layer's own parameters, whatever message they are in."""
    merged: dict[str, Any] = {}
    for message in layer.get("params", {}).values():
        merged.update(message)
    return merged


def _first(p: Params, name: str, default: int) -> int:
    """A field that may be repeated, of square kernels."""
    value = p.get(name) or default
    return value[0] if isinstance(value, list) else value


def _convolution(p: Params, channels: int, in_place: bool) -> Any:
    return nn.Conv2d(
        channels,
        p["num_output"],
        _first(p, "kernel_size", 1),
        stride=_first(p, "stride", 1),
        padding=_first(p, "pad", 0),
        groups=p.get("group", 1),
    )


def _pooling(p: Params, channels: int, in_place: bool) -> Any:
    if p.get("global_pooling"):
        return nn.AdaptiveAvgPool2d(1)
    kind = nn.AvgPool2d if p.get("pool") == "AVE" else nn.MaxPool2d
    return kind(p["kernel_size"], p.get("stride", 1), p.get("pad", 0), ceil_mode=True)


def _lrn(p: Params, channels: int, in_place: bool) -> Any:
    return nn.LocalResponseNorm(
        p.get("local_size", 5), p.get("alpha", 1.0), p.get("beta", 0.75), p.get("k", 1.0)
    )


MAKERS = {
    "Convolution": _convolution,
    "InnerProduct": lambda p, c, in_place: nn.LazyLinear(p["num_output"]),
    "Pooling": _pooling,
    "LRN": _lrn,
    "BatchNorm": lambda p, c, in_place: nn.BatchNorm2d(c, eps=p.get("eps", 1e-5), affine=False),
    "ReLU": lambda p, c, in_place: nn.ReLU(inplace=in_place),
    "Dropout": lambda p, c, in_place: nn.Dropout(p.get("dropout_ratio", 0.5)),
    "Softmax": lambda p, c, in_place: nn.Softmax(dim=1),
}
