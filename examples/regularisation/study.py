"""What each way against overfitting does for a net that learns 1,000 digits (the picture needs
matplotlib).

python examples/regularisation/study.py [--seeds N] [--only NAME ...]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from pictures import draw
from variations import VARIATIONS

import pydl

HERE = Path(__file__).parent
TRAIN, VALIDATION, SEEDS = 1000, 500, 3


def write_sets(seed, margin):
    """All 5,000 digits of the sample in another order: some to learn from, with a margin, some to
    say when to stop, and the others to test on."""
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    images, labels = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    order = np.random.default_rng(seed).permutation(len(images))
    train, validation, test = np.split(order, [TRAIN, TRAIN + VALIDATION])
    padded = np.pad(images[train], [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    pydl.data.write_npz("train.npz", padded, labels[train])
    pydl.data.write_npz("train_plain.npz", images[train], labels[train])
    pydl.data.write_npz("validation.npz", images[validation], labels[validation])
    pydl.data.write_npz("test.npz", images[test], labels[test])
    return len(test)


def net_of(variation):
    """digits.prototxt with the variation's edits."""
    net = pydl.prototxt.load_net(HERE / "digits.prototxt")
    for name, value in variation.transform.items():
        setattr(net.layer[0].transform_param, name, value)
    layers = []
    for layer in net.layer:
        for name, value in variation.layers.get(layer.name, {}).items():
            setattr(layer, name, value)
        for i, fields in enumerate(variation.before.get(layer.name, ())):
            name, blob = f"{layer.name}_{i}", [layer.bottom[0]]
            layers.append(
                pydl.prototxt.new("LayerParameter", name=name, bottom=blob, top=blob, **fields)
            )
        layers.append(layer)
    net.layer = layers
    return net


def errors(variation, seed, iterations):
    """The share of training and of test digits, in percent, that a net gets wrong which learned
    with this variation."""
    tested = write_sets(seed, variation.margin)
    message = net_of(variation)
    solver = pydl.Solver(
        HERE / "solver.prototxt",
        keep="outputs",
        net_param=message,
        max_iter=iterations,
        random_seed=seed,
        **variation.solver,
    )
    solver.solve()
    solver.net.save("digits.caffemodel")
    found = []
    for source, count in (("train_plain.npz", TRAIN), ("test.npz", tested)):
        message.layer[1].data_param.source = source
        net = pydl.Net(message, "digits.caffemodel", phase="TEST", keep="outputs")
        scores = [net.forward()["accuracy"] for _ in range(count // 100)]
        found.append(100 - 100 * float(np.mean(scores)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of each ({SEEDS})")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=VARIATIONS, default=list(VARIATIONS))
    args = parser.parse_args()
    found, start = {}, time.process_time()
    for name in args.only:
        runs = [errors(VARIATIONS[name], seed, args.iterations) for seed in range(args.seeds)]
        found[name] = np.array(runs)
        (train, test), spread = found[name].mean(axis=0), found[name][:, 1].std()
        print(f"{name}: test error {test:.2f} +- {spread:.2f} %, training error {train:.2f} %",
              flush=True)  # fmt: skip
    print(f"{time.process_time() - start:.0f} s")
    draw("regularisation.png", found)
    print("regularisation.png: the test error with each method")


if __name__ == "__main__":
    main()
