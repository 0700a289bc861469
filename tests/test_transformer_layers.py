"""The layers of Transformers against torch: values, all gradients, edges and bad input."""

import numpy as np
import pytest
from net_text import fill_params, layer, make_net, normal
from torch_layers import check, close, randomized, recorded

import pydl
from pydl import Error, _core
from pydl.zoo.builder import Builder

# ---- against torch ----


NORMS = {
    "plain": ("LayerNorm", "", lambda nn: nn.LayerNorm(19), 19),
    "axes": ("LayerNorm", "axis: -2 eps: 0.01", lambda nn: nn.LayerNorm((5, 7), eps=0.01), (5, 7)),
    "no_bias": ("LayerNorm", "bias_term: false", lambda nn: nn.LayerNorm(19, bias=False), 19),
    "not_affine": (
        "LayerNorm", "affine: false", lambda nn: nn.LayerNorm(19, elementwise_affine=False), 19),
    "rms": ("RMSNorm", "", lambda nn: nn.RMSNorm(19), 19),
    "rms_eps": ("RMSNorm", "eps: 0.1 axis: 1", lambda nn: nn.RMSNorm((5, 7), eps=0.1), (5, 7)),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms_as_torch(name, torch_values):
    kind, fields, make, shape = NORMS[name]

    def case(torch):
        module = randomized(torch, make(torch.nn))
        x = 2 * torch.randn(3, 4, *np.atleast_1d(shape)) + 1
        if "axis: 1" in fields:
            x = x[:, 0].contiguous()
        return recorded(torch, module, [x], list(module.parameters()))

    param = "rms_norm_param" if kind == "RMSNorm" else "layer_norm_param"
    check(torch_values(f"{kind.lower()}_{name}", case), kind, f"{param} {{ {fields} }}")


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_as_torch(approximate, torch_values):
    def case(torch):
        call = torch.nn.GELU(approximate)
        return recorded(torch, call, [4 * torch.randn(3, 47)])

    fields = f"gelu_param {{ approximate: {approximate.upper()} }}"
    check(torch_values(f"gelu_{approximate}", case), "GELU", fields)


def heads_of(x, heads):
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def attend(torch, q, k, v, heads, **options):
    attention = torch.nn.functional.scaled_dot_product_attention
    y = attention(*(heads_of(x, heads) for x in (q, k, v)), **options)
    return y.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_attention_as_torch(causal, torch_values):
    def case(torch):
        return recorded(
            torch, lambda x: attend(torch, *x.chunk(3, 2), 3, is_causal=causal),
            [torch.randn(2, 11, 45)],
        )  # fmt: skip

    values = torch_values(f"attention_packed{'_causal' * causal}", case)
    check(values, "Attention", f"attention_param {{ num_heads: 3 causal: {str(causal).lower()} }}")


def test_masked_attention_as_torch(torch_values):
    def case(torch):
        mask = torch.rand(2, 9) < 0.6
        call = lambda q, k, v: attend(  # noqa: E731
            torch, q, k, v, 2, attn_mask=mask[:, None, None], scale=0.3
        )
        bottoms = [torch.randn(2, n, 12) for n in (5, 9, 9)]
        return recorded(torch, call, bottoms, mask=mask.float())

    values = torch_values("attention_masked", case)
    check(values, "Attention", "attention_param { num_heads: 2 scale: 0.3 }")


@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_as_torch(bias, torch_values):
    def case(torch):
        module = torch.nn.MultiheadAttention(12, 4, bias=bias, batch_first=True)
        randomized(torch, module)
        lengths = torch.tensor([7, 4])
        padding = torch.arange(7) >= lengths[:, None]
        call = lambda x: module(x, x, x, key_padding_mask=padding)[0]  # noqa: E731
        weights = list(module.parameters())
        return recorded(torch, call, [torch.randn(2, 7, 12)], weights, lengths=lengths.float())

    fields = f"num_heads: 4 bias_term: {str(bias).lower()}"
    values = torch_values(f"self_attention{'' if bias else '_no_bias'}", case)
    check(values, "MultiHeadAttention", f"multi_head_attention_param {{ {fields} }}")


def test_cross_attention_as_torch(torch_values):
    def case(torch):
        module = randomized(torch, torch.nn.MultiheadAttention(10, 2, batch_first=True))
        bottoms = [torch.randn(3, n, 10) for n in (4, 6, 6)]
        call = lambda q, k, v: module(q, k, v)[0]  # noqa: E731
        return recorded(torch, call, bottoms, list(module.parameters()))

    check(torch_values("cross_attention", case), "MultiHeadAttention",
          "multi_head_attention_param { num_heads: 2 }")  # fmt: skip


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_attention_as_torch(interleaved, torch_values):
    """Against complex numbers, as Su et al. and Llama's own code have it."""

    def turned(torch, x, base):  # (N, heads, T, D)
        size = x.shape[3]
        powers = base ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(x.shape[2]), powers)
        pairs = x.unflatten(3, (-1, 2)) if interleaved else x.unflatten(3, (2, -1)).mT
        y = torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angles), angles)
        y = torch.view_as_real(y)
        return (y if interleaved else y.mT).flatten(3)

    def case(torch):
        weights = [torch.randn(36, 12), torch.randn(36), torch.randn(12, 12), torch.randn(12)]
        weights = [(w / 2).requires_grad_() for w in weights]
        linear, attention = torch.nn.functional.linear, torch.nn.functional

        def call(x):
            q, k, v = (heads_of(part, 2) for part in linear(x, *weights[:2]).chunk(3, 2))
            q, k = (turned(torch, part, 50) for part in (q, k))
            y = attention.scaled_dot_product_attention(q, k, v, is_causal=True)
            return linear(y.transpose(1, 2).flatten(2), *weights[2:])

        return recorded(torch, call, [torch.randn(2, 7, 12)], weights)

    fields = f"num_heads: 2 causal: true rotary_base: 50 rotary_interleaved: {interleaved}".lower()
    values = torch_values(f"rotary_attention{'' if interleaved else '_halves'}", case)
    check(values, "MultiHeadAttention", f"multi_head_attention_param {{ {fields} }}")


