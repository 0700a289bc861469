"""RNN and LSTMUnit against numpy and LSTM; test_lstm_layer.py has what RNN and LSTM share."""

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
    return layer("RNN", f"recurrent_param {{ {fields} }}", **names)


def rnn(x, cont, params, static=None, h=None):
    """The outputs of all steps and the last hidden state, in float64."""
    w_x, bias, *w_static, w_h, w_o, bias_o = (np.array(p.data, np.float64) for p in params)
    steps, batch, hidden = *cont.shape, w_h.shape[1]
    h = np.zeros((batch, hidden)) if h is None else h
    out = []
    for t in range(steps):
        total = x[t].reshape(batch, -1) @ w_x.T + bias + (cont[t, :, None] * h) @ w_h.T
        if static is not None:
            total += static.reshape(batch, -1) @ w_static[0].T
        h = np.tanh(total)
        out.append(np.tanh(h @ w_o.T + bias_o))
    return np.reshape(out, (steps, batch, hidden)), h


def markers(steps, batch, seed=0):
    return (np.random.default_rng(seed).random((steps, batch)) < 0.7).astype(np.float32)


SIZES = ((1, 1, 1, 1), (1, 3, 4, 5), (5, 1, 3, 33), (4, 17, 6, 40), (3, 2, 70, 64), (9, 40, 8, 20))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("keep", ["all", "outputs"])  # outputs: some steps at a time
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward(sizes, keep, isa):
    _core.kernels.set_isa(isa)
    steps, batch, inputs, hidden = sizes
    x, cont = normal(steps, batch, inputs), markers(steps, batch)
    text = recurrent(hidden, bottoms="x cont")
    net = make_net(text, {"x": x, "cont": cont}, phase="TEST", keep=keep)
    fill_params(net)
    want, _ = rnn(x, cont, net.params["y"])
    np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", SIZES[1:], ids=str)
def test_forward_in_bf16(sizes, isa):
    _core.kernels.set_isa(isa)
    steps, batch, inputs, hidden = sizes
    x, cont = normal(steps, batch, inputs), markers(steps, batch)
    text = recurrent(hidden, name="a", bottoms="x cont", tops="h")
    text += recurrent(hidden, name="b", bottoms="h cont")
    net = make_net(text, {"x": x, "cont": cont}, phase="TEST", precision="BF16")
    assert [row["dtype"] for row in net._core.layer_rows()][-2:] == ["bfloat16"] * 2
    fill_params(net)
    outputs, _ = rnn(x, cont, net.params["a"])
    want, _ = rnn(outputs, cont, net.params["b"])
    error = np.linalg.norm(net.forward(x=x, cont=cont)["y"] - want) / np.linalg.norm(want)
    assert error < 0.03


@pytest.mark.parametrize("static", [False, True])
def test_states_given_and_exposed(static):
    inputs = {"x": normal(4, 3, 2, 5), "cont": markers(4, 3)}
    if static:
        inputs["s"] = normal(3, 2, 2, seed=1)
    inputs["h0"] = normal(1, 3, 6, seed=2)
    names = {"bottoms": " ".join(inputs), "tops": "y h", "name": "l"}
    net = make_net(recurrent(6, "expose_hidden: true", **names), inputs, phase="TEST")
    fill_params(net)
    assert [p.shape for p in net.params["l"]] == [
        (6, 10), (6,), *([(6, 4)] if static else []), (6, 6), (6, 6), (6,)
    ]  # fmt: skip
    out = net.forward(**inputs)
    want, h = rnn(inputs["x"], inputs["cont"], net.params["l"], inputs.get("s"), inputs["h0"][0])
    np.testing.assert_allclose(out["y"], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["h"][0], h, rtol=1e-5, atol=1e-6)


def test_goes_on_where_the_last_pass_stopped():
    x, cont = normal(6, 3, 4), np.ones((6, 3), np.float32)
    cont[0], cont[3] = 0, [1, 0, 1]
    text = recurrent(7, bottoms="x cont")  # of an odd number of values
    whole = make_net(text, {"x": x, "cont": cont})
    parts = make_net(text, {"x": x[:3], "cont": cont[:3]})
    fill_params(whole), fill_params(parts)
    want = whole.forward(x=x, cont=cont)["y"].copy()
    for part in (slice(0, 3), slice(3, 6)):
        got = parts.forward(x=x[part], cont=cont[part])["y"]
        np.testing.assert_allclose(got, want[part], rtol=1e-5, atol=1e-6)
    again = make_net(text, {"x": x[:3], "cont": cont[:3]})
    fill_params(again)
    parts.forward(x=x[:3], cont=cont[:3])
    again._core.set_layer_state(parts._core.layer_state())
    last = {"x": x[3:], "cont": cont[3:]}
    np.testing.assert_array_equal(again.forward(**last)["y"], parts.forward(**last)["y"])


