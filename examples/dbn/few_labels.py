"""What pre-training is worth: a net for digits that starts from a DBN's weights, and the same from
random ones, learn from few labels (the pictures need matplotlib).

python examples/dbn/few_labels.py [--iterations N] [--seeds N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw_curves, draw_filters

import pydl

DBN = Path(__file__).with_name("dbn_solver.prototxt")
INPUTS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 100 dim: 784 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 100 } } }
"""
LABELS = (50, 100, 200, 500, 1000, 4000)  # of them all, as many of each digit


def digits():
    """Values from 0 to 1, (N, 784), and labels: to learn from, and to be tested on."""
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    x_train, x_test = (x.reshape(len(x), 784) / np.float32(255) for x in (x_train, x_test))
    return (x_train, y_train), (x_test, y_test)


def pretrained(seed, iterations=None):
    """The DBN, which has seen all digits and no label."""
    message = pydl.prototxt.load_dbn_solver(DBN)
    message.random_seed = seed
    for solver in message.solver:
        solver.max_iter, solver.snapshot_after_train = iterations or solver.max_iter, False
    return pydl.DBN.load(message).solve()


def chosen(labels, count, seed):
    """The indices of `count` items, as many of each digit."""
    random = np.random.default_rng(seed)
    each = [random.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    return np.concatenate([indices[: count // 10] for indices in each])


def batches(count, iterations, seed):
    """The indices of 100 items for each iteration: one random order after another."""
    random, size = np.random.default_rng(seed), 100 * iterations
    orders = [random.permutation(count) for _ in range(-(-size // count))]
    return np.concatenate(orders)[:size].reshape(iterations, 100)


def learn(net, start, train, test, seed, iterations):
    """The classifier's test error in percent; `start` puts weights into its net."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net,
            base_lr=0.1,
            lr_policy="fixed",
            momentum=0.9,
            weight_decay=0.0002,
            random_seed=seed,
        )
    )
    start(solver.net)
    inputs = solver.net.blobs
    for batch in batches(len(train[0]), iterations, seed):
        inputs["data"].data[...], inputs["label"].data[...] = train[0][batch], train[1][batch]
        solver.step()
    outputs = solver.test_twin().forward(data=test[0], label=test[1])
    return 100 * (1 - float(outputs["accuracy"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=400, help="with labels (400)")
    parser.add_argument("--pretraining", type=int, help="iterations of each RBM (as its solver)")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    (x, y), test = digits()
    errors = {"pre-trained": [], "random": []}
    for seed in range(1, args.seeds + 1):
        dbn = pretrained(seed, args.pretraining)
        classifier = dbn.classifier(classes=10, data=INPUTS)
        starts = {"pre-trained": classifier.copy_to, "random": lambda net: None}
        for name, start in starts.items():
            found = []
            for count in LABELS:
                few = chosen(y, count, seed)
                train = x[few], y[few]
                found.append(learn(classifier.net, start, train, test, seed, args.iterations))
            errors[name].append(found)
            shown = "  ".join(f"{error:.1f}" for error in found)
            print(f"seed {seed}, {name}: test errors {shown} %", flush=True)
    print("labels", *LABELS)
    for name, found in errors.items():
        print(f"{name}:", *(f"{error:.1f}" for error in np.mean(found, axis=0)), "% on average")
    draw_curves("few_labels.png", LABELS, errors)
    draw_filters("filters.png", dbn.weights_[0][0].reshape(-1, 28, 28))
    print("few_labels.png: test error by labels; filters.png: what the first RBM's units look for")


if __name__ == "__main__":
    main()
