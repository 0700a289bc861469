"""pycaffe's coord_map: which pixel of one blob belongs to which of another, for Crop layers.

A map is (axis, a, b): coordinate x of one top is a x + b of another, from that axis on; ``axis``
is None where it holds for any. ``a`` and ``b`` may be arrays, with a value for each axis.
"""

# pycaffe's module holds the name "division", too.
from __future__ import annotations, division  # noqa: UP010

from collections.abc import Iterator
from typing import Any

import numpy as np

from pydl.caffe.net_spec import Function, Top
from pydl.caffe.net_spec import layers as L

__all__ = [
    "PASS_THROUGH_LAYERS",
    "AxisMismatchException",
    "UndefinedMapException",
    "compose",
    "conv_params",
    "coord_map",
    "coord_map_from_to",
    "crop",
    "crop_params",
    "inverse",
]

Map = tuple[int | None, Any, Any]

PASS_THROUGH_LAYERS = [
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp"),
    *("MVN", "Power", "ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"),
]
_LEGACY = {f"{what}_{axis}" for what in ("pad", "kernel", "stride") for axis in "hw"}


class UndefinedMapException(Exception):
    """A layer whose tops have no coordinates of their own in its bottoms."""


class AxisMismatchException(Exception):
    """Two maps that begin at different axes."""


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Axis, stride, extent of the dilated kernel, and pad of a convolution or pooling layer."""
    given = fn.params.get("convolution_param", fn.params)
    if _LEGACY & set(fn.params):
        raise AssertionError("crops take kernel_size, stride and pad, not their forms _h and _w")
    sizes = np.array(given["kernel_size"], ndmin=1)
    dilation = np.array(given.get("dilation", 1), ndmin=1)
    return (
        given.get("axis", 1),
        np.array(given.get("stride", 1), ndmin=1),
        (sizes - 1) * dilation + 1,
        np.array(given.get("pad", 0), ndmin=1),
    )


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """Axis and offset of a Crop layer."""
    given = fn.params.get("crop_param", fn.params)
    return given.get("axis", 2), np.array(given.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """From the coordinates of a layer's bottom to those of its top, backwards: x_top -> x_bottom.

    Raises UndefinedMapException for layers that keep no coordinates.
    """
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # the axis before the first with coordinates
    raise UndefinedMapException(f"{fn.type_name} has no map of coordinates")


def compose(base_map: Map, next_map: Map) -> Map:
    """``next_map`` first, then ``base_map``."""
    (axis, a, b), (next_axis, next_a, next_b) = base_map, next_map
    if None not in (axis, next_axis) and axis != next_axis:
        raise AxisMismatchException(f"maps of axes {axis} and {next_axis}")
    return next_axis if axis is None else axis, a * next_a, a * next_b + b


def inverse(coord_map: Map) -> Map:
    """The map the other way round."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map between two tops, by way of a blob that both come from.

    Raises RuntimeError if there is none; all that there are count as the same.
    """
    from_maps = dict(_walk_up(top_from))
    for top, to_map in _walk_up(top_to):
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise RuntimeError(
        "no map between these tops: they come from no common blob by layers that keep coordinates"
    )


def _walk_up(top: Top) -> Iterator[tuple[Top, Map]]:
    """The blobs that a top comes from, with the maps that lead to them."""
    maps: dict[Top, Map] = {top: (None, 1, 0)}
    frontier = [top]
    while frontier:
        here = frontier.pop()
        yield here, maps[here]
        try:
            step = coord_map(here.fn)
        except UndefinedMapException:
            continue
        # A Crop's second bottom gives it a size, not coordinates.
        bottoms = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        for bottom in bottoms:
            maps[bottom] = compose(maps[here], step)
            frontier.append(bottom)


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts out of ``top_from`` what lies over ``top_to``.

    Raises AssertionError where the scales differ, or the offset is negative or no whole number.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    _check((np.asarray(a) == 1).all(), f"the blobs to crop differ in scale (a = {a})")
    _check((np.asarray(b) <= 0).all(), f"the offset of a crop would be negative (b = {b})")
    _check((np.round(b) == b).all(), f"the offset of a crop would be no whole number (b = {b})")
    offset = (-np.round(b)).astype(int).ravel().tolist()
    return L.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)