# ---- whole blocks ----


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_as_torch(norm_first, activation, torch_values):
    def case(torch):
        module = torch.nn.TransformerEncoderLayer(
            12, 3, 20, 0, activation, batch_first=True, norm_first=norm_first
        )
        weights = list(randomized(torch, module).parameters())
        return recorded(torch, module, [torch.randn(2, 5, 12)], weights)

    net = Builder("encoder", batch=2, classes=1)
    kind = {"relu": "ReLU", "gelu": "GELU"}[activation]
    y = net.transformer_encoder(
        "a", net.input("x0", 2, 5, 12), 12, 3, hidden=20, activation=kind, norm_first=norm_first,
        dropout=0,
    )  # fmt: skip
    name = f"transformer_encoder_{activation}{'_norm_first' * norm_first}"
    order = ["self_attn", "linear1", "linear2", "norm1", "norm2"]
    check_block(net, y, order, torch_values(name, case))


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_block_as_torch(norm_first, torch_values):
    def case(torch):
        module = torch.nn.TransformerDecoderLayer(
            12, 3, 20, 0, batch_first=True, norm_first=norm_first
        )
        weights = list(randomized(torch, module).parameters())
        hidden = torch.nn.Transformer.generate_square_subsequent_mask(5)
        call = lambda x, memory: module(x, memory, tgt_mask=hidden)  # noqa: E731
        return recorded(torch, call, [torch.randn(2, n, 12) for n in (5, 7)], weights)

    net = Builder("decoder", batch=2, classes=1)
    x, memory = net.input("x0", 2, 5, 12), net.input("x1", 2, 7, 12)
    y = net.transformer_decoder("a", x, memory, 12, 3, hidden=20, norm_first=norm_first, dropout=0)
    order = ["self_attn", "multihead_attn", "linear1", "linear2", "norm1", "norm2", "norm3"]
    name = f"transformer_decoder{'_norm_first' * norm_first}"
    check_block(net, y, order, torch_values(name, case))


