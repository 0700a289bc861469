"""LSTM against numpy, its state from pass to pass, and what it refuses."""

import numpy as np
import pytest
from net_text import (
    assert_alike_with_threads_and_passes,
    assert_near_float32,
    fill_params,
    layer,
    make_net,
    normal,
    recurrent_gradients,
)

import pydl
from pydl import Error, _core

ISAS = _core.kernels.available_isas()


def recurrent(outputs, fields="", **names):
    fields = f"num_output: {outputs} weight_filler {{ type: 'xavier' }} {fields}"
    return layer("LSTM", f"recurrent_param {{ {fields} }}", **names)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def lstm(x, cont, params, static=None, h=None, c=None):
    """h of all steps and the last c, in float64; gates in Caffe's order i, f, o, g."""
    w_x, bias, *w_static, w_h = (np.array(p.data, np.float64) for p in params)
    steps, batch, hidden = *cont.shape, w_h.shape[1]
    h = np.zeros((batch, hidden)) if h is None else h
    c = np.zeros((batch, hidden)) if c is None else c
    out = []
    for t in range(steps):
        gates = x[t].reshape(batch, -1) @ w_x.T + bias + (cont[t, :, None] * h) @ w_h.T
        if static is not None:
            gates += static.reshape(batch, -1) @ w_static[0].T
        i, f, o, g = np.split(gates, 4, axis=1)
        c = cont[t, :, None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.reshape(out, (steps, batch, hidden)), c


def markers(steps, batch, seed=0):
    return (np.random.default_rng(seed).random((steps, batch)) < 0.7).astype(np.float32)


SIZES = ((1, 1, 1, 1), (1, 3, 4, 5), (5, 1, 3, 33), (4, 17, 6, 40), (3, 2, 70, 64))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward(sizes, isa):
    _core.kernels.set_isa(isa)
    steps, batch, inputs, hidden = sizes
    x, cont = normal(steps, batch, inputs), markers(steps, batch)
    net = make_net(recurrent(hidden, bottoms="x cont"), {"x": x, "cont": cont}, phase="TEST")
    fill_params(net)
    want, _ = lstm(x, cont, net.params["y"])
    np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_in_bf16(sizes, isa):
    _core.kernels.set_isa(isa)
    steps, batch, inputs, hidden = sizes
    x, cont = normal(steps, batch, inputs), markers(steps, batch)
    text = recurrent(hidden, name="a", bottoms="x cont", tops="h")
    text += recurrent(hidden, name="b", bottoms="h cont")
    net = make_net(text, {"x": x, "cont": cont}, phase="TEST", precision="BF16")
    assert [row["dtype"] for row in net._core.layer_rows()][-2:] == ["bfloat16"] * 2
    fill_params(net)
    hidden_states, _ = lstm(x, cont, net.params["a"])
    want, _ = lstm(hidden_states, cont, net.params["b"])
    np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=0, atol=0.03)


@pytest.mark.parametrize("static", [False, True])
def test_states_given_and_exposed(static):
    x, cont = normal(4, 3, 2, 5), markers(4, 3)
    inputs = {"x": x, "cont": cont, "s": normal(3, 2, 2, seed=1)}
    inputs |= {"h0": normal(1, 3, 6, seed=2), "c0": normal(1, 3, 6, seed=3)}
    if not static:
        del inputs["s"]
    names = {"bottoms": " ".join(inputs), "tops": "y h c", "name": "l"}
    net = make_net(recurrent(6, "expose_hidden: true", **names), inputs, phase="TEST")
    fill_params(net)
    assert [p.shape for p in net.params["l"]] == [
        (24, 10), (24,), *([(24, 4)] if static else []), (24, 6)
    ]  # fmt: skip
    out = net.forward(**inputs)
    want, cells = lstm(x, cont, net.params["l"], inputs.get("s"), inputs["h0"][0], inputs["c0"][0])
    np.testing.assert_allclose(out["y"], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out["h"][0], out["y"][-1])
    np.testing.assert_allclose(out["c"][0], cells, rtol=1e-5, atol=1e-6)


def two_bottoms(**names):
    return recurrent(7, bottoms="x cont", **names)


def test_goes_on_where_the_last_pass_stopped():
    x, cont = normal(6, 3, 4), np.ones((6, 3), np.float32)
    cont[0], cont[3] = 0, [1, 0, 1]
    whole = make_net(two_bottoms(), {"x": x, "cont": cont})
    parts = make_net(two_bottoms(), {"x": x[:3], "cont": cont[:3]})
    fill_params(whole), fill_params(parts)
    want = whole.forward(x=x, cont=cont)["y"].copy()
    for part in (slice(0, 3), slice(3, 6)):
        got = parts.forward(x=x[part], cont=cont[part])["y"]
        np.testing.assert_allclose(got, want[part], rtol=1e-5, atol=1e-6)


