"""Maps of coordinates between blobs, and the crops that they give."""

import numpy as np
import pytest

from pydl import caffe
from pydl.caffe import coord_map
from pydl.caffe import layers as L
from pydl.caffe.coord_map import coord_map_from_to, crop


def net(ks=5, stride=1, pad=0, pool=2, dstride=2, dpad=0, conv_axis=None, **more):
    """Convolution and pooling down, deconvolution up again."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [2, 1, 100, 100]})
    axis = {} if conv_axis is None else {"axis": conv_axis}
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=ks, stride=stride, pad=pad, **axis,
                           **more)  # fmt: skip
    n.pool = L.Pooling(n.conv, kernel_size=pool, stride=pool)
    n.relu = L.ReLU(n.pool, in_place=True)
    n.deconv = L.Deconvolution(
        n.relu,
        convolution_param={
            "num_output": 10,
            "kernel_size": dstride,
            "stride": dstride,
            "pad": dpad,
        },
    )
    return n


def test_through_a_net_and_back():
    n = net()
    axis, a, b = coord_map_from_to(n.deconv, n.data)
    assert axis == 1
    np.testing.assert_array_equal(a, 1)
    np.testing.assert_array_equal(b, 2)
    axis, a, b = coord_map_from_to(n.data, n.deconv)
    np.testing.assert_array_equal((a, b), ([1], [-2]))
    np.testing.assert_array_equal(coord_map_from_to(n.data, n.conv)[1:], ([1], [-2]))
    np.testing.assert_array_equal(coord_map_from_to(n.pool, n.conv)[1:], ([2], [0.5]))
    assert coord_map_from_to(n.data, n.data) == (None, 1, 0)


def test_padding():
    n = net(pad=(5 - 1) // 2)
    np.testing.assert_array_equal(coord_map_from_to(n.deconv, n.data)[2], 0)
    n = net(pad=10)
    np.testing.assert_array_equal(coord_map_from_to(n.deconv, n.data)[2], -8)


def test_strides_and_dilation():
    """By hand: pixel 0 of a 3-wide kernel's top lies over pixel 1, of a dilated one's over 2."""
    n = net(ks=3, stride=2, dstride=4)
    np.testing.assert_array_equal(coord_map_from_to(n.conv, n.data)[1:], ([2], [1]))
    np.testing.assert_array_equal(coord_map_from_to(n.data, n.conv)[1:], ([0.5], [-0.5]))
    np.testing.assert_array_equal(coord_map_from_to(n.data, n.deconv)[1], 1)
    dilated = net(ks=3, dilation=2)
    np.testing.assert_array_equal(coord_map_from_to(dilated.conv, dilated.data)[2], 2)


def test_rectangles():
    """Each axis has its own map."""
    tall, square, wide = (net(ks=ks) for ks in (3, [3, 5], 5))
    _, a, b = coord_map_from_to(square.deconv, square.data)
    np.testing.assert_array_equal(np.broadcast_to(a, 2), 1)
    want = [coord_map_from_to(n.deconv, n.data)[2][0] for n in (tall, wide)]
    np.testing.assert_array_equal(b, want)
    square.crop = crop(square.data, square.deconv)
    assert list(square.to_proto().layer[-1].crop_param.offset) == [1, 2]


def test_a_crop_in_the_way():
    n = net()
    n.crop = crop(n.data, n.deconv)
    np.testing.assert_array_equal(coord_map_from_to(n.crop, n.deconv)[1:], ([1], [0]))


@pytest.mark.parametrize("offset", [3, [3, 4]])
def test_a_crop_by_hand(offset):
    n = net()
    n.crop = L.Crop(n.data, n.deconv, axis=2, offset=offset)
    axis, a, b = coord_map_from_to(n.crop, n.data)
    assert axis == 1
    np.testing.assert_array_equal(np.ravel(a), 1)
    np.testing.assert_array_equal(np.ravel(b), np.ravel(offset))


def test_crop_layer():
    n = net()
    n.crop = crop(n.data, n.deconv)
    layer = n.to_proto().layer[-1]
    assert (layer.type, list(layer.bottom)) == ("Crop", ["data", "deconv"])
    assert layer.crop_param.axis == 2
    assert list(layer.crop_param.offset) == [2]


def test_what_cannot_be_cropped():
    n = net()
    with pytest.raises(AssertionError, match="differ in scale"):
        crop(n.pool, n.data)
    with pytest.raises(AssertionError, match="negative"):
        crop(n.deconv, n.data)
    even = net(ks=4)
    with pytest.raises(AssertionError, match="no whole number"):
        crop(even.data, even.deconv)


def test_axes_must_agree():
    n = net(conv_axis=2)
    with pytest.raises(coord_map.AxisMismatchException):
        coord_map_from_to(n.data, n.deconv)


def test_blobs_that_have_nothing_in_common():
    n = net()
    n.other = L.DummyData(shape={"dim": [1]})
    n.ip = L.InnerProduct(n.data, num_output=10)
    for top in (n.other, n.ip):
        with pytest.raises(RuntimeError, match="no map"):
            coord_map_from_to(n.data, top)


def test_legacy_sizes_are_refused():
    n = net()
    n.legacy = L.Convolution(n.data, num_output=1, kernel_h=1, kernel_w=2, kernel_size=1)
    with pytest.raises(AssertionError, match="_h and _w"):
        coord_map_from_to(n.legacy, n.data)


def test_layers_that_keep_coordinates():
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [2, 1, 9, 9]})
    top = n.data
    for name in coord_map.PASS_THROUGH_LAYERS:
        top = getattr(L, name)(top)
    assert coord_map_from_to(top, n.data) == (None, 1, 0)