def gradients(threads, passes=1, precision="FLOAT32"):
    pydl.set_num_threads(threads)
    inputs = {"x": normal(5, 9, 20), "cont": markers(5, 9), "s": normal(9, 6, seed=1)}
    text = recurrent(130, bottoms="x cont s") + "force_backward: true"
    net = make_net(text, inputs, precision=precision)
    fill_params(net)
    for i in (0, 2, 3, 4):  # small enough for tanh to have a slope
        net.params["y"][i].data[...] *= 0.1
    return recurrent_gradients(net, inputs, passes)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_gradients_depend_on_neither_threads_nor_passes(precision, isa):
    _core.kernels.set_isa(isa)
    assert_alike_with_threads_and_passes(gradients, precision)


@pytest.mark.parametrize("isa", ISAS)
def test_gradients_in_bf16_are_near_those_in_float32(isa):
    _core.kernels.set_isa(isa)
    assert_near_float32(gradients(2, 1, "BF16"), gradients(2), 0.05)


def test_counts_its_operations():
    net = make_net(recurrent(5, bottoms="x cont s"), {"x": (4, 2, 6), "cont": (4, 2), "s": (2, 3)})
    want = 2 * 2 * 5 * (4 * (6 + 5 + 5) + 3)
    assert net._core.layer_rows()[-1]["flops"] == want


EXPOSED = {"bottoms": "x cont h", "tops": "y h1", "name": "l"}


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        (recurrent(0, bottoms="x cont"), {}, "num_output must be given and positive"),
        (recurrent(3, bottoms="x cont"), {"cont": (4, 3)}, "must be 4x2 .* is 4x3"),
        (recurrent(3, "expose_hidden: true", **EXPOSED), {"h": (2, 3)},
         "first hidden state must be 1x2x3 .* but is 2x3"),
        (recurrent(3, "expose_hidden: true", bottoms="x cont"), {}, "3 to 4 bottom"),
        (recurrent(3, bottoms="x cont s h"), {}, "2 to 3 bottom"),
    ],
)  # fmt: skip
def test_refuses(text, inputs, message):
    shapes = {"x": (4, 2, 6), "cont": (4, 2), "s": (2, 5), "h": (1, 2, 3)}
    with pytest.raises(Error, match=message):
        make_net(text, {n: inputs.get(n, s) for n, s in shapes.items() if f'bottom: "{n}"' in text})


# LSTMUnit

UNIT = layer("LSTMUnit", bottoms="c g cont", tops="c1 h1", name="l")


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 16), (40, 33)])
def test_lstm_unit(size, isa):
    _core.kernels.set_isa(isa)
    batch, hidden = size
    c, g = normal(1, batch, hidden), normal(1, batch, 4 * hidden, seed=1)
    cont = np.float32([[0, 1, 0.5][n % 3] for n in range(batch)]).reshape(1, batch)
    out = make_net(UNIT, {"c": c, "g": g, "cont": cont}).forward(c=c, g=g, cont=cont)
    i, f, o, new = np.split(g.astype(np.float64), 4, axis=2)
    cells = cont[..., None] * sigmoid(f) * c + sigmoid(i) * np.tanh(new)
    np.testing.assert_allclose(out["c1"], cells, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["h1"], sigmoid(o) * np.tanh(cells), rtol=1e-5, atol=1e-6)


def test_lstm_unit_is_a_step_of_lstm():
    lstm = layer("LSTM", "recurrent_param { num_output: 6 expose_hidden: true"
                 " weight_filler { type: 'xavier' } }", bottoms="x cont h c", tops="y h1 c1",
                 name="l")  # fmt: skip
    given = {"x": normal(1, 3, 4), "cont": np.float32([[1, 0, 1]]), "h": np.zeros((1, 3, 6))}
    given["c"] = normal(1, 3, 6, seed=1)
    net = make_net(lstm, given)
    fill_params(net)
    want = net.forward(**given)
    w, bias = (p.data for p in net.params["l"][:2])
    gates = given["x"] @ w.T + bias
    out = make_net(UNIT, {"c": (1, 3, 6), "g": gates, "cont": (1, 3)}).forward(
        c=given["c"], g=gates, cont=given["cont"]
    )
    np.testing.assert_allclose(out["h1"], want["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["c1"], want["c1"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"c": (2, 3, 5)}, "must be 1 x N x H, but is 2x3x5"),
        ({"c": (3, 5)}, "must be 1 x N x H, but is 3x5"),
        ({"g": (1, 3, 5)}, "the gates, must be 1x3x20 for 3 sequences of 5 cells, but is 1x3x5"),
        ({"cont": (3,)}, "sequences go on, must be 1x3"),
    ],
)
def test_lstm_unit_refuses(shapes, message):
    with pytest.raises(Error, match=message):
        make_net(UNIT, {"c": (1, 3, 5), "g": (1, 3, 20), "cont": (1, 3)} | shapes)
