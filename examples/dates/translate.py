"""Sequence to sequence with attention: reads two dates in one of twelve languages, character by
character, and says them as ISO 8601 has them (needs Babel; the picture needs matplotlib).

python examples/dates/translate.py [--iterations N]
"""

import argparse
from datetime import date

import numpy as np
from intervals import Texts, pairs, write
from nets import decoder_alone, encoder_alone, together
from pictures import draw

import pydl
from pydl import generate

BATCH, BEAMS, TESTS = 50, 5, 15
SHOWN = [
    write(date(1999, 2, 3), date(2000, 1, 7), "full", "en"),
    write(date(1943, 10, 29), date(2060, 5, 2), "full", "pt"),
]


def solver_of(texts, attention, iterations):
    return pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=together(texts, BATCH, attention),
            type="Adam",
            base_lr=0.005,
            momentum=0.9,
            lr_policy="cosine",
            max_iter=iterations,
            clip_gradients=1,
            random_seed=1,
        )
    )


def fill(net, inputs):
    for name in net.inputs:
        net.blobs[name].data[...] = inputs[name]


def learn(solver, texts, data):
    """Pauses a few times."""
    random = np.random.default_rng(1)
    for stage in np.arange(1, TESTS + 1) * solver.max_iter // TESTS:
        while solver.iter < stage:
            chosen = [data[i] for i in random.integers(len(data), size=BATCH)]
            fill(solver.net, texts.batch(chosen))
            solver.step()
        yield solver.iter


class Translator:
    """An encoder and a decoder with the weights of a net that learned, for BATCH texts."""

    def __init__(self, texts, attention, weights):
        self._texts = texts
        self._encoder = pydl.Net(encoder_alone(texts, BATCH, attention), weights)
        self._decoder = pydl.Net(decoder_alone(texts, BATCH, attention), weights)

    def greedy(self, written):
        """Says of each text one most probable character after the other."""
        prompts = [[self._texts.start]] * BATCH
        steps, stop = self._texts.steps, self._texts.stop
        found = generate.greedy(self._read(written), prompts, steps, stop=stop)
        return [self._texts.target.decode(tokens) for tokens in found]

    def beam_search(self, written):
        """The most probable readings of one text, and their probabilities."""
        found = generate.beam_search(
            self._read([written] * BATCH), [self._texts.start], self._texts.steps,
            beams=BEAMS, stop=self._texts.stop,
        )  # fmt: skip
        return [(self._texts.target.decode(tokens), np.exp(score)) for tokens, score in found]

    def _read(self, written):
        """The decoder, with what the encoder makes of the texts."""
        inputs = self._texts.read(written)
        fill(self._encoder, inputs)
        context = {"memory": self._encoder.forward()[self._encoder.outputs[-1]]}
        context |= {name: inputs[name] for name in self._decoder.inputs if name in inputs}
        return generate.Decoder(self._decoder, tokens="said", scores="scores", context=context)


def accuracy(translator, data):
    """The share of intervals that are right in every character."""
    right = []
    for i in range(0, len(data), BATCH):
        written, wanted = zip(*data[i : i + BATCH], strict=True)
        right += np.equal(translator.greedy(written), wanted).tolist()
    return np.mean(right)


def attention_of(net, texts, pair):
    """How much each character of what is said (rows) looks at each one of the text."""
    fill(net, texts.batch([pair] * BATCH))
    net.forward()
    return net.blobs["weights"].data[: len(pair[1]), 0, : len(pair[0])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=20000, help="to learn from (20000)")
    parser.add_argument("--held-out", type=int, default=1000, help="pairs to test with (1000)")
    args = parser.parse_args()
    data, test = pairs(args.pairs, seed=1), pairs(args.held_out, seed=2, held_out=True)
    texts = Texts(data + test + SHOWN)
    for written, wanted in test[:5]:
        print(f"{written} -> {wanted}")

    progress, maps = {}, []
    for name in ("attention", "no attention"):
        attention = name == "attention"
        solver, weights = solver_of(texts, attention, args.iterations), f"{name}.caffemodel"
        progress[name] = []
        for iteration in learn(solver, texts, data):
            solver.net.save(weights)
            translator = Translator(texts, attention, weights)
            progress[name].append((iteration, accuracy(translator, test)))
            print("{}, after {}: {:.1%} right".format(name, *progress[name][-1]), flush=True)
        if attention:
            maps = [attention_of(solver.test_twin(), texts, pair) for pair in SHOWN]
        for found, probability in translator.beam_search(SHOWN[0][0])[:3]:
            print(f"{SHOWN[0][0]} -> {found}, probability {probability:.5f}")
    draw("dates.png", progress, dict(zip(SHOWN, maps, strict=True)))
    print("dates.png: how many are right, and where the decoder looks")


if __name__ == "__main__":
    main()
