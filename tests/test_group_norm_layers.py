"""GroupNorm and InstanceNorm against torch: values, all gradients, layouts, edges."""

import numpy as np
import pytest
from net_text import conv, fill_params, layer, make_net, normal
from torch_layers import check, close, randomized, recorded

from pydl import Error

# name: (type, fields, torch's module, shape)
NORMS = {
    "groups": ("GroupNorm", "num_groups: 3", lambda nn: nn.GroupNorm(3, 12), (2, 12, 5, 7)),
    "one_group": ("GroupNorm", "num_groups: 1 eps: 0.1",
                  lambda nn: nn.GroupNorm(1, 5, eps=0.1), (3, 5, 4, 3)),
    "not_affine": ("GroupNorm", "num_groups: 5 affine: false",
                   lambda nn: nn.GroupNorm(5, 10, affine=False), (2, 10, 9)),
    "no_positions": ("GroupNorm", "num_groups: 2", lambda nn: nn.GroupNorm(2, 34), (3, 34)),
    "volume": ("GroupNorm", "num_groups: 2", lambda nn: nn.GroupNorm(2, 4), (2, 4, 3, 2, 5)),
    "instance": ("InstanceNorm", "", lambda nn: nn.InstanceNorm2d(5), (2, 5, 6, 7)),
    "instance_affine": ("InstanceNorm", "affine: true eps: 0.01",
                        lambda nn: nn.InstanceNorm2d(5, eps=0.01, affine=True), (2, 5, 6, 7)),
}  # fmt: skip


def params(kind, fields):
    name = {"GroupNorm": "group_norm_param", "InstanceNorm": "instance_norm_param"}[kind]
    return f"{name} {{ {fields} }}"


@pytest.mark.parametrize("name", NORMS)
def test_as_torch(name, torch_values):
    kind, fields, make, shape = NORMS[name]

    def case(torch):
        module = randomized(torch, make(torch.nn))
        return recorded(torch, module, [2 * torch.randn(shape) + 1], list(module.parameters()))

    check(torch_values(f"group_norm_{name}", case), kind, params(kind, fields))


@pytest.mark.parametrize("kind, fields", [("GroupNorm", "num_groups: 4"), ("InstanceNorm", "")])
def test_behind_a_convolution_it_is_the_same(kind, fields):
    """There its blobs are channels-last."""
    behind = conv("8 kernel_size: 3 pad: 1", tops="c") + layer(kind, params(kind, fields), "c", "y")
    x, dy = normal(2, 3, 9, 7), normal(2, 8, 9, 7, seed=1)
    net = make_net(f"force_backward: true {behind}", {"x": x})
    fill_params(net)
    y = np.array(net.forward(x=x)["y"])
    net.blobs["y"].diff[...] = dy
    net._core.clear_param_diffs()
    net.backward()
    alone = make_net(f"force_backward: true {layer(kind, params(kind, fields), 'c')}",
                     {"c": (2, 8, 9, 7)})  # fmt: skip
    for mine, theirs in zip(alone.params.get("y", []), net.params.get("y", []), strict=True):
        mine.data[...] = theirs.data
    want = alone.forward(c=net.blobs["c"].data)["y"]
    close(y, want, 1e-5, "y")
    alone.blobs["y"].diff[...] = dy
    alone._core.clear_param_diffs()
    alone.backward()
    for mine, theirs in zip(alone.params.get("y", []), net.params.get("y", []), strict=True):
        close(theirs.diff, mine.diff, 1e-4, "params")
    close(net.blobs["c"].diff, alone.blobs["c"].diff, 1e-4, "dx")


def test_a_mean_far_from_zero_costs_no_digits():
    x = (normal(2, 6, 50, 40) + 1000).astype(np.float32)
    y = make_net(layer("GroupNorm", "group_norm_param { num_groups: 2 }"), {"x": x}).forward(x=x)
    rows = x.astype(np.float64).reshape(2, 2, -1)
    want = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y["y"].reshape(rows.shape), want, atol=2e-4)


def test_in_place_for_inference():
    text = layer("GroupNorm", "group_norm_param { num_groups: 2 }", "x", "x")
    x = normal(2, 4, 3)
    net = make_net(layer("ReLU", tops="x2") + text.replace('"x"', '"x2"'), {"x": x}, phase="TEST")
    rows = np.maximum(x, 0).reshape(2, 2, -1)
    want = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(net.forward(x=x)["x2"].reshape(rows.shape), want, atol=1e-5)


@pytest.mark.parametrize("kind, fields, shape, message", [
    ("GroupNorm", "", (2, 4, 3), "num_groups must be given and positive, not 0"),
    ("GroupNorm", "num_groups: 3", (2, 4, 3), "num_groups 3 must divide the 4 channels"),
    ("GroupNorm", "num_groups: 2 eps: 0", (2, 4, 3), "eps must be positive"),
    ("GroupNorm", "num_groups: 1", (4,), "needs a channel axis"),
    ("GroupNorm", "num_groups: 2", (2, 4, 0), "nothing to normalise"),
    ("GroupNorm", "group: 2", (2, 4, 3), 'unknown field "group"'),
    ("InstanceNorm", "", (2, 4, 1, 1), "has one value, .* did you mean GroupNorm or LayerNorm"),
])  # fmt: skip
def test_errors(kind, fields, shape, message):
    with pytest.raises(Error, match=message):
        make_net(layer(kind, params(kind, fields)), {"x": shape})
