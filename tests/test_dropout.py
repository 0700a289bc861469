"""Dropout whose mask is shared along axes, and its scaling: masks drawn anew in numpy."""

import numpy as np
import pytest
from net_text import conv, layer, make_net, normal
from philox_draws import stream_of, uniform

import pydl
from pydl import Error, _core

FORCED = "force_backward: true "
SHAPES = {
    "channels": ((4, 30, 5, 3), (2, 3)),  # SpatialDropout2D
    "steps": ((7, 6, 50), (0,)),  # one mask for all steps of (T, N, C)
    "middle": ((6, 7, 50), (1,)),  # likewise of (N, T, C)
    "samples": ((300, 2, 3), (-1, -2)),  # stochastic depth: whole samples
    "ends": ((5, 200, 3), (0, 2)),
    "all": ((2, 3), (0, 1)),
}


def dropout(axes, fields="", **names):
    shared = " ".join(f"shared_axis: {axis}" for axis in axes)
    return layer("Dropout", f"dropout_param {{ {shared} {fields} }}", name="d", **names)


def mask_of(shape, axes, ratio, draw=1, seed=1):
    """Which elements are kept: the draws in the order of the axes that are not shared."""
    shared = [axis % len(shape) for axis in axes]
    drawn = [1 if axis in shared else size for axis, size in enumerate(shape)]
    return np.broadcast_to(uniform(seed, stream_of("d", draw), drawn) >= ratio, shape)


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("name", SHAPES)
def test_shared_masks(name, isa):
    _core.kernels.set_isa(isa)
    shape, axes = SHAPES[name]
    x = normal(*shape)
    for threads in (1, 2):
        pydl.set_num_threads(threads)
        net = make_net(FORCED + dropout(axes, "dropout_ratio: 0.3"), {"x": shape})
        for draw in (1, 2):
            kept = mask_of(shape, axes, 0.3, draw)
            y = net.forward(x=x)["y"]
            np.testing.assert_array_equal(y, np.where(kept, x * np.float32(1 / np.float32(0.7)), 0))
        net.blobs["y"].diff[...] = x
        net.backward()
        np.testing.assert_array_equal(net.blobs["x"].diff, y)
    if name != "all":
        assert abs(kept.mean() - 0.7) < 0.1


def test_channels_last_drops_whole_channels():
    text = conv("40 kernel_size: 3", tops="c") + dropout((2, 3), bottoms="c", tops="c")
    net = make_net(text, {"x": (6, 4, 7, 8)})
    net.forward(x=normal(6, 4, 7, 8))
    y = net.blobs["c"].data
    dropped = (y == 0).all((2, 3))
    np.testing.assert_array_equal((y == 0).any((2, 3)), dropped)
    assert 0.35 < dropped.mean() < 0.65


@pytest.mark.parametrize("axes", [(), (0,)])
def test_scale_train(axes):
    """false: TRAIN only drops, TEST multiplies by 1 - ratio."""
    x = normal(4, 30)
    fields = "dropout_ratio: 0.25 scale_train: false"
    y = make_net(dropout(axes, fields), {"x": x.shape}).forward(x=x)["y"]
    assert set(np.unique(y / x)) == {0, 1}
    test = make_net(FORCED + dropout(axes, fields), {"x": x.shape}, phase="TEST")
    np.testing.assert_array_equal(test.forward(x=x)["y"], np.float32(0.75) * x)
    test.blobs["y"].diff[...] = 1
    test.backward()
    np.testing.assert_array_equal(test.blobs["x"].diff, np.full(x.shape, 0.75))


def test_passes_through_in_test():
    x = normal(3, 4, 5)
    for axes in ((), (1,)):
        net = make_net(dropout(axes), {"x": x.shape}, phase="TEST")
        np.testing.assert_array_equal(net.forward(x=x)["y"], x)


def test_ratios_of_0_and_1():
    x = normal(3, 4, 5)
    for ratio, want in ((0, x), (1, np.zeros_like(x))):
        net = make_net(dropout((1,), f"dropout_ratio: {ratio}"), {"x": x.shape})
        np.testing.assert_array_equal(net.forward(x=x)["y"], want)


def test_bfloat16():
    x = normal(4, 30, 6, 6)
    text = (
        conv("30 kernel_size: 1", tops="c")
        + dropout((2, 3), bottoms="c")
        + conv("5 kernel_size: 1", bottoms="y", tops="z")
    )
    net = make_net(text, {"x": x.shape}, precision="BF16")
    net.forward(x=x)
    c, y = net.blobs["c"].data, net.blobs["y"].data
    kept = mask_of(y.shape, (2, 3), 0.5)
    np.testing.assert_allclose(y, np.where(kept, 2 * c, 0), rtol=1e-2)


def test_axes_that_are_not_there():
    with pytest.raises(Error, match="axis 3"):
        make_net(dropout((3,)), {"x": (2, 3, 4)})
