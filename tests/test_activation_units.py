"""SiLU, Softplus, LeakyReLU, SELU, GLU and Maxout against torch; their edges."""

import numpy as np
import pytest
from net_text import conv, layer, make_net, normal
from torch_layers import check, close, recorded

from pydl import Error, _core


def maxout(pieces, axis=1):
    def call(x):
        shape = list(x.shape)
        shape[axis : axis + 1] = [shape[axis] // pieces, pieces]
        return x.reshape(shape).max(axis + 1).values

    return call


# name: (type, parameters, torch's function, shape)
UNITS = {
    "silu": ("SiLU", "", lambda nn: nn.SiLU(), (3, 47)),
    "softplus": ("Softplus", "", lambda nn: nn.Softplus(), (3, 47)),
    "softplus_beta": ("Softplus", "softplus_param { beta: 3 threshold: 4 }",
                      lambda nn: nn.Softplus(3, 4), (3, 47)),
    "leaky_relu": ("LeakyReLU", "", lambda nn: nn.LeakyReLU(), (3, 47)),
    "leaky_relu_slope": ("LeakyReLU", "leaky_relu_param { negative_slope: 0.3 }",
                         lambda nn: nn.LeakyReLU(0.3), (3, 47)),
    "selu": ("SELU", "", lambda nn: nn.SELU(), (3, 47)),
    "glu": ("GLU", "", lambda nn: nn.GLU(), (3, 5, 14)),
    "glu_axis": ("GLU", "glu_param { axis: 1 }", lambda nn: nn.GLU(1), (3, 6, 5, 7)),
    "maxout": ("Maxout", "", lambda nn: maxout(2), (5, 34)),
    "maxout_3": ("Maxout", "maxout_param { pieces: 3 }", lambda nn: maxout(3), (2, 9, 5, 7)),
    "maxout_axis": ("Maxout", "maxout_param { pieces: 4 axis: -1 }",
                    lambda nn: maxout(4, 2), (2, 3, 24)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_as_torch(name, torch_values):
    kind, params, make, shape = UNITS[name]
    case = lambda torch: recorded(torch, make(torch.nn), [4 * torch.randn(shape)])  # noqa: E731
    check(torch_values(f"unit_{name}", case), kind, params)


@pytest.mark.parametrize("isa", [isa for isa in _core.kernels.available_isas() if isa != "ref"])
def test_glu_of_odd_numbers_as_torch(isa, torch_values):
    """A gate that is shut or open to float32's last bit has no slope: infinity times it is NaN."""
    odd = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e30, -1e30, 90.0, -90.0, 17.0, -17.0, 1.0]

    def case(torch):
        pairs = torch.cartesian_prod(torch.tensor(odd), torch.tensor(odd))
        return recorded(torch, torch.nn.GLU(), [pairs])

    v = torch_values("unit_glu_odd", case)
    _core.kernels.set_isa(isa)
    net = make_net(f"force_backward: true {layer('GLU')}", {"x": v["x0"]})
    y = net.forward(x=v["x0"])["y"]
    net.blobs["y"].diff[...] = v["dy"]
    net.backward()
    near = {"rtol": 1e-5, "atol": 1e-30}  # what is denormal may be 0
    np.testing.assert_allclose(y, v["y"], **near)
    np.testing.assert_allclose(net.blobs["x"].diff, v["dx0"], **near)


@pytest.mark.parametrize("kind", ["SiLU", "Softplus", "LeakyReLU", "SELU"])
def test_in_place_is_the_same(kind):
    x = normal(2, 5, 7)
    before = f"force_backward: true {layer('Power', '', 'x', 'a')}"
    found = []
    for top in ("y", "a"):
        net = make_net(before + layer(kind, "", "a", top, "unit"), {"x": x})
        y = np.array(net.forward(x=x)[top])
        net.blobs[top].diff[...] = normal(2, 5, 7, seed=1)
        net.backward()
        found.append((y, np.array(net.blobs["x"].diff)))
    for apart, in_place in zip(*found, strict=True):
        np.testing.assert_array_equal(in_place, apart)


@pytest.mark.parametrize("kind, params", [
    ("GLU", "glu_param { axis: 1 }"),
    ("Maxout", "maxout_param { pieces: 3 }"),
    ("Maxout", "maxout_param { pieces: 2 }"),
])  # fmt: skip
def test_channels_last(kind, params):
    """Behind a convolution the channels of a pixel are neighbours."""
    text = conv("12 kernel_size: 1", tops="c") + layer(kind, params, "c")
    x = normal(2, 3, 5, 7)
    net = make_net(f"force_backward: true {text}", {"x": x})
    y = np.array(net.forward(x=x)["y"])
    net.blobs["y"].diff[...] = dy = normal(*y.shape, seed=1)
    net.backward()
    alone = make_net(f"force_backward: true {layer(kind, params, 'c')}", {"c": (2, 12, 5, 7)})
    close(y, alone.forward(c=net.blobs["c"].data)["y"], 1e-6, "y")
    alone.blobs["y"].diff[...] = dy
    alone.backward()
    close(net.blobs["c"].diff, alone.blobs["c"].diff, 1e-5, "dx")


def test_maxout_gives_the_gradient_to_the_first_of_equal_pieces():
    net = make_net(f"force_backward: true {layer('Maxout', 'maxout_param { pieces: 3 }')}",
                   {"x": (1, 6)})  # fmt: skip
    x = [[2, 2, 1, np.nan, 5, np.nan]]
    np.testing.assert_array_equal(net.forward(x=x)["y"], [[2, np.nan]])
    net.blobs["y"].diff[...] = [[3, 4]]
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[3, 0, 0, 4, 0, 0]])


@pytest.mark.parametrize("kind, params, message", [
    ("GLU", "glu_param { axis: 1 }", r"axis 1 of its bottom .* cannot be halved"),
    ("Maxout", "maxout_param { pieces: 2 }", "pieces 2 must divide axis 1"),
    ("Maxout", "maxout_param { pieces: 0 }", "pieces must be positive, got 0"),
    ("Softplus", "softplus_param { beta: 0 }", "beta must be positive, got 0"),
    ("LeakyReLU", "leaky_relu_param { slope: 1 }", 'unknown field "slope".* negative_slope'),
])  # fmt: skip
def test_errors(kind, params, message):
    with pytest.raises(Error, match=message):
        make_net(layer(kind, params), {"x": (2, 7)})
