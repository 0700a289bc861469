"""GRU, recurrent layers that run backward and stacks of them against torch; what they refuse."""

import numpy as np
import pytest
from bf16 import from_bf16, to_bf16
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
from pydl import Error, _core, sequences
from pydl.zoo.builder import Builder

ISAS = _core.kernels.available_isas()


def gru(outputs, fields="", kind="GRU", **names):
    fields = f"num_output: {outputs} weight_filler {{ type: 'xavier' }} {fields}"
    return layer(kind, f"recurrent_param {{ {fields} }}", **names)


# ---- against torch ----


def torch_module(kind, steps, batch, inputs, hidden, lengths=None, **options):
    """A case of the oracle: a module of torch.nn with all gradients; behind `lengths` zeros."""

    def case(torch):
        module = getattr(torch.nn, kind)(inputs, hidden, **options)
        x = torch.randn(steps, batch, inputs, requires_grad=True)
        if lengths is None:
            y = module(x)[0]
        else:
            pack = torch.nn.utils.rnn
            packed = pack.pack_padded_sequence(x, lengths, enforce_sorted=False)
            y = pack.pad_packed_sequence(module(packed)[0], total_length=steps)[0]
        dy = torch.randn_like(y)
        y.backward(dy)
        found = {"x": x, "y": y, "dy": dy, "dx": x.grad}
        for name, value in module.named_parameters():
            found |= {name: value, f"d_{name}": value.grad}
        return found

    return case


def blobs(kind, v, suffix, prefix=""):
    """torch's weights, or with the prefix ``d_`` their gradients, as our blobs."""
    w_x, w_h, b_x, b_h = (
        v[f"{prefix}{what}_{suffix}"] for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if kind == "GRU":
        return [w_x, b_x, w_h, b_h]
    # i, f, g, o there; Caffe has i, f, o, g and one bias, whose gradient is that of either.
    parts = (np.split(w, 4) for w in (w_x, b_x if prefix else b_x + b_h, w_h))
    return [np.concatenate([i, f, o, g]) for i, f, g, o in parts]


def check_against_torch(net, kind, v, inputs, top="y"):
    """Outputs and all gradients; the net's layers are named <anything>/<torch's suffix>."""
    close = {"rtol": 1e-4, "atol": 1e-5}
    learned = {name: name.rsplit("/", 1)[1] for name in net.params}
    for name, suffix in learned.items():
        for blob, value in zip(net.params[name], blobs(kind, v, suffix), strict=True):
            blob.data[...] = value
    out = net.forward(x=v["x"], **inputs)[top]
    np.testing.assert_allclose(out, v["y"], **close)
    net.blobs[top].diff[...] = v["dy"]
    net._core.clear_param_diffs()
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, v["dx"], **close)
    for name, suffix in learned.items():
        for blob, want in zip(net.params[name], blobs(kind, v, suffix, "d_"), strict=True):
            np.testing.assert_allclose(blob.diff, want, rtol=1e-4, atol=3e-5)


def stack(kind, steps, batch, inputs, hidden, mask=None, **options):
    net = Builder("stack", batch=batch, classes=1)
    x, cont = net.input("x", steps, batch, inputs), net.input("cont", steps, batch)
    mask = net.input("mask", steps, batch) if mask else None
    top = net.recurrent(kind, "r", x, hidden, cont=cont, mask=mask, **options)
    message = net.message()
    message.force_backward = True
    return pydl.Net(message, phase="TRAIN"), top


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (5, 3, 4, 7), (3, 2, 6, 17)], ids=str)
def test_gru(torch_values, sizes, isa):
    _core.kernels.set_isa(isa)
    v = torch_values("gru_" + "_".join(map(str, sizes)), torch_module("GRU", *sizes))
    net, top = stack("GRU", *sizes)
    check_against_torch(net, "GRU", v, {"cont": sequences.goes_on([sizes[0]] * sizes[1])}, top)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacks(torch_values, kind, bidirectional):
    sizes, options = (4, 2, 3, 5), {"bidirectional": bidirectional}
    name = f"{kind.lower()}_stack{'_both_ways' * bidirectional}"
    v = torch_values(name, torch_module(kind, *sizes, num_layers=2, **options))
    net, top = stack(kind, *sizes, layers=2, **options)
    check_against_torch(net, kind, v, {"cont": sequences.goes_on([4, 4])}, top)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_lengths(torch_values, kind):
    """As torch's packed sequences: zeros behind the ends, and no gradient from there."""
    sizes, lengths = (5, 4, 3, 4), [2, 5, 1, 4]
    options = {"bidirectional": True}
    case = torch_module(kind, *sizes, lengths=lengths, num_layers=2, **options)
    v = torch_values(f"{kind.lower()}_lengths", case)
    net, top = stack(kind, *sizes, mask=True, layers=2, **options)
    inputs = {"cont": sequences.goes_on(lengths), "mask": sequences.mask(lengths)}
    check_against_torch(net, kind, v, inputs, top)
    assert not net.blobs[top].data[2:, 0].any()


