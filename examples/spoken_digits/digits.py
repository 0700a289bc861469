"""Spoken digits: a TDNN on MFCC and a CNN on log-mel spectrograms, tested on voices never heard.

python examples/spoken_digits/digits.py [--iterations N] [--recordings N]
"""

import argparse
import time

import numpy as np
from features import BANDS, CEPSTRA, FRAMES, centred, log_mel, mfcc
from pictures import draw_confusion, draw_spectrograms
from speech import ACCENTS, RATE, Speech

import pydl
from pydl.zoo import Builder

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BATCH = 64
NOISE = (40, 20, 10, 5, 0, -5)  # tested: signal to noise in dB


class Recordings:
    """Recordings without end, of one second each: a digit in a voice at any accent, speed, pitch
    and place, of amplitude 1 where it is loudest."""

    def __init__(self, speech, variants, seed):
        self.speech, self.variants = speech, variants
        self.random = np.random.default_rng(seed)

    def take(self, count):
        """Recordings (count, RATE) and digits (count,)."""
        digits = self.random.integers(0, len(WORDS), count)
        return np.stack([self.recording(WORDS[digit]) for digit in digits]), digits

    def recording(self, word):
        random = self.random
        voice = f"{random.choice(ACCENTS)}+{random.choice(self.variants)}"
        said = self.speech.say(
            word, voice, random.integers(120, 240), *random.integers(20, 80, size=2)
        )
        heard = np.flatnonzero(np.abs(said) > 0.006)
        said = said[heard[0] : heard[-1] + 1][:RATE] / np.abs(said).max()
        recording = np.zeros(RATE)
        start = random.integers(0, RATE - len(said) + 1)
        recording[start : start + len(said)] = said
        return recording


def noisy(recordings, decibels, random):
    """With white noise: `decibels` (N,) is how much stronger the voice is on average."""
    strength = np.sqrt(np.mean(recordings**2, axis=1)) * 10 ** (-np.asarray(decibels) / 20)
    return recordings + strength[:, None] * random.normal(size=recordings.shape)


def spectrograms(recordings):
    """(N, BANDS, FRAMES)."""
    return centred(np.stack([log_mel(recording) for recording in recordings]))


def tdnn(train):
    """Convolutions over time alone, each seeing farther (Waibel et al. 1989, Peddinti et al. 2015):
    5, 9, 15 and 15 frames."""
    net = Builder("TDNN", batch=BATCH, classes=len(WORDS), train=train)
    blob = net.input("data", BATCH, CEPSTRA, FRAMES)
    for i, (kernel, dilation) in enumerate([(5, 1), (3, 2), (3, 3), (1, 1)], 1):
        blob = convolution(net, i, blob, 64, kernel, dilation=dilation)
    return classifier(net, net.pool("mean", blob, "AVE"))


def cnn(train):
    """Convolutions over time and bands, as over a picture; the mean is over time alone."""
    net = Builder("CNN", batch=BATCH, classes=len(WORDS), train=train)
    blob = net.input("data", BATCH, 1, BANDS, FRAMES)
    for i, filters in enumerate((16, 32, 64), 1):
        blob = convolution(net, i, blob, filters, 3, pad=1)
        if i < 3:
            blob = net.pool(f"pool{i}", blob, "MAX", 2, 2)
    return classifier(net, net.pool("mean", blob, "AVE", (1, -(-FRAMES // 4))))


def convolution(net, i, bottom, filters, kernel, **sizes):
    blob = net.conv(f"conv{i}", bottom, filters, kernel, bias=None, **sizes)
    blob = net.bn(blob, f"conv{i}/bn", f"conv{i}/scale", average=0.95)
    return net.relu(f"relu{i}", blob)


def classifier(net, features):
    net.classifier(net.fc("score", net.dropout("dropout", features, 0.2), net.classes))
    return net.message()


NETS = {"TDNN": (tdnn, mfcc), "CNN": (cnn, lambda pictures: pictures[:, None])}


def train(name, pictures, digits, iterations):
    """Leaves <name>.prototxt and <name>.caffemodel, in small letters; returns the deployed net."""
    net, view = NETS[name]
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net(train=True),
            type="Adam",
            base_lr=0.003,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    batches = pydl.data.batches({"data": view(pictures), "label": digits}, BATCH, seed=1)
    start = time.process_time()
    for i in range(1, iterations + 1):
        loss = solver.step(**next(batches))
        if i % 200 == 0 or i == iterations:
            print(f"{name} {i}: loss {loss:.3f}, {time.process_time() - start:.0f} s", flush=True)
    file = name.lower()
    solver.net.save(f"{file}.caffemodel")
    with open(f"{file}.prototxt", "w") as text:
        text.write(pydl.prototxt.dumps(net(train=False)))
    return pydl.Net(f"{file}.prototxt", f"{file}.caffemodel", keep="outputs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--recordings", type=int, default=6000, help="to train on; a quarter tests")
    args = parser.parse_args()

    speech, random = Speech(), np.random.default_rng(1)
    variants = random.permutation(speech.variants)
    heard, unheard = variants[len(variants) // 4 :], variants[: len(variants) // 4]
    recordings, digits = Recordings(speech, heard, seed=1).take(args.recordings)
    pictures = spectrograms(noisy(recordings, random.uniform(0, 40, len(digits)), random))
    print(f"{len(digits)} recordings of {len(heard)} voices to train on", flush=True)
    nets = {name: train(name, pictures, digits, args.iterations) for name in NETS}

    recordings, digits = Recordings(speech, unheard, seed=2).take(args.recordings // 4)
    print(f"accuracy on {len(digits)} recordings of {len(unheard)} voices never heard:")
    guesses = {}
    for decibels in NOISE:
        tested = spectrograms(noisy(recordings, np.full(len(digits), float(decibels)), random))
        for name, (_, view) in NETS.items():
            found = nets[name].predict(view(tested), batch_size=BATCH).argmax(axis=1)
            guesses[name, decibels] = found
        rates = ", ".join(f"{name} {np.mean(guesses[name, decibels] == digits):.1%}"
                          for name in NETS)  # fmt: skip
        print(f"{decibels} dB: {rates}")
    quiet = noisy(recordings, np.full(len(digits), 40.0), random)
    draw_spectrograms("spectrograms.png", WORDS, quiet, digits, log_mel)
    found = {name: guesses[name, 0] for name in NETS}
    draw_confusion("confusion.png", WORDS, digits, found)
    print("spectrograms.png: one recording of each digit\n"
          "confusion.png: what is taken for what at 0 dB")  # fmt: skip


if __name__ == "__main__":
    main()
