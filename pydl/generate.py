"""Sequences from nets that read a token and give the scores of the next one.

A net here reads one step at a time: a token of each sequence goes in, scores over the vocabulary
come out, and what it has to remember goes out by tops and comes back in by bottoms. Recurrent
layers do that with ``expose_hidden``, attention with ``expose_cache``; both are found by
themselves, as are the inputs that say where a sequence goes on and what place a step has:

>>> import pydl
>>> net = pydl.Net(pydl.prototxt.parse('''
...     layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
...     layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 1 dim: 4 } } }
...     layer { name: "h0" type: "Input" top: "h0" input_param { shape { dim: 1 dim: 4 dim: 8 } } }
...     layer { name: "embed" type: "Embed" bottom: "data" top: "embed"
...             embed_param { input_dim: 20 num_output: 6
...                           weight_filler { type: "gaussian" } } }
...     layer { name: "gru" type: "GRU" bottom: "embed" bottom: "cont" bottom: "h0"
...             top: "gru" top: "h1" recurrent_param { num_output: 8 expose_hidden: true } }
...     layer { name: "scores" type: "InnerProduct" bottom: "gru" top: "scores"
...             inner_product_param { num_output: 20 axis: 2
...                                   weight_filler { type: "xavier" } } }
... '''), phase="TEST")
>>> texts = sample(net, [[12, 5, 7], [3]], 100, temperature=0.8, seed=1)
>>> [len(text) for text in texts]
[100, 100]

A Transformer's caches have room for the longest sequence. Its weights are those of a net that was
trained on whole sequences, which has no caches:

>>> from pydl.zoo.builder import Builder
>>> def transformer(sequences, steps, room=0):
...     net = Builder("texts", batch=sequences, classes=20)
...     x = net.input("data", sequences, steps)
...     embed = {"input_dim": 20, "num_output": 8, "weight_filler": {"type": "gaussian"}}
...     x = net.layer("Embed", "embed", x, embed_param=embed)
...     for block in ("a", "b"):
...         x = net.transformer_encoder(block, x, 8, 2, causal=True, cache=room, rotary_base=1e4)
...     net.fc("scores", x, 20, axis=2)
...     return pydl.Net(net.message(), phase="TEST")
>>> trained, net = transformer(16, 30), transformer(4, 1, room=30)
>>> for name, blobs in trained.params.items():
...     for ours, theirs in zip(net.params[name], blobs, strict=True):
...         ours.data[...] = theirs.data
>>> best, score = beam_search(net, [12, 5, 7], 27, stop=0)[0]
>>> len(best) <= 27 and score < 0
True

A causal net that reads whole texts generates as well, if more slowly: see `Window`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pydl.errors import Error
from pydl.net import Net


@dataclass(frozen=True)
class State:
    """What a net remembers: the input it comes in by, the output it goes out by, and the axis of
    that blob along which its sequences are."""

    bottom: str
    top: str
    axis: int


class Decoder:
    """A net and what it remembers of the sequences so far.

    Args:
        net: as this module describes; its number of sequences is that of its token input.
        tokens: the input with a token of each sequence; the first of the net if None.
        scores: the output with a score for each token of the vocabulary, or a Softmax of them; the
            only output that is no state if None.
        context: values of further inputs, which stay the same: an encoder's outputs, a mask.

    Raises:
        Error: names that the net does not have, a net that remembers nothing or not all, or that
            reads more than one step, inputs without a value.
    """

    def __init__(
        self,
        net: Net,
        *,
        tokens: str | None = None,
        scores: str | None = None,
        context: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.net, self._context = net, dict(context or {})
        self._layers = net._core.spec["layers"]
        self.states = [state for layer in self._layers for state in _states_of(layer)]
        self._check_states()
        for layer in self._layers:
            self._check_remembers(layer)
        self._tokens = _named("input", tokens, net.inputs) or net.inputs[0]
        self._scores = _named("output", scores, net.outputs) or self._find_scores()
        self._marks = {layer["bottom"][1] for layer in self._layers if _exposes_hidden(layer)}
        self._places = {name for layer in self._layers for name in _places_of(layer)}
        self.batch = self._count_sequences()
        self._check_inputs()
        self.most = self._find_most()
        self._probabilities = self._is_softmax()
        self.reset()

    def reset(self) -> None:
        """Forgets the sequences so far."""
        shapes = {state: self.net.blobs[state.bottom].shape for state in self.states}
        self._values = {state: np.zeros(shape, np.float32) for state, shape in shapes.items()}
        self.length = 0

    def select(self, sequences: np.ndarray) -> None:
        """Makes sequence i what ``sequences[i]`` was."""
        for state, value in self._values.items():
            self._values[state] = np.take(value, sequences, axis=state.axis)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """The logarithms of the probabilities (sequences, vocabulary) of what follows `tokens`
        (sequences), each the next of its sequence.

        Raises:
            Error: more steps than the net has room for, a token that it does not know.
        """
        if self.most and self.length >= self.most:
            raise Error(f'net "{self.net.name}" has room for {self.most} tokens, not for more')
        shape = self.net.blobs[self._tokens].shape
        inputs = {self._tokens: np.asarray(tokens, np.float32).reshape(shape)}
        inputs |= {name: np.full(self.net.blobs[name].shape, self.length) for name in self._places}
        inputs |= {name: np.ones(self.net.blobs[name].shape) for name in self._marks}
        inputs |= {state.bottom: value for state, value in self._values.items()}
        out = self.net.forward(**(inputs if self.length else inputs | self._context))
        self._values = {state: out[state.top] for state in self.states}
        self.length += 1
        return self._log_probabilities(out[self._scores].reshape(self.batch, -1))

    @property
    def vocabulary(self) -> int:
        """How many tokens the net knows."""
        for layer in self._layers:
            if layer["type"] == "Embed" and self._tokens in layer["bottom"]:
                return layer["params"]["embed_param"]["input_dim"]
        return int(np.prod(self.net.blobs[self._scores].shape)) // self.batch

    def _log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        if not np.isfinite(scores).all():
            raise Error(f'"{self._scores}" of net "{self.net.name}" is not finite')
        scores = scores.astype(np.float64)
        if self._probabilities:
            return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def _find_scores(self) -> str:
        left = [name for name in self.net.outputs if name not in {s.top for s in self.states}]
        if len(left) != 1:
            raise Error(
                f'net "{self.net.name}" has {len(left)} outputs besides its states'
                f"{': ' + ', '.join(left) if left else ''}; say which are the `scores`"
            )
        return left[0]

    def _find_most(self) -> int:
        """The most steps that caches and learned positions have room for; 0 for no limit."""
        room = [
            _params(layer, name).get("max_length", 0)
            for layer in self._layers
            for name in ("positional_embedding_param", "rotary_embedding_param")
            if _places_of(layer)
        ]
        room += [self.net.blobs[s.bottom].shape[1] for s in self.states if s.axis == 0]
        return min((r for r in room if r), default=0)

    def _is_softmax(self) -> bool:
        writers = [layer for layer in self._layers if self._scores in layer.get("top", [])]
        return writers[-1]["type"] == "Softmax"

    def _count_sequences(self) -> int:
        return int(np.prod(self.net.blobs[self._tokens].shape))

    def _check_states(self) -> None:
        if not self.states:
            raise Error(
                f'net "{self.net.name}" remembers nothing from one call to the next: recurrent '
                "layers need expose_hidden: true, MultiHeadAttention expose_cache: true; a net "
                "that reads all tokens of a text at once generates as `Window(net)`"
            )

    def _check_remembers(self, layer: Mapping) -> None:
        """That a layer that reads one step knows what was before, or at which place it is."""
        need = _needs(layer)
        if need and self.net.blobs[layer["bottom"][0]].shape[need.axis] == 1:
            raise Error(
                f'layer "{layer["name"]}" ({layer["type"]}) of net "{self.net.name}" takes each '
                f"step for the first of its sequence: it needs {need.what}"
            )

    def _check_inputs(self) -> None:
        net = self.net
        given = {self._tokens, *self._places, *self._marks, *(s.bottom for s in self.states)}
        for name in self._context:
            _named("input", name, net.inputs)
        for name in net.inputs:
            if name not in given and name not in self._context:
                raise Error(
                    f'input "{name}" of net "{net.name}" has no value; give it in `context`'
                )
        for state in self.states:
            shape = net.blobs[state.bottom].shape
            if shape[state.axis] != self.batch:
                raise Error(
                    f'net "{net.name}" must read one step of each sequence: its tokens '
                    f'"{self._tokens}" are {_text(net.blobs[self._tokens].shape)}, its state '
                    f'"{state.bottom}" {_text(shape)}'
                )


class Window(Decoder):
    """A causal net that remembers nothing: it reads all tokens (sequences, T) of the texts so far
    at each step, and the last T of longer ones; its scores are (sequences, T, vocabulary).

    Arguments and errors are those of `Decoder`.

    >>> texts = sample(Window(net), [[12, 5, 7]], 1000, temperature=0.8)      # doctest: +SKIP
    """

    def reset(self) -> None:
        self._read = np.zeros((self.batch, 0), np.float32)
        self.length = 0

    def select(self, sequences: np.ndarray) -> None:
        self._read = self._read[sequences]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        shape = self.net.blobs[self._tokens].shape
        column = np.asarray(tokens, np.float32).reshape(self.batch, 1)
        self._read = np.hstack([self._read, column])[:, -shape[1] :]
        inputs = np.zeros(shape, np.float32)  # what stands behind the last token does not matter
        last = self._read.shape[1] - 1
        inputs[:, : last + 1] = self._read
        out = self.net.forward(**{self._tokens: inputs}, **self._context)
        self.length += 1
        return self._log_probabilities(out[self._scores][:, last])

    @property
    def vocabulary(self) -> int:
        return self.net.blobs[self._scores].shape[2]

    def _count_sequences(self) -> int:
        read, said = (self.net.blobs[name].shape for name in (self._tokens, self._scores))
        if len(said) != 3 or tuple(read) != tuple(said[:2]):
            raise Error(
                f'"{self._scores}" of net "{self.net.name}" must be scores of what follows each of '
                f'its tokens "{self._tokens}" (sequences, steps), which are {_text(read)}; '
                f"they are {_text(said)}"
            )
        return read[0]

    def _find_most(self) -> int:
        return 0

    def _check_states(self) -> None:
        if self.states:
            raise Error(f'net "{self.net.name}" remembers what it read: use `Decoder(net)`')


def greedy(
    net: Net | Decoder, prompts: Sequence[Sequence[int]], length: int, *, stop: int | None = None
) -> list[list[int]]:
    """The most probable token at each step: `sample` with temperature 0."""
    return sample(net, prompts, length, temperature=0, stop=stop)


def sample(
    net: Net | Decoder,
    prompts: Sequence[Sequence[int]],
    length: int,
    *,
    temperature: float = 1,
    top_k: int = 0,
    top_p: float = 1,
    stop: int | None = None,
    seed: int | None = None,
) -> list[list[int]]:
    """Goes on with prompts by drawing one token after the other.

    Args:
        net: a net as this module describes, or a `Decoder` of one.
        prompts: the tokens that each sequence begins with, at most as many sequences as the net
            has; they need not be equally long.
        length: the most tokens to add.
        temperature: below 1 the probable becomes more probable; 0 takes the most probable.
        top_k: draw from so many of the most probable tokens; 0 for all.
        top_p: draw from the fewest tokens that together have this probability (Holtzman et al.
            2020, arXiv:1904.09751).
        stop: the token that ends a sequence.
        seed: of the draws; another one at each call if None.

    Returns:
        What was added to each prompt, without `stop`.

    Raises:
        Error: an empty prompt, a token that is not in the vocabulary, more tokens than the net has
            room for, a setting out of its range.
    """
    decoder = _decoder(net)
    prompts = [_checked(decoder, prompt, length) for prompt in prompts]
    if not 1 <= len(prompts) <= decoder.batch:
        raise Error(f"the net has {decoder.batch} sequences, got {len(prompts)} prompts")
    draw = _Draw(temperature, top_k, top_p, np.random.default_rng(seed))
    added: list[list[int]] = [[] for _ in prompts]
    running = [length > 0] * len(prompts)
    decoder.reset()
    tokens = np.zeros(decoder.batch, np.int64)
    while any(running):
        at = decoder.length
        for i, prompt in enumerate(prompts):
            if at < len(prompt):
                tokens[i] = prompt[at]
        log_probabilities = decoder.step(tokens)
        for i, prompt in enumerate(prompts):
            if not running[i] or at + 1 < len(prompt):
                continue
            tokens[i] = draw(log_probabilities[i])
            if tokens[i] == stop:
                running[i] = False
                continue
            added[i].append(int(tokens[i]))
            running[i] = len(added[i]) < length
    return added


def beam_search(
    net: Net | Decoder,
    prompt: Sequence[int],
    length: int,
    *,
    beams: int | None = None,
    length_penalty: float = 0,
    stop: int | None = None,
) -> list[tuple[list[int], float]]:
    """The most probable ways to go on with a prompt, as far as `beams` of them are followed.

    Args:
        net: a net as this module describes, or a `Decoder` of one.
        prompt: the tokens to begin with.
        length: the most tokens to add.
        beams: how many sequences are followed, at most as many as the net has; all if None.
        length_penalty: alpha of Wu et al. 2016 (arXiv:1609.08144): the logarithm of a probability
            is divided by ((5 + tokens) / 6) ** alpha, so that long sequences count more; 0 for
            the logarithm itself.
        stop: the token that ends a sequence. It counts in a score.

    Returns:
        (tokens added, without `stop`; score), the best first, at most `beams` of them.

    Raises:
        Error: as `sample`.
    """
    decoder = _decoder(net)
    prompt = _checked(decoder, prompt, length)
    beams = decoder.batch if beams is None else beams
    if not 1 <= beams <= decoder.batch:
        raise Error(f"beams must be 1 to {decoder.batch}, the sequences of the net; got {beams}")
    if length == 0:
        return [([], 0.0)]
    decoder.reset()
    for token in prompt:
        log_probabilities = decoder.step(np.full(decoder.batch, token))
    search = _Beams(beams, length, length_penalty, stop)
    while True:
        parents, tokens = search.extend(log_probabilities[: len(search.alive)])
        if search.done:
            return search.best()
        rest = decoder.batch - len(parents)  # sequences that nobody follows
        decoder.select(np.concatenate([parents, np.zeros(rest, np.int64)]))
        log_probabilities = decoder.step(np.concatenate([tokens, np.zeros(rest, np.int64)]))


class _Beams:
    """The sequences that a search follows, and those that have ended."""

    def __init__(self, beams: int, length: int, penalty: float, stop: int | None) -> None:
        self._beams, self._length, self._penalty, self._stop = beams, length, penalty, stop
        self.alive: list[list[int]] = [[]]
        self._sums = np.zeros(1)
        self._ended: list[tuple[list[int], float]] = []

    @property
    def done(self) -> bool:
        if not self.alive or len(self.alive[0]) >= self._length:
            return True
        if len(self._ended) < self._beams:
            return False
        # The most that a sequence can still reach: no further loss, and the better length for it.
        lengths = (len(self.alive[0]) + 1, self._length)
        hope = max(self._score(self._sums.max(), tokens) for tokens in lengths)
        return sorted(score for _, score in self._ended)[-self._beams] >= hope

    def extend(self, log_probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From those of each sequence's next token: what sequence each new one goes on from, and
        with what token."""
        totals = self._sums[:, None] + log_probabilities
        vocabulary = totals.shape[1]
        # Of each sequence at most one way is its end: twice as many ways leave enough others.
        order = np.argsort(-totals, axis=None, kind="stable")[: 2 * self._beams]
        parents, tokens, sums, alive = [], [], [], []
        for rank, at in enumerate(order):
            parent, token = divmod(int(at), vocabulary)
            total, text = totals.flat[at], self.alive[parent]
            if token == self._stop:
                if rank < self._beams:
                    self._ended.append((text, self._score(total, len(text) + 1)))
            elif len(alive) < self._beams:
                parents.append(parent), tokens.append(token), sums.append(total)
                alive.append([*text, token])
        self.alive, self._sums = alive, np.array(sums)
        return np.array(parents, np.int64), np.array(tokens, np.int64)

    def best(self) -> list[tuple[list[int], float]]:
        found = list(self._ended)
        if not self.alive or len(self.alive[0]) >= self._length:
            found += [(text, self._score(total, len(text)))
                      for text, total in zip(self.alive, self._sums, strict=True)]  # fmt: skip
        return sorted(found, key=lambda item: -item[1])[: self._beams]

    def _score(self, total: float, tokens: int) -> float:
        return float(total) / ((5 + tokens) / 6) ** self._penalty