def check_block(builder, top, order, v, rtol=1e-4):
    import pydl

    message = builder.message()
    message.force_backward = True
    net = pydl.Net(message, phase="TRAIN")
    weights = [blob for part in order for blob in net.params[f"a/{part}"]]
    for i, blob in enumerate(weights):
        blob.data[...] = v[f"w{i}"]
    bottoms = {name: v[name] for name in v if name[0] == "x"}
    net.forward(**bottoms)
    close(net.blobs[top].data, v["y"], rtol, "y")
    net.blobs[top].diff[...] = v["dy"]
    net._core.clear_param_diffs()
    net.backward()
    for name in bottoms:
        close(net.blobs[name].diff, v[f"d{name}"], rtol, f"d{name}")
    for i, blob in enumerate(weights):
        close(blob.diff, v[f"dw{i}"], rtol, f"dw{i}")


def rotary_block(steps, base=100):
    net = Builder("block", batch=2, classes=1)
    x, mask = net.input("x", 2, steps, 12), net.input("mask", 2, steps)
    net.transformer_encoder("a", x, 12, 3, mask=mask, causal=True, rotary_base=base)
    return pydl.Net(net.message(), phase="TEST")


def test_a_rotary_block_knows_distances_but_no_places():
    """Of one step, it is a block without; what stands alone behind masked steps, as at the front;
    an order does matter."""
    x, plain, single = normal(2, 5, 12), rotary_block(1, base=0), rotary_block(1)
    whole, later = rotary_block(5), rotary_block(8)
    for net in (plain, single, whole, later):
        fill_params(net)
    ones = np.ones((2, 5))
    one = {"x": x[:, :1], "mask": ones[:, :1]}
    (want,), (got,) = plain.forward(**one).values(), single.forward(**one).values()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)

    (want,) = whole.forward(x=x, mask=ones).values()
    mask = np.ones((2, 8))
    mask[:, :3] = 0
    (got,) = later.forward(x=np.concatenate([normal(2, 3, 12), x], 1), mask=mask).values()
    np.testing.assert_allclose(got[:, 3:], want, rtol=1e-4, atol=1e-4)
    (other,) = whole.forward(x=x[:, [1, 0, 2, 3, 4]], mask=ones).values()
    assert np.abs(other[:, 4] - want[:, 4]).max() > 1e-3


# ---- generation ----


def language_model(steps, cache=0):
    net = Builder("lm", batch=2, classes=1)
    x = net.input("x", 2, steps, 12)
    position = {"type": "LEARNED", "max_length": 9, "weight_filler": {"type": "gaussian"}}
    places = [x, net.input("first", 1)] if cache else [x]
    x = net.layer("PositionalEmbedding", "position", places, positional_embedding_param=position)
    for name in "ab":
        x = net.transformer_encoder(name, x, 12, 3, causal=True, cache=cache, norm_first=True)
    net.layer("InnerProduct", "y", x, inner_product_param={"num_output": 4, "axis": 2})
    return pydl.Net(net.message(), phase="TEST")


@pytest.mark.parametrize("parts", [(1,) * 8, (3, 1, 4), (8,)])
@pytest.mark.parametrize("isa", _core.kernels.available_isas())
def test_a_sequence_in_parts_is_the_whole_one(parts, isa):
    _core.kernels.set_isa(isa)
    whole = language_model(8)
    fill_params(whole)
    x = normal(2, 8, 12)
    want = np.array(whole.forward(x=x)["y"])
    state = {f"{name}/past": np.zeros((2, 9, 24)) for name in "ab"}
    first, found = 0, []
    for steps in parts:
        net = language_model(steps, cache=9)
        fill_params(net)
        out = net.forward(x=x[:, first : first + steps], first=[first], **state)
        state = {f"{name}/past": np.array(out[f"{name}/present"]) for name in "ab"}
        found.append(np.array(out["y"]))
        first += steps
    np.testing.assert_allclose(np.concatenate(found, 1), want, rtol=1e-4, atol=1e-4)


