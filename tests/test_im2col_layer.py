"""Im2col: a convolution is a product with its columns; and errors."""

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error, _core

ISAS = _core.kernels.available_isas()


def im2col(fields, **names):
    return layer("Im2col", f"convolution_param {{ {fields} }}", **names)


WINDOWS = {
    "kernel_size: 3": (2, 3, 6, 5),
    "kernel_size: 3 pad: 2 stride: 2": (2, 3, 6, 5),
    "kernel_h: 2 kernel_w: 3 pad_h: 1 stride_w: 2": (1, 2, 5, 8),
    "kernel_size: 3 dilation: 2 pad: 1 force_nd_im2col: true": (2, 1, 8, 7),
    "kernel_size: 4 stride: 3 pad: 2": (3, 2, 17),
    "kernel_size: 2 kernel_size: 1 kernel_size: 3 pad: 1 stride: 2": (1, 3, 4, 3, 7),
    "kernel_size: 2": (1, 2, 3, 4, 3, 4),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("fields", WINDOWS)
def test_a_convolution_is_a_product_with_the_columns(fields, isa):
    _core.kernels.set_isa(isa)
    shape = WINDOWS[fields]
    conv = f"convolution_param {{ num_output: 4 bias_term: false {fields} }}"
    net = make_net(
        im2col(fields, tops="c") + layer("Convolution", conv) + "force_backward: true", {"x": shape}
    )
    weights = net.params["y"][0].data
    weights[...] = normal(*weights.shape)
    matrix = weights.reshape(4, -1)
    found = net.forward(x=normal(*shape))
    columns, y = found["c"], found["y"]
    assert columns.shape == (shape[0], matrix.shape[1], *y.shape[2:])
    want = np.einsum("ok,nk...->no...", matrix, columns)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)

    # Both ways back give the same.
    dy = normal(*y.shape, seed=1)
    gradients = []
    for blob, diff in (("y", dy), ("c", np.einsum("ok,no...->nk...", matrix, dy))):
        net.blobs["y"].diff[...] = net.blobs["c"].diff[...] = 0
        net.blobs[blob].diff[...] = diff
        net.backward()
        gradients.append(net.blobs["x"].diff.copy())
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-4)


def test_axis_and_reshape():
    net = make_net(im2col("kernel_size: 2 axis: -2"), {"x": (2, 3, 4, 5)})
    assert net.blobs["y"].shape == (2, 3, 8, 4)
    net.blobs["x"].reshape(1, 2, 3, 7)
    net.reshape()
    assert net.blobs["y"].shape == (1, 2, 6, 6)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("", (1, 2, 3, 3), "kernel_size must be given"),
        ("kernel_size: 4", (1, 2, 3, 3), "kernel 4x4 is larger than its padded input 3x3"),
        ("kernel_size: 2", (3, 4), "spatial axes behind its channels, axis 1, got shape 3x4"),
        ("kernel_h: 2 kernel_w: 2", (1, 2, 5), "for 2 spatial axes"),
        ("kernel_size: 2147483647 pad: 2147483647", (1, 2, 3, 3), "memory|bytes"),
    ],
)
def test_errors(fields, shape, message):
    with pytest.raises(Error, match=message) as caught:
        make_net(im2col(fields, name="i"), {"x": shape})
    assert 'layer "i" (Im2col)' in str(caught.value)
