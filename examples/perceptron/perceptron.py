"""Rosenblatt's perceptron learns AND, OR and to tell two digits apart, but not XOR; a net with one
hidden layer learns that too (the picture needs matplotlib).

python examples/perceptron/perceptron.py [--passes N] [--starts N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw

import pydl

HERE = Path(__file__).parent
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
LOGIC = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}
HIDDEN = (2, 3, 4, 8)
DIGITS = (3, 5)


def solver_of(net, **fields):
    return pydl.Solver(
        pydl.prototxt.new("SolverParameter", net_param=net, lr_policy="fixed", **fields)
    )


def learn(points, labels, most_passes):
    """Rosenblatt's rule, one example after the other, until a pass makes no mistake.

    Returns the trained net, which gives (N, 1) scores, and the number of mistakes in each pass.
    """
    net = pydl.prototxt.load_net(HERE / "perceptron.prototxt")
    net.layer[0].input_param.shape[0].dim[1] = points.shape[1]
    solver = solver_of(net, base_lr=1, random_seed=1)
    inputs, mistakes = solver.net.blobs, []
    while len(mistakes) < most_passes and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for point, label in zip(points, labels, strict=True):
            inputs["data"].data[...], inputs["target"].data[...] = point, 1 if label else -1
            mistakes[-1] += solver.step() > 0
    return solver.test_twin(), mistakes


def learn_xor(hidden, seed, iterations=1000):
    """So many hidden units, all four examples at a time. Returns the trained net and its loss."""
    net = pydl.prototxt.load_net(HERE / "xor.prototxt")
    net.layer[1].inner_product_param.num_output = hidden
    solver = solver_of(net, base_lr=0.2, momentum=0.9, random_seed=seed)
    inputs = solver.net.blobs
    inputs["data"].data[...] = CORNERS
    inputs["label"].data[...] = np.reshape(LOGIC["XOR"], (4, 1))
    loss = solver.step(iterations)
    return solver.test_twin(), loss


def right(net, points, labels):
    """The share of points on whose side of the boundary they belong."""
    return np.mean((net.predict(points, batch_size=len(points))[:, 0] > 0) == labels)


def two_digits():
    """Pixels (N, 784), 0 to 1, and labels, 1 for the first of the two digits; train, then test."""
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    for images, digits in ((x_train, y_train), (x_test, y_test)):
        ours = np.isin(digits, DIGITS)
        yield images[ours].reshape(-1, 784) / 255, digits[ours] == DIGITS[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=200, help="through the digits, at most")
    parser.add_argument("--starts", type=int, default=100, help="start values tried with XOR")
    args = parser.parse_args()

    logic = {}
    for name, labels in LOGIC.items():
        net, mistakes = logic[name] = learn(CORNERS, labels, most_passes=20)
        score = right(net, CORNERS, labels)
        print(f"perceptron, {name}: {score:.0%} right, mistakes of each pass: {mistakes}")

    runs = {}
    for hidden in HIDDEN:
        runs[hidden] = [learn_xor(hidden, seed) for seed in range(1, args.starts + 1)]
        solved = sum(right(net, CORNERS, LOGIC["XOR"]) == 1 for net, _ in runs[hidden])
        print(f"{hidden} hidden units, XOR: learned from {solved} of {args.starts} start values")
    xor = min(runs[2], key=lambda run: run[1])[0]

    train, test = two_digits()
    digits, mistakes = learn(*train, args.passes)
    print(
        f"perceptron, {DIGITS[0]} or {DIGITS[1]}: {mistakes[0]} mistakes in the first pass over "
        f"{len(train[0])} digits, {mistakes[-1]} in pass {len(mistakes)}; "
        f"{right(digits, *test):.1%} of {len(test[0])} other digits right"
    )
    draw("perceptron.png", CORNERS, LOGIC, logic, xor, (DIGITS, digits, mistakes))
    print("perceptron.png: the boundaries, and the mistakes of each pass")


if __name__ == "__main__":
    main()