class _Draw:
    """Picks a token by the logarithms of the probabilities."""

    def __init__(
        self, temperature: float, top_k: int, top_p: float, random: np.random.Generator
    ) -> None:
        if not 0 <= temperature < np.inf:
            raise Error(f"temperature must be 0 or more, got {temperature}")
        if top_k < 0:
            raise Error(f"top_k must be 0 or more, got {top_k}")
        if not 0 < top_p <= 1:
            raise Error(f"top_p must be above 0 and at most 1, got {top_p}")
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._random = random

    def __call__(self, log_probabilities: np.ndarray) -> int:
        if self._temperature == 0:
            return int(log_probabilities.argmax())
        order = np.argsort(-log_probabilities, kind="stable")
        if self._top_k:
            order = order[: self._top_k]
        logits = log_probabilities[order] / self._temperature
        p = np.exp(logits - logits[0])
        p /= p.sum()
        # Until the sum reaches top_p; the most probable one always.
        kept = 1 + np.searchsorted(np.cumsum(p)[:-1], self._top_p) if self._top_p < 1 else len(p)
        return int(self._random.choice(order[:kept], p=p[:kept] / p[:kept].sum()))


def _decoder(net: Net | Decoder) -> Decoder:
    return net if isinstance(net, Decoder) else Decoder(net)


