"""What a convolution sees in an X and an O: filters made by hand, then learned ones (the pictures
need matplotlib).

python examples/x_or_o/x_or_o.py [--iterations N]
"""

import argparse
import re
from pathlib import Path

import numpy as np
from letters import letters
from pictures import draw_filters, draw_steps

import pydl

NET = Path(__file__).with_name("x_or_o.prototxt")
BATCH = 50

FALLING = np.eye(7) + 0.6 * (np.eye(7, k=1) + np.eye(7, k=-1))
FILTERS = {
    "\\": FALLING,
    "/": FALLING[:, ::-1],
    "x": np.maximum(FALLING, FALLING[:, ::-1]),
    "-": np.outer([0, 0, 0.6, 1, 0.6, 0, 0], np.ones(7)),
}


def by_hand(net):
    """Sets the four filters. Each sums to 0, so that it sees strokes, not how dark a place is."""
    weights, bias = net.params["conv"]
    for mine, shape in zip(weights.data[:, 0], FILTERS.values(), strict=True):
        centred = shape - shape.mean()
        mine[...] = centred / centred[centred > 0].sum()  # where its stroke is black, it gives 1
    bias.data[...] = 0


def net_with(name, *, convolution=True, frozen=False):
    """The net, or its last layer alone on the pixels; `frozen`: with filters that do not learn."""
    net = pydl.prototxt.load_net(NET)
    net.name = "_".join(re.findall(r"\w+", name))
    layers = {layer.name: layer for layer in net.layer}
    if frozen:
        layers["conv"].param.extend([pydl.prototxt.new("ParamSpec", lr_mult=0)] * 2)
    if not convolution:
        layers["score"].bottom[0] = "data"
        for layer in ("conv", "relu", "pool"):
            net.layer.remove(layers[layer])
    return net


def train(net, data, iterations, start):
    """Learns from random batches of `data`; `start` changes start values. Leaves
    NAME.caffemodel.

    Returns the net for use, which gives the scores of X and O.
    """
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net,
            type="Adam",
            base_lr=0.003,
            momentum=0.9,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    if start:
        start(solver.net)
    random, inputs, (x, y) = np.random.default_rng(1), solver.net.blobs, data
    for _ in range(iterations):
        chosen = random.integers(0, len(y), BATCH)
        inputs["data"].data[...], inputs["label"].data[...] = x[chosen], y[chosen]
        solver.step()
    solver.net.save(f"{net.name}.caffemodel")
    return pydl.Net(net, f"{net.name}.caffemodel")


def accuracy(net, data):
    x, y = data
    return np.mean(net.predict(x).argmax(axis=1) == y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2000)
    args = parser.parse_args()
    data, test = letters(1000, seed=1), letters(2000, seed=2)
    runs = {
        "no convolution": ({"convolution": False}, None),
        "random filters": ({"frozen": True}, None),
        "filters made by hand": ({"frozen": True}, by_hand),
        "learned filters": ({}, None),
        "made by hand, then learned": ({}, by_hand),
    }
    nets, scores = {}, {}
    for name, (options, start) in runs.items():
        nets[name] = train(net_with(name, **options), data, args.iterations, start)
        scores[name] = accuracy(nets[name], test)
        print(f"{name}: {scores[name]:.1%} of {len(test[1])} test pictures right")

    x, y = test
    examples = [x[np.flatnonzero(y == label)[0]] for label in (0, 1)]
    draw_steps("steps.png", nets["filters made by hand"], examples, FILTERS)
    del nets["no convolution"]
    titled = {f"{name}: {scores[name]:.1%} right": net for name, net in nets.items()}
    draw_filters("filters.png", titled, examples)
    print("steps.png: an X and an O on their way through the filters made by hand")
    print("filters.png: all filters, and what they find in these two")


if __name__ == "__main__":
    main()
