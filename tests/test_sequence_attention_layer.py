"""SequenceAttention against torch, its masks, and what it refuses."""

import numpy as np
import pytest
from net_text import fill_params, input_layers, layer, make_net, normal

from pydl import Error, _core, drawing, prototxt, sequences
from pydl.drawing.graph import net_graph

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
SIZES = {"queries": 3, "keys": 5, "batch": 4, "of_query": 6, "of_key": 6, "of_value": 7}


def attention(score, bottoms="q k v m", fields=""):
    fields = f"sequence_attention_param {{ score: {score} {fields} }}"
    return layer("SequenceAttention", fields, bottoms, "y w", "y")


def torch_attention(score, hidden):
    """The formulas of the papers; the mask leaves nothing of sequence 2."""

    def case(torch):
        n, i, j = SIZES["batch"], SIZES["queries"], SIZES["keys"]
        q, k, v = (torch.randn(steps, n, SIZES[size], requires_grad=True) for steps, size in
                   ((i, "of_query"), (j, "of_key"), (j, "of_value")))  # fmt: skip
        mask = (torch.rand(j, n) < 0.6).float()
        mask[:, 2], mask[0, [0, 1, 3]] = 0, 1
        shapes = {
            "ADDITIVE": [(hidden, q.shape[2]), (hidden, k.shape[2]), (1, hidden)],
            "GENERAL": [(q.shape[2], k.shape[2])],
            "DOT": [],
        }[score]
        weights = [(0.5 * torch.randn(*shape)).requires_grad_() for shape in shapes]
        if score == "ADDITIVE":
            sums = (q @ weights[0].T)[:, None] + (k @ weights[1].T)[None]
            scores = (torch.tanh(sums) @ weights[2][0]).transpose(1, 2)
        else:
            of_query = q @ weights[0] if weights else q
            scores = torch.einsum("inc,jnc->inj", of_query, k)
        scores = scores.masked_fill(mask.T[None] == 0, -1e30)
        w = torch.softmax(scores, dim=2) * mask.T[None]
        y = torch.einsum("inj,jnc->inc", w, v)
        dy, dw = torch.randn_like(y), torch.randn_like(w)
        torch.autograd.backward([y, w], [dy, dw])
        found = {"q": q, "k": k, "v": v, "m": mask, "y": y, "w": w, "dy": dy, "dw": dw}
        found |= {f"d{name}": found[name].grad for name in "qkv"}
        for index, value in enumerate(weights):
            found |= {f"p{index}": value, f"dp{index}": value.grad}
        return found

    return case


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("score", ["ADDITIVE", "GENERAL", "DOT"])
def test_against_torch(torch_values, score, isa):
    _core.kernels.set_isa(isa)
    v = torch_values(f"sequence_attention_{score.lower()}", torch_attention(score, 17))
    inputs = {name: v[name] for name in "qkvm"}
    text = attention(score, fields="num_hidden: 17") + "force_backward: true"
    net = make_net(text, inputs)
    params = net.params.get("y", [])
    for i, blob in enumerate(params):
        blob.data[...] = v[f"p{i}"]
    out = net.forward(**inputs)
    np.testing.assert_allclose(out["y"], v["y"], **CLOSE)
    np.testing.assert_allclose(out["w"], v["w"], **CLOSE)
    assert not out["y"][:, 2].any()
    net.blobs["y"].diff[...], net.blobs["w"].diff[...] = v["dy"], v["dw"]
    net._core.clear_param_diffs()
    net.backward()
    for name in "qkv":
        np.testing.assert_allclose(net.blobs[name].diff, v[f"d{name}"], **CLOSE)
    for i, blob in enumerate(params):
        np.testing.assert_allclose(blob.diff, v[f"dp{i}"], rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("score", ["ADDITIVE", "GENERAL", "DOT"])
def test_a_memory_is_key_and_value(score):
    """Also with lengths in the place of the mask."""
    q, k, lengths = normal(2, 3, 4), normal(5, 3, 4, seed=1), [5, 0, 2]
    mask = np.zeros((5, 3), np.float32)
    mask[:, [0, 2]] = sequences.mask([5, 2])
    found = []
    for bottoms, inputs in (
        ("q k m", {"q": q, "k": k, "m": np.float32(lengths)}),
        ("q k v m", {"q": q, "k": k, "v": k, "m": mask}),
    ):
        net = make_net(attention(score, bottoms) + "force_backward: true", inputs)
        fill_params(net)
        out = net.forward(**inputs)
        net.blobs["y"].diff[...], net.blobs["w"].diff[...] = normal(2, 3, 4, seed=2), 0
        net.backward()
        of_value = net.blobs["v"].diff if "v" in inputs else 0
        found.append([out["y"], out["w"], net.blobs["q"].diff, net.blobs["k"].diff + of_value])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)
    assert not found[0][0][:, 1].any() and not found[0][1][:, 1].any()


def test_in_pictures_and_summaries():
    """With its second top, the weights, and a mask of lengths."""
    fields = "sequence_attention_param { score: GENERAL }"
    text = layer("SequenceAttention", fields, "q m l", "y w", "att")
    inputs = {"q": (3, 2, 6), "m": (5, 2, 7), "l": (2,)}
    net = make_net(text, inputs)
    (row,) = (row for row in net.summary().splitlines() if row.startswith("att "))
    assert row.split()[1:5] == ["SequenceAttention", "3x2x7", "3x2x5", "42"]
    message = prototxt.parse(input_layers(inputs) + text)
    graph = net_graph(message)
    assert [(e.target, e.blobs) for e in graph.edges] == [(3, ["q"]), (3, ["m"]), (3, ["l"])]
    picture = drawing.render(message).decode()
    assert all(name in picture for name in ("SequenceAttention", "GENERAL", "att"))


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        (attention("DOT", "q k"), {"k": (5, 2, 3)}, "DOT multiplies queries of 4 .* use GENERAL"),
        (attention("DOT", "q k"), {"q": (3, 8)}, "axes steps, sequences and values, but bottom 0"),
        (attention("DOT", "q k"), {"k": (5, 3, 4)}, "as many sequences"),
        (attention("DOT"), {"v": (4, 2, 4)}, "a value for each key"),
        (attention("DOT"), {"m": (2, 5)}, "must be 5x2 for 5 keys of 2 sequences, .* is 2x5"),
        (attention("ADDITIVE", fields="num_hidden: -1"), {}, "must not be negative, got -1"),
        (attention("LUONG"), {}, "ADDITIVE"),
    ],
)
def test_refuses(text, inputs, message):
    shapes = {"q": (3, 2, 4), "k": (5, 2, 4), "v": (5, 2, 4), "m": (5, 2)} | inputs
    with pytest.raises(Error, match=message):
        make_net(text, {n: s for n, s in shapes.items() if f'bottom: "{n}"' in text})


def test_refuses_lengths_beyond_the_keys():
    net = make_net(attention("DOT", "q k m"), {"q": (3, 2, 4), "k": (5, 2, 4), "m": (2,)})
    with pytest.raises(Error, match="sequence 1 has length 6, but there are 5 keys"):
        net.forward(m=[5, 6])
