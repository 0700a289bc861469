"""The adding problem: an RNN forgets what it read 50 steps ago, an LSTM and a GRU do not (the
picture needs matplotlib).

python examples/adding/adding.py [--lengths T ...] [--iterations N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw

import pydl

NET = Path(__file__).with_name("adding.prototxt")
KINDS = ("RNN", "LSTM", "GRU")
BATCH, HIDDEN = 50, 64
VARIANCE = 1 / 6  # of the sum of two numbers between 0 and 1: the error of always saying 1


def sequences(steps, count, random):
    """Numbers and marks (steps, count, 2), a mark in each half; and the sum of the marked numbers
    (count, 1)."""
    numbers, marks = random.random((steps, count)), np.zeros((steps, count))
    for low, high in ((0, steps // 2), (steps // 2, steps)):
        marks[random.integers(low, high, count), np.arange(count)] = 1
    return np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=0)[:, None]


def net_of(kind, steps):
    """The net with another layer and another length, and Input layers to suit."""
    net = pydl.prototxt.load_net(NET)
    layers = {layer.name: layer for layer in net.layer}
    layers["memory"].type = kind
    layers["last"].slice_param.slice_point[0] = steps - 1
    for name in ("data", "cont"):
        layers[name].input_param.shape[0].dim[0] = steps
    net.force_backward = True  # gradients of the data: see `reach`
    return net


def solver_of(kind, steps, iterations):
    return pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net_of(kind, steps),
            type="Adam",
            base_lr=0.003,
            momentum=0.9,
            lr_policy="cosine",
            max_iter=iterations,
            clip_gradients=1,
            random_seed=1,
        )
    )


def remember(net, kind):
    """Gates that keep what is stored begin open (Gers et al. 2000): their bias is 1."""
    bias = net.params["memory"][1].data
    if kind != "RNN":  # second of four gates (i, f, o, g), second of three (r, z, n)
        bias[HIDDEN : 2 * HIDDEN] = 1


def fill(net, steps, random):
    data, target = sequences(steps, BATCH, random)
    inputs = net.blobs
    inputs["data"].data[...], inputs["target"].data[...] = data, target
    inputs["cont"].data[...] = np.arange(steps)[:, None] > 0


def reach(net, steps):
    """How much the error depends on each step: the mean size of its gradient there."""
    fill(net, steps, np.random.default_rng(0))
    net.forward()
    net.blobs["data"].diff[...] = 0
    net.backward()
    return np.abs(net.blobs["data"].diff).mean(axis=(1, 2))


def learn(kind, steps, iterations):
    """The squared error of each iteration's 50 new sequences, and the start's `reach`."""
    solver = solver_of(kind, steps, iterations)
    remember(solver.net, kind)
    random, gradients = np.random.default_rng(1), reach(solver.test_twin(), steps)
    errors = []
    for _ in range(iterations):
        fill(solver.net, steps, random)
        errors.append(2 * solver.step())  # EuclideanLoss has half of it
    return np.array(errors), gradients


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[25, 50, 100], metavar="T")
    parser.add_argument("--iterations", type=int, default=4000)
    args = parser.parse_args()
    print(f"always saying 1: error {VARIANCE:.4f}")
    errors, gradients = {}, {}
    for steps in args.lengths:
        for kind in KINDS:
            run = steps, kind
            errors[run], gradients[run] = learn(kind, steps, args.iterations)
            last = errors[run][-100:].mean()
            print(f"{steps} steps, {kind}: error {last:.5f}", flush=True)
    draw("adding.png", VARIANCE, errors, gradients)
    print("adding.png: the errors, and how far back gradients reach")


if __name__ == "__main__":
    main()
