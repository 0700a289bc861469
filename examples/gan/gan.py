"""A GAN and a DCGAN make pictures of clothing; a trained classifier judges them (the picture needs
matplotlib).

python examples/gan/gan.py [--iterations N] [--passes N] [--pictures N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw_sheets
from score import Judge

import pydl
from pydl.gan import GanSolver

HERE = Path(__file__).parent
CLASSES = ["T-shirt", "trousers", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "boot"]  # fmt: skip


def moments(iterations):
    """When to look at the samples: 100, 300, 1000 ... up to the given number."""
    steps = [100, 300, 1000, 3000, 10000]
    return [step for step in steps if step < iterations] + [iterations]


def pixels(samples):
    """From -1 ... 1 to 0 ... 255."""
    return 127.5 * (samples + 1)


def play(name, iterations, judge, pictures):
    """Trains; the same 10 samples at each moment, and how they are judged: {moment: (samples,
    distance)}."""
    gan = GanSolver(HERE / f"{name}_solver.prototxt")
    seen = {}
    for moment in moments(iterations or gan.max_iter):
        gan.step(moment - gan.iter)
        made = pixels(gan.sample(pictures, seed=1))
        verdict = judge(made)
        seen[moment] = made[:10], verdict.distance
        print(f"{name}, {moment} iterations: {verdict}", flush=True)
    gan.generator.net.save(f"{name}_generator.caffemodel")
    shares = zip(CLASSES, verdict.shares, strict=True)
    listed = ", ".join(f"{kind} {100 * share:.0f}" for kind, share in shares)
    print(f"{name}, percent of each kind: {listed}", flush=True)
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, help="of both games (as their solvers: 2,000)")
    parser.add_argument("--passes", type=float, default=2, help="of the classifier's training (2)")
    parser.add_argument("--pictures", type=int, default=5000, help="that are judged (5,000)")
    args = parser.parse_args()
    x_train, _, x_test, y_test = pydl.data.load("fashion_mnist")
    judge = Judge(x_test[: 2 * args.pictures], args.passes)
    right = np.mean(judge.probabilities(x_test).argmax(axis=1) == y_test)
    print(f"the classifier: {100 * right:.1f}% of the test pictures")
    print(f"real pictures: {judge(x_train[: args.pictures])}", flush=True)
    seen = {name: play(name, args.iterations, judge, args.pictures) for name in ("gan", "dcgan")}
    draw_sheets("gan.png", {"GAN": seen["gan"], "DCGAN": seen["dcgan"]})
    print("gan.png: the same samples after so many iterations")


if __name__ == "__main__":
    main()