def _checked(decoder: Decoder, prompt: Sequence[int], length: int) -> list[int]:
    if length < 0:
        raise Error(f"length, the most tokens to add, must not be negative, got {length}")
    tokens = [int(token) for token in prompt]
    if not tokens:
        raise Error("the prompt is empty: give at least the token that texts begin with")
    known = decoder.vocabulary
    for token in tokens:
        if not 0 <= token < known:
            raise Error(
                f"token {token} of the prompt is not in the vocabulary of {known}, 0 to {known - 1}"
            )
    # The last token added is not read.
    needed = len(tokens) + length - 1
    if decoder.most and needed > decoder.most:
        raise Error(
            f"a prompt of {len(tokens)} tokens and {length} more are {needed} to read, but the "
            f"net has room for {decoder.most}"
        )
    return tokens


def _states_of(layer: Mapping) -> list[State]:
    bottoms, tops = layer.get("bottom", []), layer.get("top", [])
    if _exposes_hidden(layer):  # (1, sequences, H)
        states = zip(bottoms[1 - len(tops) :], tops[1:], strict=True)
        return [State(bottom, top, 1) for bottom, top in states]
    if _exposes_cache(layer):  # (sequences, L, 2 C)
        return [State(bottoms[1], tops[1], 0)]
    return []