def test_starts_from_zero_after_a_change_of_the_batch():
    net = make_net(two_bottoms(), {"x": (2, 3, 4), "cont": (2, 3)})
    fill_params(net)
    net.forward(x=normal(2, 3, 4), cont=np.ones((2, 3)))
    for name, shape in (("x", (5, 2, 4)), ("cont", (5, 2))):
        net.blobs[name].reshape(*shape)
    x, cont = normal(5, 2, 4, seed=1), np.ones((5, 2))
    want, _ = lstm(x, cont, net.params["y"])
    np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=1e-5, atol=1e-6)


def test_state_is_part_of_a_nets_state():
    nets = [make_net(two_bottoms(), {"x": (3, 2, 4), "cont": (3, 2)}) for _ in range(2)]
    for net in nets:
        fill_params(net)
    first, second = normal(3, 2, 4), normal(3, 2, 4, seed=1)
    nets[0].forward(x=first, cont=np.ones((3, 2)))
    nets[1]._core.set_layer_state(nets[0]._core.layer_state())
    got = [net.forward(x=second, cont=np.ones((3, 2)))["y"].copy() for net in nets]
    np.testing.assert_array_equal(*got)


def gradients(threads, passes=1, precision="FLOAT32"):
    """Of a net whose loss reaches x, x_static and all learnable blobs."""
    pydl.set_num_threads(threads)
    inputs = {"x": normal(5, 9, 20), "cont": markers(5, 9), "s": normal(9, 6, seed=1)}
    text = recurrent(130, bottoms="x cont s") + "force_backward: true"
    net = make_net(text, inputs, precision=precision)
    fill_params(net)
    return recurrent_gradients(net, inputs, passes)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_gradients_depend_on_neither_threads_nor_passes(precision, isa):
    _core.kernels.set_isa(isa)
    assert_alike_with_threads_and_passes(gradients, precision)


@pytest.mark.parametrize("isa", ISAS)
def test_gradients_in_bf16_are_near_those_in_float32(isa):
    _core.kernels.set_isa(isa)
    assert_near_float32(gradients(2, 1, "BF16"), gradients(2), 0.02)


def test_weights_changed_in_place_are_used():
    x, cont = normal(3, 2, 4), np.ones((3, 2))
    net = make_net(two_bottoms(), {"x": x, "cont": cont})
    for seed in (0, 1):
        fill_params(net, seed)
        net._core.set_layer_state({"y": [0] * 14})
        want, _ = lstm(x, cont, net.params["y"])
        np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=1e-5, atol=1e-6)


EXPOSED = {"bottoms": "x cont h c", "tops": "y h1 c1", "name": "l"}


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        (recurrent(0, bottoms="x cont"), {}, "num_output must be given and positive"),
        (recurrent(-1, bottoms="x cont"), {}, "positive, got -1"),
        (recurrent(3, bottoms="x cont"), {"x": (4,)}, "steps, sequences and any others, but is 4"),
        (recurrent(3, bottoms="x cont"), {"cont": (2, 4)},
         r"sequences go on, must be 4x2 for 4 steps of 2 sequences .* is 2x4"),
        (recurrent(3, bottoms="x cont s"), {"s": (3, 5)},
         "must have 5 values for each of 2 sequences, but is 3x5"),
        (recurrent(3, "expose_hidden: true", **EXPOSED), {"h": (2, 3)},
         "first hidden state must be 1x2x3 .* but is 2x3"),
        (recurrent(3, "expose_hidden: true", **EXPOSED), {"c": (1, 2, 4)},
         "first cell state must be 1x2x3 .* but is 1x2x4"),
    ],
)  # fmt: skip
def test_refuses(text, inputs, message):
    shapes = {"x": (4, 2, 6), "cont": (4, 2), "s": (2, 5), "h": (1, 2, 3), "c": (1, 2, 3)}
    with pytest.raises(Error, match=message):
        make_net(text, {n: inputs.get(n, s) for n, s in shapes.items() if f'bottom: "{n}"' in text})


def test_counts_its_operations():
    net = make_net(recurrent(5, bottoms="x cont s"), {"x": (4, 2, 6), "cont": (4, 2), "s": (2, 3)})
    want = 2 * 2 * 20 * (4 * (6 + 5) + 3)
    assert net._core.layer_rows()[-1]["flops"] == want


@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_inference_in_parts_is_the_same(precision):
    """Without a backward pass, some steps at a time: here 2, 2, 2 and 1."""
    inputs = {"x": normal(7, 100, 4), "cont": markers(7, 100)}
    results = []
    for options in ({}, {"phase": "TEST", "keep": "outputs"}):
        net = make_net(two_bottoms(), inputs, precision=precision, **options)
        fill_params(net)
        results += [net.forward(**inputs)["y"].copy() for _ in range(2)]
    np.testing.assert_array_equal(results[2:], results[:2])
    assert not np.array_equal(results[0], results[1])
