"""Reduction and MVN: against numpy, on edges, and what they refuse."""

import numpy as np
import pytest
from net_text import conv, fill_params, layer, make_net, normal

from pydl import Error, _core

ISAS = _core.kernels.available_isas()


def run(text, x, dy=None):
    """The top, and the gradient of x from that of the top."""
    net = make_net(text + "force_backward: true", {"x": x})
    y = net.forward(x=x)["y"].copy()
    if dy is None:
        return y
    net.blobs["y"].diff[...] = dy
    net.backward()
    return y, net.blobs["x"].diff.copy()


# Reduction

SUMS = {
    "SUM": (np.sum, lambda x: np.ones_like(x)),
    "ASUM": (lambda x, axis: np.abs(x).sum(axis), np.sign),
    "SUMSQ": (lambda x, axis: (x * x).sum(axis), lambda x: 2 * x),
    "MEAN": (np.mean, None),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("operation", SUMS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7,), 0), ((3, 4, 5), 0), ((3, 4, 5), 1), ((3, 4, 5), -1), ((2, 70_001), 1), ((500, 33), 1)],
)
def test_reduction(shape, axis, operation, isa):
    _core.kernels.set_isa(isa)
    text = layer(
        "Reduction", f"reduction_param {{ operation: {operation} axis: {axis} coeff: -1.5 }}"
    )
    x = normal(*shape)
    x.flat[0] = 0
    axis %= len(shape)
    axes = tuple(range(axis, len(shape)))
    reduce, slope = SUMS[operation]
    want = -1.5 * reduce(x.astype(np.float64), axis=axes)
    dy = normal(*want.shape, seed=1)
    y, dx = run(text, x, dy)
    assert y.shape == shape[:axis]
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5 * np.abs(x).sum() / max(dy.size, 1))
    spread = -1.5 * dy.reshape(*dy.shape, *[1] * len(axes))
    slopes = slope(x) if slope else np.full(shape, 1 / np.prod(shape[axis:]))
    np.testing.assert_allclose(dx, spread * slopes, rtol=1e-5)


def test_reduction_is_a_loss_where_it_has_a_weight():
    text = layer("Reduction", "reduction_param { operation: SUMSQ } loss_weight: 0.5")
    net = make_net(text + "force_backward: true", {"x": (3, 4)})
    x = normal(3, 4)
    net.forward(x=x)
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, x, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("axis: 2", (3, 4), "axis 2 is out of range"),
        ("axis: -3", (3, 4), "axis -3 is out of range"),
        ("", (), "axis 0 is out of range"),
        ("operation: MAX", (3,), '"MAX"'),
    ],
)
def test_reduction_refuses(fields, shape, message):
    with pytest.raises(Error, match=message):
        make_net(layer("Reduction", f"reduction_param {{ {fields} }}"), {"x": shape})


# MVN


def mvn(fields="", **names):
    return layer("MVN", f"mvn_param {{ {fields} }}", **names)


def normalized(x, across=False, variance=True, eps=1e-9):
    axes = tuple(range(1 if across else 2, x.ndim))
    centred = x.astype(np.float64)
    centred = centred - centred.mean(axes, keepdims=True)
    scale = np.sqrt((centred**2).mean(axes, keepdims=True)) + eps
    return centred / scale if variance else centred


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 7), (3, 2, 200, 150), (2, 5, 9)])
def test_mvn(shape, variance, across, isa):
    _core.kernels.set_isa(isa)
    fields = f"across_channels: {str(across).lower()} normalize_variance: {str(variance).lower()}"
    x = 3 * normal(*shape) + 10
    y = run(mvn(fields), x)
    assert y.shape == shape + (1,) * (4 - len(shape))
    want = normalized(x, across, variance).reshape(y.shape)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4)


def test_eps_is_added_to_the_standard_deviation():
    x = normal(2, 3, 4, 5)
    np.testing.assert_allclose(
        run(mvn("eps: 0.5"), x), normalized(x, eps=0.5), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("value", [0, 1, 0.1, -77.7, 1e30])
def test_constant_images_become_zero(value):
    y, dx = run(mvn(), np.full((2, 3, 5, 7), value, np.float32), normal(2, 3, 5, 7))
    assert not y.any() and np.isfinite(dx).all()


def test_mvn_of_five_axes_and_of_two():
    x = normal(2, 3, 4, 5, 2)
    np.testing.assert_allclose(run(mvn(), x), normalized(x), rtol=1e-4, atol=1e-5)
    assert run(mvn(), normal(4, 3)).shape == (4, 3, 1, 1)
    rows = normal(4, 30)
    y = run(mvn("across_channels: true"), rows)
    np.testing.assert_allclose(y[..., 0, 0], normalized(rows, across=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_mvn_across_takes_channels_last(precision):
    text = conv("4 kernel_size: 3", tops="h") + mvn("across_channels: true", bottoms="h", tops="m")
    net = make_net(text + conv("2 kernel_size: 1", bottoms="m"), {"x": (2, 3, 9, 8)},
                   precision=precision)  # fmt: skip
    row = net._core.layer_rows()[-2]
    assert row["layout"] == "channels-last"
    assert row["dtype"] == {"FLOAT32": "float32", "BF16": "bfloat16"}[precision]
    fill_params(net)
    net.forward(x=normal(2, 3, 9, 8))
    want = normalized(net.blobs["h"].data, across=True)
    atol = {"FLOAT32": 1e-5, "BF16": 0.02}[precision]
    np.testing.assert_allclose(net.blobs["m"].data, want, rtol=1e-4, atol=atol)