def _places_of(layer: Mapping) -> list[str]:
    """The bottoms that are the number of steps so far."""
    if _exposes_cache(layer):
        return layer["bottom"][2:3]
    return layer["bottom"][1:2] if layer["type"] in _KNOW_PLACES else []


@dataclass(frozen=True)
class _Need:
    """What a layer misses that reads sequences in parts, whose steps are along `axis`."""

    what: str
    axis: int


def _needs(layer: Mapping) -> _Need | None:
    kind, bottoms = layer["type"], layer.get("bottom", [])
    if kind in _RECURRENT and not _exposes_hidden(layer):
        return _Need("expose_hidden: true", 0)
    if kind in _KNOW_PLACES and len(bottoms) == 1:
        return _Need("a second bottom, the place of the step", 1)
    of_itself = len(bottoms) <= 2 or bottoms[0] == bottoms[1]
    if kind == "MultiHeadAttention" and of_itself and not _exposes_cache(layer):
        return _Need("expose_cache: true", 1)
    return None


_KNOW_PLACES = ("PositionalEmbedding", "RotaryEmbedding")
_RECURRENT = ("RNN", "LSTM", "GRU")


def _exposes_hidden(layer: Mapping) -> bool:
    return bool(_params(layer, "recurrent_param").get("expose_hidden"))


def _exposes_cache(layer: Mapping) -> bool:
    return bool(_params(layer, "multi_head_attention_param").get("expose_cache"))


def _params(layer: Mapping, name: str) -> Mapping:
    return layer.get("params", {}).get(name, {})


def _named(what: str, name: str | None, known: Sequence[str]) -> str | None:
    if name is not None and name not in known:
        raise Error(f'the net has no {what} "{name}"; it has {", ".join(known) or "none"}')
    return name


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
