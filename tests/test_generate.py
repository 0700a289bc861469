"""Generation: greedy, samples and beam search over nets that give their states out."""

import itertools

import numpy as np
import pytest
from net_text import fill_params, layer, make_net, normal

import pydl
from pydl import Error, generate
from pydl.zoo.builder import Builder

WORDS = 5
EMBED = layer("Embed", f"embed_param {{ input_dim: {WORDS} num_output: 4 }}", "data", "e")


def scores(bottom):
    fields = f"inner_product_param {{ num_output: {WORDS} axis: 2 }}"
    return layer("InnerProduct", fields, bottom, "scores")


def language_model(batch=3, kind="GRU", steps=1, exposed=True, softmax=False):
    """Two recurrent layers over WORDS tokens, with weights that depend on nothing else."""
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    inputs = {"data": (steps, batch), "cont": (steps, batch)}
    text, bottom = EMBED, "e"
    for name in "ab":
        given = [f"{name}_{s}0" for s in states] if exposed else []
        taken = [f"{name}_{s}1" for s in states] if exposed else []
        inputs |= dict.fromkeys(given, (1, batch, 6))
        text += layer(
            kind, f"recurrent_param {{ num_output: 6 expose_hidden: {str(exposed).lower()} }}",
            " ".join([bottom, "cont", *given]), " ".join([name, *taken]), name,
        )  # fmt: skip
        bottom = name
    text += scores(bottom)
    if softmax:
        text += layer("Softmax", "softmax_param { axis: 2 }", "scores", "prob")
    net = make_net(text, inputs, phase="TEST")
    fill_params(net)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] *= 3  # far from uniform
    return net


def log_probabilities(tokens, kind="GRU"):
    """(len(tokens), WORDS): of what follows each of them, from a net that reads all at once."""
    net = language_model(1, kind, len(tokens), exposed=False)
    cont = np.ones((len(tokens), 1))
    cont[0] = 0
    y = net.forward(data=np.reshape(tokens, (-1, 1)), cont=cont)["scores"][:, 0]
    y = y.astype(np.float64)
    return y - np.log(np.exp(y).sum(axis=1, keepdims=True))


def total(prompt, added, kind="GRU"):
    """The logarithm of the probability of what was added."""
    rows = log_probabilities([*prompt, *added][:-1], kind)[len(prompt) - 1 :]
    return sum(row[token] for row, token in zip(rows, added, strict=True))


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN"])
@pytest.mark.parametrize("softmax", [False, True])
def test_greedy(kind, softmax):
    """Of prompts of different lengths, and fewer than the net has sequences."""
    prompts = [[1, 4, 2], [3]]
    found = generate.greedy(language_model(3, kind, softmax=softmax), prompts, 6)
    for prompt, added in zip(prompts, found, strict=True):
        assert len(added) == 6
        for i, token in enumerate(added):
            assert token == log_probabilities([*prompt, *added[:i]], kind)[-1].argmax()


def test_stop_ends_a_sequence():
    net = language_model()
    (whole,) = generate.greedy(net, [[1]], 8)
    stop = whole[3]
    assert generate.greedy(net, [[1]], 8, stop=stop) == [whole[: whole.index(stop)]]


def test_samples_follow_the_probabilities():
    net = language_model(64)
    p = np.exp(log_probabilities([2])[-1])
    found = [t for seed in range(40) for (t,) in generate.sample(net, [[2]] * 64, 1, seed=seed)]
    share = np.bincount(found, minlength=WORDS) / len(found)
    np.testing.assert_allclose(share, p, atol=0.04)
    cold = [t for (t,) in generate.sample(net, [[2]] * 64, 1, seed=1, temperature=0.01)]
    assert set(cold) == {p.argmax()}


def test_samples_of_the_most_probable():
    net = language_model(64)
    order = np.argsort(-log_probabilities([2])[-1])
    for k in (1, 2, 3):
        found = {t for (t,) in generate.sample(net, [[2]] * 64, 1, top_k=k, seed=1)}
        assert found <= set(order[:k])
    p = np.exp(log_probabilities([2])[-1][order])
    for kept in range(1, WORDS):
        top_p = p[:kept].sum() - 1e-3
        found = {t for s in range(8) for (t,) in
                 generate.sample(net, [[2]] * 64, 1, top_p=top_p, seed=s)}  # fmt: skip
        assert found <= set(order[:kept])
    assert generate.sample(net, [[2]], 1, top_p=1e-6) == [[order[0]]]