def test_dropout_between_layers():
    net = Builder("n", batch=2, classes=1)
    x, _ = net.input("x", 4, 2, 3), net.input("cont", 4, 2)
    net.recurrent("GRU", "r", x, 5, layers=3, dropout=0.2)
    kinds = [row.type for row in net.message().layer]
    assert kinds == ["Input", "Input", "GRU", "Dropout", "GRU", "Dropout", "GRU"]


# ---- the direction ----


def gru_steps(x, cont, params, h):
    """All steps in float64."""
    w_x, b_x, *w_static, w_h, b_h = (np.array(p.data, np.float64) for p in params)
    assert not w_static
    out = []
    for x_t, cont_t in zip(x, cont, strict=True):
        h = cont_t[:, None] * h
        r, z, n = np.split(x_t @ w_x.T + b_x, 3, axis=1)
        r_h, z_h, n_h = np.split(h @ w_h.T + b_h, 3, axis=1)
        r, z = (1 / (1 + np.exp(-g)) for g in (r + r_h, z + z_h))
        h = (1 - z) * np.tanh(n + r * n_h) + z * h
        out.append(h)
    return np.array(out)


@pytest.mark.parametrize("isa", ISAS)
def test_a_fraction_and_starts_in_the_middle(isa):
    _core.kernels.set_isa(isa)
    x, cont = normal(6, 3, 4), np.ones((6, 3), np.float32)
    cont[0], cont[2, 1], cont[4] = 0, 0.5, [0, 1, 0]
    net = make_net(gru(7, bottoms="x cont"), {"x": x, "cont": cont})
    fill_params(net)
    want = gru_steps(x, cont, net.params["y"], np.zeros((3, 7)))
    np.testing.assert_allclose(net.forward(x=x, cont=cont)["y"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_backward_is_forward_of_turned_sequences(kind, precision):
    """Also where sequences follow each other in one row, and in parts of the steps."""
    x, cont = normal(7, 100, 4), np.ones((7, 100), np.float32)
    cont[0], cont[3, ::2], cont[5, ::3] = 0, 0, 0
    turned = np.ones_like(cont)
    turned[1:], turned[0] = cont[:0:-1], 0  # the state passes between the same steps
    back = gru(9, "direction: BACKWARD", kind, bottoms="x cont")
    results = []
    for text, given, marks in ((gru(9, "", kind, bottoms="x cont"), x[::-1], turned),
                               (back, x, cont)):  # fmt: skip
        for options in ({}, {"phase": "TEST", "keep": "outputs"}):
            net = make_net(text, {"x": x, "cont": cont}, precision=precision, **options)
            fill_params(net)
            for _ in range(2):  # a pass leaves nothing behind
                results.append(net.forward(x=given, cont=marks)["y"])
    for found in results[1:4]:
        np.testing.assert_array_equal(found, results[0])
    for found in results[4:]:
        np.testing.assert_array_equal(found[::-1], results[0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_backward_from_a_state_given(kind):
    parts = ["h", "c"] if kind == "LSTM" else ["h"]
    states = {name: normal(1, 2, 5, seed=i + 1) for i, name in enumerate(parts)}
    names = {"bottoms": " ".join(["x", "cont", *parts]), "name": "l",
             "tops": " ".join(["y", *(f"{p}1" for p in parts)])}  # fmt: skip
    x, ones = normal(4, 2, 3), np.ones((4, 2))
    found = {}
    for way in ("FORWARD", "BACKWARD"):
        net = make_net(gru(5, f"expose_hidden: true direction: {way}", kind, **names),
                       {"x": x, "cont": (4, 2), **states}, phase="TEST")  # fmt: skip
        fill_params(net)
        given = x if way == "FORWARD" else x[::-1]
        found[way] = net.forward(x=given, cont=ones, **states)
    np.testing.assert_array_equal(found["BACKWARD"]["y"][::-1], found["FORWARD"]["y"])
    for part in parts:
        np.testing.assert_array_equal(found["BACKWARD"][f"{part}1"], found["FORWARD"][f"{part}1"])


# ---- one pass after the other ----


def test_goes_on_where_the_last_pass_stopped():
    x, cont = normal(6, 3, 4), np.ones((6, 3), np.float32)
    cont[0], cont[3] = 0, [1, 0, 1]
    text = gru(7, bottoms="x cont")
    whole = make_net(text, {"x": x, "cont": cont})
    parts = make_net(text, {"x": x[:3], "cont": cont[:3]})
    fill_params(whole), fill_params(parts)
    want = whole.forward(x=x, cont=cont)["y"]
    for part in (slice(0, 3), slice(3, 6)):
        got = parts.forward(x=x[part], cont=cont[part])["y"]
        np.testing.assert_allclose(got, want[part], rtol=1e-5, atol=1e-6)


def rounded(x):
    return from_bf16(to_bf16(np.array(x, np.float32)))


@pytest.mark.parametrize("isa", ISAS)
def test_bf16_is_near(isa):
    _core.kernels.set_isa(isa)
    x, cont = rounded(normal(6, 9, 20)), sequences.goes_on([6] * 9)
    text = gru(66, name="a", bottoms="x cont", tops="h") + gru(33, name="b", bottoms="h cont")
    found = []
    for precision in ("BF16", "FLOAT32"):
        net = make_net(text, {"x": x, "cont": cont}, phase="TEST", precision=precision)
        fill_params(net)
        for blob in (blob for blobs in net.params.values() for blob in blobs):
            blob.data[...] = rounded(blob.data)
        found.append(net.forward(x=x, cont=cont)["y"])
    np.testing.assert_allclose(*found, rtol=0, atol=0.03)
    assert not np.array_equal(*found)


def gradients(threads, passes=1, precision="FLOAT32", exact=True):
    """Unless `exact`, x and weights are values that bfloat16 has too."""
    pydl.set_num_threads(threads)
    cont = (np.random.default_rng(0).random((5, 9)) < 0.7).astype(np.float32)
    inputs = {"x": normal(5, 9, 20), "cont": cont, "s": normal(9, 6, seed=1)}
    text = gru(130, bottoms="x cont s") + "force_backward: true"
    net = make_net(text, inputs, precision=precision)
    fill_params(net)
    if not exact:
        inputs["x"], inputs["s"] = rounded(inputs["x"]), rounded(inputs["s"])
        for blob in net.params["y"]:
            blob.data[...] = rounded(blob.data)
    return recurrent_gradients(net, inputs, passes)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_gradients_depend_on_neither_threads_nor_passes(precision, isa):
    _core.kernels.set_isa(isa)
    assert_alike_with_threads_and_passes(gradients, precision)


@pytest.mark.parametrize("isa", ISAS)
def test_gradients_in_bf16_are_near_those_in_float32(isa):
    """Rounding x and weights alone moves the gradients of this net by 2 %, in float64 too."""
    _core.kernels.set_isa(isa)
    assert_near_float32(gradients(2, 1, "BF16", False), gradients(2, exact=False), 0.012)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("fields", "inputs", "message"),
    [
        ("num_output: 0", {}, "num_output must be given and positive"),
        ("num_output: 3", {"cont": (2, 4)}, "must be 4x2 for 4 steps of 2 sequences .* is 2x4"),
        ("num_output: 3", {"x": (4,)}, "steps, sequences and any others, but is 4"),
        ("num_output: 3 direction: BACK", {}, "BACKWARD"),
        ("num_output: 3 expose_hidden: true", {}, "3 to 4 bottom"),
    ],
)
def test_refuses(fields, inputs, message):
    with pytest.raises(Error, match=message):
        make_net(
            layer("GRU", f"recurrent_param {{ {fields} }}", bottoms="x cont"),
            {"x": (4, 2, 6), "cont": (4, 2)} | inputs,
        )


def test_no_steps():
    net = make_net(gru(3, bottoms="x cont"), {"x": (0, 2, 4), "cont": (0, 2)})
    assert net.forward()["y"].shape == (0, 2, 3)
    net.backward()
    assert not any(p.diff.any() for p in net.params["y"])


def test_padded_sequences():
    padded = sequences.pad([[[1, 2]], [[3, 4], [5, 6]]], steps=3, value=-1)
    assert padded.shape == (3, 2, 2) and padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:, 0], [[1, 2], [-1, -1], [-1, -1]])
    np.testing.assert_array_equal(padded[:, 1], [[3, 4], [5, 6], [-1, -1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([],), "at least one sequence"),
        (([3],), "each of steps"),
        (([[1, 2]], 1), "a sequence of 2 steps does not fit into 1"),
        (([[[1, 2]], [[1]]],), "must have one shape"),
    ],
)
def test_what_cannot_be_padded(given, message):
    with pytest.raises(Error, match=message):
        sequences.pad(*given)


@pytest.mark.parametrize(
    ("lengths", "steps", "message"),
    [
        ([], None, "one whole number for each sequence"),
        ([2.5], None, "one whole number"),
        ([3, 0], None, "sequence 1 has length 0, which must be 1 to 3"),
        ([3, 4], 3, "sequence 1 has length 4, which must be 1 to 3"),
    ],
)
def test_lengths_refused(lengths, steps, message):
    for make in (sequences.goes_on, sequences.mask, sequences.last_steps):
        with pytest.raises(Error, match=message):
            make(lengths, steps)


def test_last_steps():
    lengths, x = [2, 4, 1], normal(4, 3, 5)
    rows = sequences.last_steps(lengths).astype(int)
    want = [x[length - 1, n] for n, length in enumerate(lengths)]
    np.testing.assert_array_equal(x.reshape(12, 5)[rows], want)