def test_a_cache_that_does_not_fit():
    net = language_model(2, cache=9)
    with pytest.raises(Error, match="has 10 steps, but .* is 9"):
        net.forward(first=[8])
    fields = "multi_head_attention_param { expose_cache: true }"
    text = layer("MultiHeadAttention", fields, "x c f", "y d")
    for cache in ((2, 5, 4), (2, 0, 8)):
        with pytest.raises(Error, match="room for a step, .* side by side, 8 channels"):
            make_net(text, {"x": (2, 1, 4), "c": cache, "f": (1,)})
    with pytest.raises(Error, match="bottoms are x, the cache"):
        make_net(layer("MultiHeadAttention", fields), {"x": (2, 1, 4)})
    net = make_net(f"force_backward: true {text}", {"x": (2, 1, 4), "c": (2, 5, 8), "f": (1,)})
    net.forward()
    with pytest.raises(Error, match="do not learn"):
        net.backward()


# ---- positions ----


def test_learned_positions():
    x, w = normal(2, 3, 4), normal(5, 4, seed=1)
    text = layer("PositionalEmbedding", "positional_embedding_param { max_length: 5 }")
    net = make_net(text, {"x": x})
    assert net.params["y"][0].shape == (5, 4)
    net.params["y"][0].data[...] = w
    np.testing.assert_allclose(net.forward(x=x)["y"], x + w[:3], rtol=1e-6)


