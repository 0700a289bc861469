"""AbsVal, BNLL, Clip, Exp, Log, Power, Swish and Threshold: values, edges, and what is refused."""

import numpy as np
import pytest
from net_text import dense, fill_params, layer, make_net, normal

from pydl import Error, _core

ISAS = _core.kernels.available_isas()
SHAPE = (2, 3, 7, 5)

# type and parameters: (value, slope) in numpy
FUNCTIONS = {
    ("AbsVal", ""): (np.abs, np.sign),
    ("BNLL", ""): (lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
    ("Clip", "clip_param { min: -0.5 max: 0.25 }"): (
        lambda x: np.clip(x, -0.5, 0.25), lambda x: (x >= -0.5) & (x <= 0.25)),
    ("Exp", ""): (np.exp, np.exp),
    ("Exp", "exp_param { base: 3 scale: 0.5 shift: -1 }"): (
        lambda x: 3.0 ** (0.5 * x - 1), lambda x: 0.5 * np.log(3) * 3.0 ** (0.5 * x - 1)),
    ("Exp", "exp_param { base: 1 shift: 4 }"): (np.ones_like, np.zeros_like),
    ("Log", "log_param { shift: 9 }"): (lambda x: np.log(x + 9), lambda x: 1 / (x + 9)),
    ("Log", "log_param { base: 0.5 scale: -2 shift: 20 }"): (
        lambda x: np.log(20 - 2 * x) / np.log(0.5),
        lambda x: -2 / np.log(0.5) / (20 - 2 * x)),
    ("Power", ""): (lambda x: x, np.ones_like),
    ("Power", "power_param { scale: -2 shift: 3 }"): (
        lambda x: 3 - 2 * x, lambda x: np.full_like(x, -2)),
    ("Power", "power_param { power: 2 shift: 1 }"): (
        lambda x: (x + 1) ** 2, lambda x: 2 * (x + 1)),
    ("Power", "power_param { power: 3 scale: 2 }"): (lambda x: (2 * x) ** 3, lambda x: 24 * x**2),
    ("Power", "power_param { power: -2 }"): (lambda x: x**-2.0, lambda x: -2 * x**-3.0),
    ("Power", "power_param { power: 1.5 shift: 9 }"): (
        lambda x: (x + 9) ** 1.5, lambda x: 1.5 * (x + 9) ** 0.5),
    ("Power", "power_param { power: 0 shift: 2 }"): (np.ones_like, np.zeros_like),
    ("Power", "power_param { power: 3 scale: 0 shift: 2 }"): (
        lambda x: np.full_like(x, 8), np.zeros_like),
    ("Swish", ""): (
        lambda x: x / (1 + np.exp(-x)),
        lambda x: (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2),
    ("Swish", "swish_param { beta: 0 }"): (lambda x: x / 2, lambda x: np.full_like(x, 0.5)),
    ("Threshold", "threshold_param { threshold: 0.25 }"): (lambda x: x > 0.25, None),
}  # fmt: skip


def name(function):
    return " ".join(function)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_values_and_slopes(function, isa):
    _core.kernels.set_isa(isa)
    value, slope = FUNCTIONS[function]
    net = make_net(layer(*function) + "force_backward: true", {"x": SHAPE})
    x, dy = normal(*SHAPE), normal(*SHAPE, seed=1)
    x[0, 0, 0, :2] = 0.25, -0.5
    wide = x.astype(np.float64)
    np.testing.assert_allclose(net.forward(x=x)["y"], value(wide), rtol=1e-5, atol=1e-6)
    if slope is not None:
        net.blobs["y"].diff[...] = dy
        net.backward()
        np.testing.assert_allclose(net.blobs["x"].diff, dy * slope(wide), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_in_place_in_test(function, isa):
    if function[0] == "AbsVal":
        return  # refused, below
    _core.kernels.set_isa(isa)
    net = make_net(layer(*function, tops="x", name="l"), {"x": SHAPE}, phase="TEST")
    x = normal(*SHAPE)
    want = FUNCTIONS[function][0](x.astype(np.float64))
    np.testing.assert_allclose(net.forward(x=x)["x"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_in_a_bf16_net(function):
    text = dense(8, tops="h") + layer(*function, bottoms="h", tops="y") + dense(3, "y", "z")
    results = []
    for precision in ("FLOAT32", "BF16"):
        net = make_net(text, {"x": (4, 6)}, precision=precision)
        fill_params(net)
        net.params["h"][0].data[...] *= 0.1
        net.params["h"][1].data[...] = np.linspace(0.6, 2, 8)  # away from kinks and poles
        results.append(np.array(net.forward(x=normal(4, 6))["z"]))
    limit = 0.02 * np.abs(results[0]).max()
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=limit)


# Edges


def run(kind, params, x, dy=None):
    """The layer's output, and its gradient for `dy`, 1 by default."""
    net = make_net(layer(kind, params) + "force_backward: true", {"x": np.shape(x)})
    y = np.array(net.forward(x=x)["y"])
    net.blobs["y"].diff[...] = 1 if dy is None else dy
    net.backward()
    return y, np.array(net.blobs["x"].diff)


@pytest.mark.parametrize("isa", ISAS)
def test_far_from_0(isa):
    _core.kernels.set_isa(isa)
    x = np.float32([-1000, -90, -20, 20, 90, 1000])
    y, dx = run("BNLL", "", x)
    np.testing.assert_allclose(y, np.logaddexp(0.0, x), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(dx, [0, 0, 2.0611537e-9, 1, 1, 1], rtol=1e-5, atol=1e-37)
    y, dx = run("Swish", "", x)
    np.testing.assert_allclose(y[2:], [-20 * 2.0611537e-9, 20, 90, 1000], rtol=1e-5)
    assert np.abs(y[:2]).max() < 1e-36
    np.testing.assert_allclose(dx[3:], 1, rtol=1e-6)
    assert np.abs(dx[:3]).max() < 1e-6
    y, _ = run("Exp", "", x)
    assert y[0] == 0 and y[-1] == np.inf


@pytest.mark.parametrize("isa", ISAS)
def test_power_at_and_below_0(isa):
    """As C's pow(); the gradient is that of the formula, not a quotient 0 / 0."""
    _core.kernels.set_isa(isa)
    y, dx = run("Power", "power_param { power: 3 }", np.float32([0, -2]))
    np.testing.assert_allclose(y, [0, -8], rtol=1e-6)
    np.testing.assert_allclose(dx, [0, 12], rtol=1e-6)
    y, dx = run("Power", "power_param { power: 0.5 }", np.float32([0, -2]))
    assert y[0] == 0 and dx[0] == np.inf
    assert np.isnan(y[1]) and np.isnan(dx[1])
    y, _ = run("Power", "power_param { power: -1 }", np.float32([0]))
    assert y[0] == np.inf


def test_a_constant_power_does_not_look_at_its_input():
    for params in ("power: 0", "scale: 0 shift: 1"):
        y, dx = run("Power", f"power_param {{ {params} }}", np.float32([np.nan, np.inf, 0]))
        np.testing.assert_array_equal(y, 1)
        np.testing.assert_array_equal(dx, 0)


@pytest.mark.parametrize("isa", ISAS)
def test_logarithms_of_what_has_none(isa):
    _core.kernels.set_isa(isa)
    y, dx = run("Log", "", np.float32([0, -1, np.inf]))
    assert y[0] == -np.inf and np.isnan(y[1]) and y[2] == np.inf
    np.testing.assert_array_equal(dx, [np.inf, -1, 0])


@pytest.mark.parametrize("isa", ISAS)
def test_nan_stays(isa):
    _core.kernels.set_isa(isa)
    for function in FUNCTIONS:
        if function[0] != "Threshold" and "scale: 0" not in name(function) and \
                "power: 0 " not in name(function):  # fmt: skip
            y, _ = run(*function, np.float32([1, np.nan]))
            assert not np.isnan(y[0]) and np.isnan(y[1]), function


def test_threshold_lets_no_gradient_through():
    text = dense(4, tops="a") + layer("Threshold", bottoms="a", tops="b")
    text += dense(3, "b", "c") + layer("SoftmaxWithLoss", bottoms="c t", tops="loss")
    net = make_net(text, {"x": (5, 6), "t": (5,)})
    fill_params(net)
    net.forward(x=normal(5, 6), t=[0, 1, 2, 1, 0])
    net.backward()
    assert not net.params["a"][0].diff.any()
    assert net.params["c"][1].diff.any()


# In place, in TEST, with force_backward: Caffe's backward pass, which takes the output for the
# input, and where it forms the slope in the memory of dy first, loses dy.


@pytest.mark.parametrize(
    ("function", "caffe"),
    [
        (("BNLL", ""), lambda y, dy: dy / (1 + np.exp(-y))),
        (("Clip", "clip_param { min: -0.5 max: 0.25 }"), lambda y, dy: dy),
        (("Log", "log_param { base: 2 scale: 3 shift: 9 }"),
         lambda y, dy: (3 / np.log(2) / (3 * y + 9)) ** 2),
        (("Power", "power_param { scale: 3 }"), lambda y, dy: np.full_like(y, 9)),
        (("Power", "power_param { power: 2 scale: 3 shift: 1 }"),
         lambda y, dy: (6 * (3 * y + 1)) ** 2),
        (("Power", "power_param { power: 1.5 scale: 0.5 shift: 9 }"),
         lambda y, dy: (0.75 * y / (0.5 * y + 9)) ** 2),
    ],
    ids=lambda value: name(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_gradient_in_place_in_test_is_caffes(function, caffe):
    text = layer(*function, tops="x", name="l") + "force_backward: true"
    net = make_net(text, {"x": SHAPE}, phase="TEST")
    y = np.array(net.forward(x=normal(*SHAPE))["x"], np.float64)
    dy = normal(*SHAPE, seed=1)
    net.blobs["x"].diff[...] = dy
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, caffe(y, dy), rtol=2e-5, atol=1e-6)


# Refusals

BAD = {
    "AbsVal in place": (layer("AbsVal", tops="x", name="l"), "cannot work in place: give its top"),
    "Clip without max": (layer("Clip", "clip_param { min: 0 }"), "both min and max, .* no max"),
    "Clip without min": (layer("Clip", "clip_param { max: 0 }"), "both min and max, .* no min"),
    "Clip without both": (layer("Clip"), "no min and no max"),
    "Clip turned": (layer("Clip", "clip_param { min: 1 max: 0 }"), "min 1 is larger than max 0"),
    "Clip nan": (layer("Clip", "clip_param { min: nan max: 0 }"), "min nan is larger"),
    "Exp base": (layer("Exp", "exp_param { base: 0 }"), "base must be positive .*got 0"),
    "Exp base -2": (layer("Exp", "exp_param { base: -2 }"), "or -1 for e, got -2"),
    "Log base": (layer("Log", "log_param { base: -0.5 }"), "or -1 for e, got -0.5"),
    "Log base inf": (layer("Log", "log_param { base: inf }"), "positive and finite"),
    "Log base 1": (layer("Log", "log_param { base: 1 }"), "base must not be 1"),
    "two tops": (layer("Swish", tops="y z"), "exactly 1 top"),
    "two bottoms": (layer("BNLL", bottoms="x x"), "exactly 1 bottom"),
    "misspelt": (layer("Threshold", "threshold_param { threshhold: 1 }"), "mean \"threshold\""),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
    text, message = BAD[case]
    with pytest.raises(Error, match=message):
        make_net(text, {"x": (2, 3)})
