"""Weights from and to PyTorch: nets that compute what torch's modules do with their state dicts."""

import numpy as np
import pytest
from net_text import dense, layer, make_net

import pydl
from pydl import Error, sequences
from pydl.torch_weights import load_state_dict, state_dict
from pydl.zoo.builder import Builder

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def recorded(torch, module, x, output=None):
    """{"x", "y", "state.<name>"}: a module's state, and what it makes of x."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.2, 0.9)
        y = module(x)
    state = {f"state.{name}": value for name, value in module.state_dict().items()}
    return {"x": x, "y": output(y) if output else y, **state}


def state_of(v):
    return {name[6:]: value for name, value in v.items() if name.startswith("state.")}


def assert_there_and_back(net, v, names=None, y=None, **inputs):
    """The net with the state computes y, and gives the state back."""
    load_state_dict(net, state_of(v), names)
    out = net.forward(**inputs)
    np.testing.assert_allclose(out[y] if y else next(iter(out.values())), v["y"], **CLOSE)
    back, state = state_dict(net, names), state_of(v)
    assert set(back) == {name for name in state if "tracked" not in name}
    return back


def test_convolutions_and_what_follows(torch_values):
    def case(torch):
        nn = torch.nn
        norm = torch.nn.utils.weight_norm
        parts = {
            "conv": nn.Conv2d(3, 4, 3), "bn": nn.BatchNorm2d(4), "act": nn.PReLU(4),
            "up": nn.ConvTranspose2d(4, 6, 2, 2, groups=2), "group": nn.GroupNorm(3, 6),
            "instance": nn.InstanceNorm2d(6, affine=True), "flat": nn.Flatten(),
            "normed": norm(nn.Linear(6 * 8 * 6, 5)), "fc": nn.Linear(5, 2, bias=False),
        }  # fmt: skip
        module = nn.Sequential()
        for name, part in parts.items():
            module.add_module(name, part)
        return recorded(torch, module.eval(), torch.rand(2, 3, 6, 5))

    v = torch_values("weights_convolutions", case)
    net = make_net(
        layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }", "x", "conv")
        + layer("BatchNorm", "", "conv", "norm")
        + layer("Scale", "scale_param { bias_term: true }", "norm", "scaled")
        + layer("PReLU", "", "scaled", "act")
        + layer(
            "Deconvolution",
            "convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: 2 }", "act", "up",
        )
        + layer("GroupNorm", "group_norm_param { num_groups: 3 }", "up", "group")
        + layer("InstanceNorm", "instance_norm_param { affine: true }", "group", "instance")
        + dense(5, "instance", "normed", fields="weight_norm: true")
        + dense(2, "normed", "fc", fields="bias_term: false"),
        {"x": (2, 3, 6, 5)},
        phase="TEST",
    )  # fmt: skip
    back = assert_there_and_back(net, v, {"norm": "bn", "scaled": "bn"}, x=v["x"])
    for name, value in back.items():
        np.testing.assert_array_equal(value, v[f"state.{name}"], err_msg=name)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_recurrent_layers(torch_values, kind):
    def case(torch):
        module = torch.nn.Sequential()
        module.add_module("r", getattr(torch.nn, kind)(3, 4, num_layers=2, bidirectional=True))
        return recorded(torch, module, torch.rand(5, 2, 3), lambda y: y[0])

    v = torch_values(f"weights_{kind.lower()}", case)
    builder = Builder("stack", batch=2, classes=1)
    x, cont = builder.input("x", 5, 2, 3), builder.input("cont", 5, 2)
    builder.recurrent(kind, "r", x, 4, layers=2, bidirectional=True, cont=cont)
    net = pydl.Net(builder.message(), phase="TEST")
    back = assert_there_and_back(net, v, x=v["x"], cont=sequences.goes_on([5, 5]))
    for name, value in back.items():
        want = v[f"state.{name}"]
        if kind == "LSTM" and "bias" in name:  # one here
            other = name.replace("_ih", "_hh") if "_ih" in name else name.replace("_hh", "_ih")
            value, want = value + back[other], want + v[f"state.{other}"]
        np.testing.assert_allclose(value, want, rtol=1e-6, err_msg=name)


def test_one_recurrent_layer():
    net = make_net(layer("LSTM", "recurrent_param { num_output: 2 }", "x c", "lstm"),
                   {"x": (4, 1, 3), "c": (4, 1)})  # fmt: skip
    assert set(state_dict(net)) == {
        f"lstm.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    assert "weight_ih_l0" in state_dict(net, {"lstm": ""})


def test_transformer(torch_values):
    def case(torch):
        nn = torch.nn
        module = nn.Sequential()
        module.add_module("embed", nn.Embedding(7, 12))
        block = nn.TransformerEncoderLayer(12, 3, 20, 0, batch_first=True)
        module.add_module("layers", nn.ModuleList([block])[0])
        return recorded(torch, module.train(), torch.randint(7, (2, 5)))

    v = torch_values("weights_transformer", case)
    builder = Builder("encoder", batch=2, classes=1)
    x = builder.input("x", 2, 5)
    embed = {"input_dim": 7, "num_output": 12, "bias_term": False}
    y = builder.transformer_encoder(
        "layers", builder.layer("Embed", "embed", x, embed_param=embed), 12, 3, hidden=20,
        activation="ReLU", dropout=0,
    )  # fmt: skip
    net = pydl.Net(builder.message(), phase="TEST")
    back = assert_there_and_back(net, v, y=y, x=v["x"])
    for name, value in back.items():
        np.testing.assert_array_equal(value, v[f"state.{name}"], err_msg=name)


def test_layers_that_are_left_alone():
    net = make_net(dense(2, "x", "a") + dense(3, "a", "b"), {"x": (1, 4)})
    before = net.params["b"][0].data.copy()
    load_state_dict(
        net, {"a.weight": np.ones((2, 4)), "a.bias": np.zeros(2), "bn.num_batches_tracked": 3},
        {"b": None},
    )  # fmt: skip
    assert (net.params["a"][0].data == 1).all()
    np.testing.assert_array_equal(net.params["b"][0].data, before)
    assert set(state_dict(net, {"b": None})) == {"a.weight", "a.bias"}


STATE = {"y.weight": np.ones((2, 4)), "y.bias": np.ones(2)}


@pytest.mark.parametrize(
    "change, names, message",
    [({"y.bias": None}, {}, r'"y" \(InnerProduct\): the state has no "y.bias", but y.weight'),
     ({}, {"y": "fc"}, 'no "fc.weight", but y.weight, y.bias; names='),
     ({"y.bias": np.ones(3)}, {}, r"make blob 1 \(3,\), but it is \(2,\)"),
     ({"z.weight": np.ones(3)}, {}, "no layer takes z.weight of the state; leave them out"),
     ({}, {"z": "y"}, 'names: net "test" has no layer "z"')],
)  # fmt: skip
def test_refuses_and_changes_nothing(change, names, message):
    net = make_net('name: "test" ' + dense(2), {"x": (1, 4)})
    before = [blob.data.copy() for blob in net.params["y"]]
    state = {name: value for name, value in (STATE | change).items() if value is not None}
    with pytest.raises(Error, match=message):
        load_state_dict(net, state, names)
    for blob, value in zip(net.params["y"], before, strict=True):
        np.testing.assert_array_equal(blob.data, value)


def test_layers_without_a_form():
    net = make_net(layer("RNN", "recurrent_param { num_output: 2 }", "x c", "y"),
                   {"x": (4, 1, 3), "c": (4, 1)})  # fmt: skip
    with pytest.raises(Error, match=r'"y" \(RNN\) with 5 blobs has no form .*None} leaves it'):
        state_dict(net)