def test_sinusoidal_positions_are_those_of_the_paper():
    text = layer("PositionalEmbedding", "positional_embedding_param { type: SINUSOIDAL }")
    y = make_net(text, {"x": (1, 50, 6)}).forward(x=np.zeros((1, 50, 6)))["y"][0]
    angles = np.arange(50)[:, None] / 10000.0 ** (np.arange(0, 6, 2) / 6)
    np.testing.assert_allclose(y[:, 0::2], np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(y[:, 1::2], np.cos(angles), atol=1e-6)


@pytest.mark.parametrize("fields", ["type: SINUSOIDAL", "max_length: 9"])
def test_positions_of_a_sequence_in_parts(fields):
    text = layer("PositionalEmbedding", f"positional_embedding_param {{ {fields} }}")
    parts = text.replace('bottom: "x"', 'bottom: "x" bottom: "first"')
    x = normal(2, 7, 4)
    whole = make_net(text, {"x": x})
    net = make_net(parts, {"x": (2, 3, 4), "first": (1,)})
    if "y" in whole.params:
        for n in (whole, net):
            n.params["y"][0].data[...] = normal(9, 4, seed=3)
    want = whole.forward(x=x)["y"]
    got = net.forward(x=x[:, 2:5], first=[2])["y"]
    np.testing.assert_allclose(got, want[:, 2:5], rtol=1e-6)


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_products_depend_on_the_distance(interleaved, isa):
    _core.kernels.set_isa(isa)
    fields = f"num_heads: 2 interleaved: {str(interleaved).lower()}"
    text = layer("RotaryEmbedding", f"rotary_embedding_param {{ {fields} }}")
    q, k = normal(12), normal(12, seed=1)
    net = make_net(text, {"x": (2, 9, 12)})
    x = np.broadcast_to(np.stack([q, k])[:, None], (2, 9, 12))
    y = np.array(net.forward(x=x)["y"])
    y = y.reshape(2, 9, 2, 6)
    scores = np.einsum("qhd,khd->hqk", y[0], y[1])
    for distance in range(-4, 5):
        diagonal = np.diagonal(scores, distance, axis1=1, axis2=2)
        np.testing.assert_allclose(diagonal, diagonal[:, :1].repeat(diagonal.shape[1], 1),
                                   atol=1e-5)  # fmt: skip
    pairs = [(0, 1), (2, 3), (4, 5)] if interleaved else [(0, 3), (1, 4), (2, 5)]
    for i, (a, b) in enumerate(pairs):
        turned = (q[a] + 1j * q[b]) * np.exp(3j * 10000 ** (-2 * i / 6))
        np.testing.assert_allclose(y[0, 3, 0, [a, b]], [turned.real, turned.imag], atol=1e-5)


def test_rotary_of_a_sequence_in_parts():
    text = layer("RotaryEmbedding", "rotary_embedding_param { base: 100 }")
    x = normal(1, 6, 8)
    want = make_net(text, {"x": x}).forward(x=x)["y"]
    parts = text.replace('bottom: "x"', 'bottom: "x" bottom: "first"')
    net = make_net(parts, {"x": (1, 2, 8), "first": (1,)})
    np.testing.assert_allclose(net.forward(x=x[:, 4:], first=[4])["y"], want[:, 4:], rtol=1e-6)


# ---- edges ----


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
def test_queries_that_see_nothing_give_zero_and_have_no_gradient(isa):
    _core.kernels.set_isa(isa)
    x = normal(2, 5, 12)
    text = layer("Attention", "attention_param { num_heads: 2 }", "x m")
    net = make_net(f"force_backward: true {text}", {"x": x, "m": (2,)})
    y = net.forward(x=x, m=[0, 3])["y"]
    assert (y[0] == 0).all() and np.abs(y[1]).min() > 0
    net.blobs["y"].diff[...] = 1
    net.backward()
    dx = net.blobs["x"].diff
    assert (dx[0] == 0).all() and np.isfinite(dx).all()
    assert (dx[1, 3:, 4:] == 0).all()  # keys and values beyond the length


def test_what_a_mask_hides_does_not_matter():
    text = layer("Attention", "attention_param { num_heads: 2 }", "x m")
    x, mask = normal(1, 4, 12), np.array([[1, 0, 1, 1.0]])
    net = make_net(text, {"x": x, "m": mask})
    first = np.array(net.forward(x=x, m=mask)["y"])
    x[0, 1, 4:] = 1e3
    assert (net.forward(x=x, m=mask)["y"] == first).all()


def test_no_steps():
    text = layer("Attention", "", "q k k")
    net = make_net(text, {"q": (2, 3, 4), "k": (2, 0, 4)})
    assert (net.forward(q=normal(2, 3, 4))["y"] == 0).all()
    text = layer("MultiHeadAttention", "")
    assert make_net(text, {"x": (2, 0, 4)}).forward()["y"].shape == (2, 0, 4)


def test_weights_are_those_of_the_softmax():
    text = layer("Attention", "attention_param { num_heads: 2 causal: true }", tops="y w")
    x = normal(2, 5, 24)
    net = make_net(text, {"x": x})
    y, w = (net.forward(x=x)[name] for name in ("y", "w"))
    assert w.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(w.sum(3), 1, rtol=1e-5)
    assert (np.triu(w[0, 0], 1) == 0).all()
    v = x[..., 16:].reshape(2, 5, 2, 4)
    np.testing.assert_allclose(np.einsum("nhqk,nkhd->nqhd", w, v).reshape(2, 5, 8), y, atol=1e-5)


@pytest.mark.parametrize("kind", ["Attention", "MultiHeadAttention", "LayerNorm", "RMSNorm"])
def test_bf16(kind):
    text = layer("InnerProduct", "inner_product_param { num_output: 24 axis: 2 weight_filler { "
                 "type: 'xavier' } }", "x", "a")  # fmt: skip
    text = f"force_backward: true {text}{layer(kind, '', 'a', 'b')}"
    text += layer("InnerProduct", "inner_product_param { num_output: 5 axis: 2 weight_filler { "
                  "type: 'xavier' } }", "b", "y")  # fmt: skip
    x, found = normal(2, 6, 10), []
    for precision in ("FLOAT32", "BF16"):
        net = make_net(text, {"x": x}, precision=precision)
        y = np.array(net.forward(x=x)["y"])
        net.blobs["y"].diff[...] = normal(*y.shape, seed=1)
        net.backward()
        found.append((y, np.array(net.blobs["x"].diff)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=0.03 * np.abs(a).max())
        assert (a != b).any()


BAD = {
    "heads": ("MultiHeadAttention", "multi_head_attention_param { num_heads: 5 }",
              {"x": (2, 3, 12)}, "12 channels, which 5 heads cannot share"),
    "no heads": ("Attention", "attention_param { num_heads: 0 }", {"x": (2, 3, 12)},
                 "num_heads must be positive, got 0"),
    "axes": ("Attention", "", {"x": (3, 12)}, "sequences x steps x channels, but is 3x12"),
    "packed": ("Attention", "", {"x": (2, 3, 10)}, "3 does not divide its 10 channels"),
    "batch": ("Attention", "", {"x": (2, 3, 4), "k": (1, 3, 4), "v": (1, 3, 4)},
              "has 1 sequences, but the first bottom has 2"),
    "channels": ("Attention", "", {"x": (2, 3, 4), "k": (2, 3, 6), "v": (2, 3, 6)},
                 "as many channels"),
    "steps": ("MultiHeadAttention", "", {"x": (2, 3, 4), "k": (2, 3, 4), "v": (2, 5, 4)},
              "as many steps"),
    "mask": ("Attention", "", {"x": (2, 3, 12), "m": (2, 4)},
             "a value for each of their 3 keys .2x3., but is 2x4"),
    "position": ("PositionalEmbedding", "positional_embedding_param { max_length: 4 }",
                 {"x": (2, 5, 3)}, "has 5 steps, but positional_embedding_param.max_length is 4"),
    "no length": ("PositionalEmbedding", "", {"x": (2, 5, 3)}, "max_length.* must be given"),
    "odd": ("RotaryEmbedding", "rotary_embedding_param { num_heads: 2 }", {"x": (2, 5, 6)},
            "heads have 3 channels, which must be even"),
    "rotary heads": ("MultiHeadAttention", "multi_head_attention_param { rotary_base: 9 }",
                     {"x": (2, 4, 5)}, "turn pairs, but its heads have 5 channels: 5 of 1 heads"),
    "rotary base": ("MultiHeadAttention", "multi_head_attention_param { rotary_base: -1 }",
                    {"x": (2, 4, 6)}, "rotary_base must not be negative, got -1"),
    "rotary memory": ("MultiHeadAttention", "multi_head_attention_param { rotary_base: 9 }",
                      {"x": (2, 4, 6), "k": (2, 5, 6), "v": (2, 5, 6)}, "are not one blob"),
    "rotary": ("RotaryEmbedding", "rotary_embedding_param { max_length: 4 }", {"x": (2, 5, 6)},
               "has 5 steps, but rotary_embedding_param.max_length is 4"),
    "empty row": ("LayerNorm", "", {"x": (2, 0)}, "nothing to normalise"),
    "eps": ("RMSNorm", "rms_norm_param { eps: 0 }", {"x": (2, 3)}, "eps must be positive"),
    "axis": ("LayerNorm", "layer_norm_param { axis: 3 }", {"x": (2, 3)}, "axis"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    kind, params, inputs, message = BAD[name]
    with pytest.raises(Error, match=message):
        make_net(layer(kind, params, " ".join(inputs)), inputs)


@pytest.mark.parametrize("length", [-1, 6, 2.5, np.nan])
def test_a_length_out_of_range(length):
    net = make_net(layer("Attention", "", "x m"), {"x": (2, 5, 3), "m": (2,)})
    with pytest.raises(Error, match="sequence 1 of its mask has length .*0 to 5"):
        net.forward(x=normal(2, 5, 3), m=[2, length])


def test_a_first_step_out_of_range():
    text = layer("PositionalEmbedding", "positional_embedding_param { max_length: 6 }", "x f")
    net = make_net(text, {"x": (1, 2, 3), "f": (1,)})
    for first, message in ((5, "has 7 steps"), (-1, "whole number"), (0.5, "got 0.5")):
        with pytest.raises(Error, match=message):
            net.forward(x=normal(1, 2, 3), f=[first])
