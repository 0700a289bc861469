"""Generation by Transformers with caches: the same as reading each whole prefix without one."""

import doctest

import numpy as np
import pytest
from net_text import fill_params, normal

import pydl
from pydl import Error, generate
from pydl.zoo.builder import Builder

WORDS, CHANNELS, ROOM = 7, 12, 11
POSITIONS = ["LEARNED", "SINUSOIDAL", "rotary"]


def transformer(positions, batch, steps, room=0, memory=False):
    """Two blocks over WORDS tokens: whole sequences without `room`, else parts of them."""
    net = Builder("lm", batch=batch, classes=WORDS)
    x = net.input("data", batch, steps)
    places = [net.input("first", 1)] if room else []
    x = net.layer("Embed", "e", x, embed_param={"input_dim": WORDS, "num_output": CHANNELS})
    options = {"cache": room, "norm_first": True, "dropout": 0.2}
    if positions == "rotary":
        options["rotary_base"] = 100
    else:
        param = {"type": positions, "max_length": ROOM}
        x = net.layer("PositionalEmbedding", "p", [x, *places], positional_embedding_param=param)
    if memory:
        memory, mask = net.input("memory", batch, 5, CHANNELS), net.input("lengths", batch)
    for name in "ab":
        if memory:
            x = net.transformer_decoder(
                name, x, memory, CHANNELS, 3, memory_mask=mask, **options
            )  # fmt: skip
        else:
            x = net.transformer_encoder(name, x, CHANNELS, 3, causal=True, **options)
    net.fc("scores", x, WORDS, axis=2)
    net = pydl.Net(net.message(), phase="TEST")
    fill_params(net)
    return net


def log_probabilities(positions, tokens, **context):
    """(len(tokens), WORDS): of what follows each of them, all read at once without a cache."""
    net = transformer(positions, 1, len(tokens), memory=bool(context))
    y = net.forward(data=np.reshape(tokens, (1, -1)), **context)["scores"][0].astype(np.float64)
    y -= y.max(axis=1, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=1, keepdims=True))


def total(positions, prompt, added):
    rows = log_probabilities(positions, [*prompt, *added][:-1])[len(prompt) - 1 :]
    return sum(row[token] for row, token in zip(rows, added, strict=True))


@pytest.mark.parametrize("positions", POSITIONS)
def test_steps_are_those_of_the_whole_sequence(positions):
    texts = np.random.default_rng(3).integers(0, WORDS, (3, ROOM))
    decoder = generate.Decoder(transformer(positions, 3, 1, room=ROOM))
    assert decoder.vocabulary == WORDS
    for _ in range(2):
        found = np.array([decoder.step(tokens) for tokens in texts.T])
        for i, text in enumerate(texts):
            want = log_probabilities(positions, text)
            np.testing.assert_allclose(found[:, i], want, rtol=1e-4, atol=1e-4)
        decoder.reset()


@pytest.mark.parametrize("positions", POSITIONS)
def test_greedy(positions):
    """Of prompts of different lengths, and fewer than the net has sequences."""
    prompts = [[1, 4, 2, 6], [3], [5, 0]]
    found = generate.greedy(transformer(positions, 4, 1, room=ROOM), prompts, 6)
    for prompt, added in zip(prompts, found, strict=True):
        assert len(added) == 6
        for i, token in enumerate(added):
            assert token == log_probabilities(positions, [*prompt, *added[:i]])[-1].argmax()


@pytest.mark.parametrize("positions", POSITIONS)
def test_beams_take_their_caches_along(positions):
    """A score is that of its tokens read at once: each beam went on from the right cache."""
    prompt, length, beams = [2, 5], 6, 5
    net = transformer(positions, beams, 1, room=ROOM)
    found = generate.beam_search(net, prompt, length)
    assert len({tuple(tokens) for tokens, _ in found}) == beams
    for tokens, score in found:
        assert len(tokens) == length
        assert score == pytest.approx(total(positions, prompt, tokens), rel=1e-4)
    (greedy,) = generate.greedy(net, [prompt], length)
    assert found[0][1] >= total(positions, prompt, greedy) - 1e-4


def test_samples_of_a_transformer():
    net = transformer("rotary", 3, 1, room=ROOM)
    draws = [generate.sample(net, [[1], [2, 3]], 9, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    cold = generate.sample(net, [[1], [2, 3]], 9, temperature=1e-3, seed=1)
    assert cold == generate.greedy(net, [[1], [2, 3]], 9)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_decoder_sees_its_memory(positions):
    memory, lengths = normal(2, 5, CHANNELS), np.array([5, 3])
    net = transformer(positions, 2, 1, room=ROOM, memory=True)
    decoder = generate.Decoder(net, context={"memory": memory, "lengths": lengths})
    texts = np.random.default_rng(3).integers(0, WORDS, (2, 8))
    found = np.array([decoder.step(tokens) for tokens in texts.T])
    for i, text in enumerate(texts):
        want = log_probabilities(
            positions, text, memory=memory[i : i + 1], lengths=lengths[i : i + 1]
        )
        np.testing.assert_allclose(found[:, i], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
def test_room(positions):
    net = transformer(positions, 2, 1, room=ROOM)
    assert len(generate.greedy(net, [[1] * ROOM], 1)[0]) == 1
    with pytest.raises(Error, match="prompt of 5 tokens and 8 more are 12 .* has room for 11"):
        generate.greedy(net, [[1] * 5], 8)
    decoder = generate.Decoder(net)
    for _ in range(ROOM):
        decoder.step([1, 2])
    with pytest.raises(Error, match="has room for 11 tokens, not for more"):
        decoder.step([1, 2])


def without_a_place(net):
    x = net.layer("Embed", "e", "data", embed_param={"input_dim": WORDS, "num_output": CHANNELS})
    x = net.layer("RotaryEmbedding", "p", x)
    return net.transformer_encoder("a", x, CHANNELS, 3, cache=ROOM)


def without_a_cache(net):
    x = net.layer("Embed", "e", "data", embed_param={"input_dim": WORDS, "num_output": CHANNELS})
    x = net.transformer_encoder("a", x, CHANNELS, 3, cache=ROOM)
    return net.transformer_encoder("b", x, CHANNELS, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_a_place, r'layer "p" \(RotaryEmbedding\) .* needs a second bottom, the place'),
        (without_a_cache, r'layer "b/self_attn" .* for the first .* needs expose_cache: true'),
    ],
)
def test_a_net_that_forgets_in_part(make, message):
    net = Builder("lm", batch=2, classes=WORDS)
    net.input("data", 2, 1)
    net.fc("scores", make(net), WORDS, axis=2)
    with pytest.raises(Error, match=message):
        generate.Decoder(pydl.Net(net.message(), phase="TEST"))


def test_the_examples_in_the_docstring():
    found = doctest.testmod(generate)
    assert found.attempted > 5
    assert found.failed == 0
