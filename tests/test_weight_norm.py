"""Weight normalisation of InnerProduct, Convolution and Deconvolution against torch's."""

import numpy as np
import pytest
from net_text import conv, dense, layer, make_net, normal
from torch_layers import check, close, recorded

import pydl
from pydl import Error, _core

FIELDS = "weight_norm: true"
IMAGE = (2, 6, 7, 5)
# name: (type, its parameter, torch's function, shapes of x, v and b)
CASES = {
    "dense": ("InnerProduct", "inner_product_param { num_output: 4 weight_norm: true }",
              lambda f, x, w, b: f.linear(x, w, b), (5, 9), (4, 9), (4,)),
    "dense_no_bias": ("InnerProduct", "inner_product_param { num_output: 4 weight_norm: true "
                      "bias_term: false axis: 2 }",
                      lambda f, x, w, b: f.linear(x, w), (2, 5, 9), (4, 9), None),
    "conv": ("Convolution", "convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2 "
             "weight_norm: true }",
             lambda f, x, w, b: f.conv2d(x, w, b, 2, 1), IMAGE, (8, 6, 3, 3), (8,)),
    "conv_group": ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 group: 2 "
                   "weight_norm: true bias_term: false }",
                   lambda f, x, w, b: f.conv2d(x, w, groups=2), IMAGE, (4, 3, 3, 3), None),
    "deconv": ("Deconvolution", "convolution_param { num_output: 3 kernel_size: 3 stride: 2 "
               "weight_norm: true }",
               lambda f, x, w, b: f.conv_transpose2d(x, w, b, 2), IMAGE, (6, 3, 3, 3), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_torch(name, torch_values):
    kind, params, function, shape, weights, bias = CASES[name]

    def case(torch):
        v = torch.randn(weights, requires_grad=True)
        g = torch.rand(weights[0], *[1] * (len(weights) - 1)).add(0.5).requires_grad_()
        b = torch.randn(bias, requires_grad=True) if bias else None
        call = lambda x: function(torch.nn.functional, x, torch._weight_norm(v, g, 0), b)  # noqa: E731
        return recorded(torch, call, [torch.randn(shape)], [v, *([b] if bias else []), g])

    check(torch_values(f"weight_norm_{name}", case), kind, params)


def test_gradients_add_up():
    """Over two backward passes, as over iter_size batches."""
    net = make_net(conv(f"5 kernel_size: 3 {FIELDS}"), {"x": IMAGE})
    net.forward(x=normal(*IMAGE))
    net.blobs["y"].diff[...] = normal(*net.blobs["y"].shape, seed=1)
    net._core.clear_param_diffs()
    net.backward()
    once = [blob.diff.copy() for blob in net.params["y"]]
    net.backward()
    for blob, want in zip(net.params["y"], once, strict=True):
        close(blob.diff, 2 * want, 1e-5, "twice")


@pytest.mark.parametrize("text", [dense(5, fields=FIELDS), conv(f"5 kernel_size: 3 {FIELDS}")])
def test_starts_as_without(text):
    """g is |v|: the same outputs; then weights follow g alone in length, v alone in direction."""
    x = normal(*IMAGE)
    net, plain = (make_net(t, {"x": IMAGE}) for t in (text, text.replace(FIELDS, "")))
    v, _, g = net.params["y"]
    assert g.shape == (5, *[1] * (v.data.ndim - 1))
    plain.params["y"][0].data[...] = v.data
    want = plain.forward(x=x)["y"]
    close(net.forward(x=x)["y"], want, 1e-5, "y")
    v.data[...] *= 7
    close(net.forward(x=x)["y"], want, 1e-5, "longer v")
    g.data[...] *= 2
    close(net.forward(x=x)["y"], 2 * want, 1e-5, "longer g")


@pytest.mark.parametrize("frozen", ["v", "g", "both"])
def test_frozen_parts(frozen):
    rates = {"v": (0, 1, 1), "g": (1, 1, 0), "both": (0, 1, 0)}[frozen]
    params = " ".join(f"param {{ lr_mult: {rate} }}" for rate in rates)
    net = make_net(
        dense(5, params=params, fields=FIELDS) + layer("EuclideanLoss", "", "y t", "loss"),
        {"x": (3, 4), "t": (3, 5)},
    )
    net._core.input_blob("x").data[...] = normal(3, 4)
    before = [np.array(blob.data) for blob in net.params["y"]]
    _core.Solver({"base_lr": 0.1}, net._core).step()
    changed = [bool((b.data != w).any()) for b, w in zip(net.params["y"], before, strict=True)]
    assert changed == [rate > 0 for rate in rates]


@pytest.mark.parametrize("threads", [1, 2])
def test_trains_with_little_memory_to_the_same_bits(threads):
    pydl.set_num_threads(threads)
    text = (
        conv(f"6 kernel_size: 3 {FIELDS}", tops="c")
        + layer("ReLU", bottoms="c", tops="c", name="r")
        + dense(3, "c", "f", fields=FIELDS)
        + layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    )
    results = []
    for keep in ("all", "outputs"):
        net = make_net(text, {"x": IMAGE, "t": (2,)}, keep=keep, seed=2)
        net._core.input_blob("x").data[...] = normal(*IMAGE)
        net._core.input_blob("t").data[...] = [0, 2]
        solver = _core.Solver({"base_lr": 0.1, "momentum": 0.9}, net._core)
        losses = [solver.step() for _ in range(6)]
        assert losses[-1] < losses[0]
        results.append(losses)
    assert results[0] == results[1]


def test_folded_with_batch_norm():
    """In inference the weights of a convolution take up BatchNorm's: those made of v and g."""
    text = (
        conv(f"6 kernel_size: 3 {FIELDS}", tops="c")
        + layer("BatchNorm", bottoms="c", tops="n", name="n")
        + layer("Scale", bottoms="n", tops="s", name="s")
    )
    x, outputs = normal(*IMAGE), []
    for keep in ("all", "outputs"):
        net = make_net(text, {"x": IMAGE}, phase="TEST", keep=keep)
        for name, values in {"n": (normal(6), [2.0] * 6, 1), "s": ([3.0] * 6,)}.items():
            for blob, value in zip(net.params[name], values, strict=True):
                blob.data[...] = value
        net.params["c"][0].data[...] = normal(6, 6, 3, 3)
        net.params["c"][2].data[...] = np.arange(1, 7).reshape(6, 1, 1, 1)
        outputs.append(net.forward(x=x)["s"])
    close(outputs[1], outputs[0], 1e-4, "folded")


def test_a_row_of_zeros():
    net = make_net(f"force_backward: true {dense(2, fields=FIELDS)}", {"x": (1, 3)})
    net.params["y"][0].data[0] = 0
    y = net.forward(x=normal(1, 3))["y"]
    assert y[0, 0] == 0 and np.isfinite(y).all()
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert all(np.isfinite(blob.diff).all() for blob in net.params["y"])


def test_what_it_does_not_go_with():
    with pytest.raises(Error, match="leave out transpose"):
        make_net(dense(3, fields=f"{FIELDS} transpose: true"), {"x": (2, 4)})


@pytest.mark.parametrize("kind", ["dense", "conv", "deconv"])
def test_onnx_export(kind, tmp_path):
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from pydl.onnx import save

    name, params, *_ = CASES[kind]
    shape = CASES[kind][3]
    filled = params.replace("weight_norm", "weight_filler { type: 'xavier' } weight_norm")
    net = make_net(layer(name, filled), {"x": shape}, phase="TEST")
    net.params["y"][-1].data[...] *= 3
    x = normal(*shape)
    want = net.forward(x=x)["y"]
    save(net, tmp_path / "net.onnx")
    session = ort.InferenceSession(str(tmp_path / "net.onnx"))
    (got,) = session.run(None, {"x": x})
    close(got, want, 1e-5, "onnx")