def test_seeds():
    net = language_model()
    draws = [generate.sample(net, [[1], [2]], 20, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_beam_search_with_all_beams_is_exhaustive(kind):
    length, prompt = 3, [1, 4]
    every = sorted(
        ((total(prompt, added, kind), list(added))
         for added in itertools.product(range(WORDS), repeat=length)), reverse=True,
    )  # fmt: skip
    found = generate.beam_search(language_model(WORDS**2, kind), prompt, length)
    assert len(found) == WORDS**2
    for (tokens, score), (want, best) in zip(found, every[:10], strict=False):
        assert tokens == best
        assert score == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("penalty", [0, 0.6, 2])
def test_beam_search_with_ends(penalty):
    """All sequences of at most 4 tokens, with enough beams to follow them."""
    prompt, stop, length = [2], 0, 3
    words = range(1, WORDS)
    ended = [[*added, stop] for n in range(length) for added in itertools.product(words, repeat=n)]
    ended += [list(added) for added in itertools.product(words, repeat=length)]
    every = [(total(prompt, a) / ((5 + len(a)) / 6) ** penalty, a) for a in ended]
    every.sort(reverse=True)
    net = language_model(80)
    found = generate.beam_search(net, prompt, length, stop=stop, length_penalty=penalty)
    for (tokens, score), (want, best) in zip(found[:5], every[:5], strict=True):
        assert tokens == [t for t in best if t != stop]
        assert score == pytest.approx(want, rel=1e-4)


def test_one_beam_is_greedy():
    net = language_model()
    (found,) = generate.beam_search(net, [1], 6, beams=1)
    assert found[0] == generate.greedy(net, [[1]], 6)[0]
    assert found[1] == pytest.approx(total([1], found[0]), rel=1e-4)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_states_that_the_builder_exposes(kind):
    """Step by step two layers say what they say of all steps at once."""
    nets = []
    for steps in (4, 1):
        builder = Builder("words", batch=2, classes=WORDS)
        builder.input("data", steps, 2), builder.input("cont", steps, 2)
        param = {"input_dim": WORDS, "num_output": 3, "weight_filler": {"type": "xavier"}}
        x = builder.layer("Embed", "e", "data", embed_param=param)
        x = builder.recurrent(kind, "deep", x, 6, layers=2, dropout=0.5, expose=steps == 1)
        builder.fc("scores", x, WORDS, axis=2)
        nets.append(pydl.Net(builder.message(), phase="TEST"))
        fill_params(nets[-1])
    whole, single = nets
    tokens = np.array([[1, 0], [4, 2], [2, 2], [3, 1]])
    cont = np.ones((4, 2))
    cont[0] = 0
    y = whole.forward(data=tokens, cont=cont)["scores"].astype(np.float64)
    y -= np.log(np.exp(y).sum(axis=2, keepdims=True))
    decoder = generate.Decoder(single)
    assert len(decoder.states) == (4 if kind == "LSTM" else 2)
    np.testing.assert_allclose([decoder.step(row) for row in tokens], y, rtol=1e-4, atol=1e-5)


def test_layers_that_run_both_ways_expose_nothing():
    with pytest.raises(Error, match="deep: .* both ways cannot expose"):
        Builder("words", batch=1, classes=WORDS).recurrent(
            "GRU", "deep", "x", 6, bidirectional=True, expose=True
        )


def transformer(steps, cache=0, batch=3):
    """A block over WORDS tokens and their places, that reads `steps` at once."""
    builder = Builder("transformer", batch=batch, classes=WORDS)
    param = {"input_dim": WORDS, "num_output": 8, "weight_filler": {"type": "xavier"}}
    x = builder.layer("Embed", "e", builder.input("data", batch, steps), embed_param=param)
    places = [x, builder.input("first", 1)] if cache else [x]
    x = builder.layer(
        "PositionalEmbedding", "place", places, positional_embedding_param={"type": "SINUSOIDAL"}
    )
    x = builder.transformer_encoder("block", x, 8, 2, causal=True, cache=cache)
    builder.fc("scores", x, WORDS, axis=2)
    net = pydl.Net(builder.message(), phase="TEST")
    fill_params(net)
    return net


def test_a_window_is_as_good_as_a_cache():
    prompts = [[1, 4, 2], [3]]
    window = generate.Window(transformer(9))
    assert generate.greedy(window, prompts, 7) == generate.greedy(transformer(1, 9), prompts, 7)
    assert (
        generate.beam_search(window, [2], 5)[0][0]
        == (generate.beam_search(transformer(1, 9), [2], 5)[0][0])
    )


def test_a_window_goes_along_with_longer_texts():
    net = transformer(4, batch=1)
    (added,) = generate.greedy(generate.Window(net), [[1, 4]], 12)
    text = [1, 4, *added]
    for i in range(4, len(text)):
        scores = net.forward(data=[text[i - 4 : i]])["scores"]
        assert text[i] == scores[0, 3].argmax()


def test_nets_that_are_no_windows():
    with pytest.raises(Error, match=r'"transformer" remembers .* use `Decoder\(net\)`'):
        generate.Window(transformer(1, 9), scores="scores")
    fields = f"inner_product_param {{ num_output: {WORDS} }}"
    net = make_net(EMBED + layer("InnerProduct", fields, "e", "scores"), {"data": (2, 6)})
    with pytest.raises(Error, match="what follows each of .*, which are 2x6; they are 2x5"):
        generate.Window(net)


def test_nothing_to_add():
    net = language_model()
    assert generate.greedy(net, [[1], [2, 3]], 0) == [[], []]
    assert generate.beam_search(net, [1], 0) == [([], 0.0)]


def test_context():
    """A further input that stays the same: here an encoder's state, the same at every step."""
    fields = "recurrent_param { num_output: 6 expose_hidden: true }"
    text = EMBED + layer("GRU", fields, "e cont s h0", "g h1", "g") + scores("g")
    inputs = {"data": (1, 2), "cont": (1, 2), "s": (2, 3), "h0": (1, 2, 6)}
    net = make_net(text, inputs, phase="TEST")
    fill_params(net)
    with pytest.raises(Error, match='input "s" .* has no value; give it in `context`'):
        generate.greedy(net, [[1]], 3)
    rows, steps = normal(2, 3), {}
    for way in (1, -1):
        decoder = generate.Decoder(net, context={"s": rows[::way]})
        steps[way] = np.array([decoder.step([1, 1]) for _ in range(3)])
    assert (np.abs(steps[1][:, 0] - steps[1][:, 1]) > 1e-3).any(axis=1).all()
    np.testing.assert_array_equal(steps[1][:, ::-1], steps[-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: generate.greedy(net, [[]], 3), "the prompt is empty"),
        (lambda net: generate.beam_search(net, [], 3), "the prompt is empty"),
        (lambda net: generate.greedy(net, [[1, 5]], 3), "token 5 .* vocabulary of 5, 0 to 4"),
        (lambda net: generate.beam_search(net, [-1], 3), "token -1 of the prompt is not"),
        (lambda net: generate.greedy(net, [[1]] * 4, 3), "has 3 sequences, got 4 prompts"),
        (lambda net: generate.greedy(net, [], 3), "got 0 prompts"),
        (lambda net: generate.greedy(net, [[1]], -1), "must not be negative, got -1"),
        (lambda net: generate.sample(net, [[1]], 3, temperature=-1), "temperature must be 0 or"),
        (lambda net: generate.sample(net, [[1]], 3, top_k=-1), "top_k must be 0 or more"),
        (lambda net: generate.sample(net, [[1]], 3, top_p=0), "top_p must be above 0"),
        (lambda net: generate.beam_search(net, [1], 3, beams=4), "beams must be 1 to 3"),
        (lambda net: generate.Decoder(net, tokens="words"), 'no input "words"; it has data, cont'),
        (lambda net: generate.Decoder(net, scores="y"), 'no output "y"'),
        (lambda net: generate.Decoder(net, context={"z": 1}), 'no input "z"'),
    ],
)
def test_refuses(call, message):
    with pytest.raises(Error, match=message):
        call(language_model())


def test_refuses_nets_that_cannot_generate():
    with pytest.raises(Error, match="remembers nothing .* expose_hidden: true"):
        generate.greedy(language_model(exposed=False), [[1]], 3)
    with pytest.raises(Error, match="one step of each sequence: .* are 2x3, .* 1x3x6"):
        generate.greedy(language_model(steps=2), [[1]], 3)
    net = language_model()
    net.params["scores"][0].data[...] = np.nan
    with pytest.raises(Error, match='"scores" of net .* is not finite'):
        generate.greedy(net, [[1]], 3)
