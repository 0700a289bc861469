"""Embed against numpy, and what it refuses."""

import numpy as np
import pytest
from net_text import fill_params, layer, make_net

from pydl import Error, _core


def embed(fields):
    return layer("Embed", f"embed_param {{ {fields} }}")


def indices(shape, count):
    return np.random.default_rng(0).integers(0, count, shape).astype(np.float32)


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 3, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_forward_and_gradients(shape, bias, isa):
    _core.kernels.set_isa(isa)
    text = embed(f"num_output: 6 input_dim: 9 bias_term: {str(bias).lower()}")
    net = make_net(text + "force_backward: true", {"x": shape})
    fill_params(net)
    x = indices(shape, 9)
    table, *offset = (np.array(blob.data) for blob in net.params["y"])
    assert len(offset) == bias
    want = table[x.astype(int)] + (offset[0] if bias else 0)
    np.testing.assert_allclose(net.forward(x=x)["y"], want, rtol=1e-6)
    dy = np.random.default_rng(1).standard_normal(want.shape)
    net.blobs["y"].diff[...] = dy
    net.backward()
    dw = np.zeros(table.shape)
    np.add.at(dw, x.astype(int), dy)
    np.testing.assert_allclose(net.params["y"][0].diff, dw, rtol=1e-5, atol=1e-6)
    if bias:
        db = dy.reshape(-1, 6).sum(axis=0)
        np.testing.assert_allclose(net.params["y"][1].diff, db, rtol=1e-5, atol=1e-6)


def test_cuts_to_integers_as_caffe_does():
    net = make_net(embed("num_output: 2 input_dim: 3"), {"x": (2,)})
    fill_params(net)
    want = net.forward(x=[2, 0])["y"].copy()
    np.testing.assert_array_equal(net.forward(x=[2.9, 0.1])["y"], want)


@pytest.mark.parametrize("value", [-1, -0.5, 5, 1e30, np.inf, np.nan])
def test_index_out_of_range(value):
    net = make_net(embed("num_output: 2 input_dim: 5") + "force_backward: true", {"x": (2, 3)})
    message = r'layer "y" \(Embed\): index .* at \[1, 0\] of the 2x3 inputs .* 0 to 4.*is 5'
    with pytest.raises(Error, match=message):
        net.forward(x=[[0, 1, 4], [value, 0, 0]])
    net.forward(x=[[0, 1, 4], [0, 0, 0]])
    net.blobs["x"].data[1, 0] = value
    with pytest.raises(Error, match=message):
        net.backward()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("input_dim: 3", "num_output must be given and positive, not 0"),
        ("num_output: 3", "input_dim must be given and positive, not 0"),
        ("num_output: 3 input_dim: -2", "input_dim must be given and positive, not -2"),
        ("num_output: 100000000 input_dim: 100000000", "memory"),
    ],
)
def test_refuses(fields, message):
    with pytest.raises(Error, match=message):
        make_net(embed(fields), {"x": (2,)})


def test_in_a_bf16_net_indices_stay_exact():
    x = np.float32([257, 299, 0, 258]).reshape(2, 2)
    text = layer("Concat", "concat_param { axis: 0 }", name="c", bottoms="x", tops="c")
    text += layer("Embed", "embed_param { num_output: 6 input_dim: 300 }", bottoms="c")
    text += layer("InnerProduct", "inner_product_param { num_output: 4 axis: 2 }",
                  name="z", bottoms="y", tops="z")  # fmt: skip
    results = []
    for precision in ("FLOAT32", "BF16"):
        net = make_net(text, {"x": (2, 2)}, precision=precision)
        fill_params(net)
        net.forward(x=x)
        net.blobs["z"].diff[...] = 1
        net.backward()
        results.append([net.blobs["z"].data, *(p.diff for p in net.params["y"])])
    for got, want in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=0.02 * np.abs(want).max())
