"""The deep autoencoder 784-1000-500-250-30 against principal components: pre-trained layer by
layer, unrolled, fine-tuned (the picture needs matplotlib).

python examples/deep_autoencoder/deep_autoencoder.py [--iterations N] [--pretraining N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw

import pydl

HERE = Path(__file__).parent
CODE = 30
EVERY = 100  # iterations from one test to the next


def pretrain(iterations):
    """Trains the RBMs; leaves the net they unroll into as deep_autoencoder.prototxt and
    .caffemodel."""
    message = pydl.prototxt.load_dbn_solver(HERE / "dbn_solver.prototxt")
    for solver in message.solver:
        solver.max_iter, solver.snapshot_after_train = iterations or solver.max_iter, False
    dbn = pydl.DBN.load(message).solve()
    for i, errors in enumerate(dbn.errors_, 1):
        first, last = np.mean(errors[:EVERY]), np.mean(errors[-EVERY:])
        print(f"RBM {i}: reconstruction error from {first:.2f} to {last:.2f}", flush=True)
    dbn.autoencoder().save("deep_autoencoder")


def fine_tune(weights, iterations):
    """The solver after training, and the test error at each test: {iteration: error}."""
    solver = pydl.Solver(HERE / "fine_tuning_solver.prototxt", weights=weights)
    errors, last = {}, iterations or solver.max_iter
    while True:
        errors[solver.iter] = 2 * float(solver.test()["error"])
        if solver.iter >= last:
            return solver, errors
        solver.step(min(EVERY, last - solver.iter))


def copies(solver, count):
    """What comes back of the test digits, (N, 784)."""
    net, found = solver.test_nets[0], []
    for _ in range(count // 100):
        net.forward()
        found.append(np.array(net.blobs["reconstruction"].data))
    return np.concatenate(found)


def principal_components(x, test, count):
    """What comes back of `test` through the first components of `x`."""
    mean = x.mean(axis=0)
    _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
    return (test - mean) @ directions[:count].T @ directions[:count] + mean


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, help="of fine-tuning (as its solver)")
    parser.add_argument("--pretraining", type=int, help="iterations of each RBM (as its solver)")
    args = parser.parse_args()
    x, _, test, labels = pydl.data.load("mnist_sample")
    x, test = (images.reshape(len(images), 784) / np.float32(255) for images in (x, test))
    linear = principal_components(x, test, CODE)
    pretrain(args.pretraining)
    pretrained, curve = fine_tune(["deep_autoencoder.caffemodel"], args.iterations)
    _, random = fine_tune([], args.iterations)
    errors = {
        "deep autoencoder, pre-trained": list(curve.values())[-1],
        "deep autoencoder, random start": list(random.values())[-1],
        f"{CODE} principal components": ((linear - test) ** 2).sum(axis=1).mean(),
        "the mean digit": ((x.mean(axis=0) - test) ** 2).sum(axis=1).mean(),
    }
    for name, error in errors.items():
        print(f"squared error of a test digit, {name}: {error:.2f}")
    shown = [np.flatnonzero(labels == digit)[0] for digit in range(10)]
    rows = {
        "test digits": test[shown],
        f"autoencoder ({errors['deep autoencoder, pre-trained']:.1f})": (
            copies(pretrained, len(test))[shown]
        ),
        f"principal components ({errors[f'{CODE} principal components']:.1f})": linear[shown],
    }
    curves = {"pre-trained": curve, "random start": random}
    draw("deep_autoencoder.png", rows, curves, errors[f"{CODE} principal components"])
    print("deep_autoencoder.png: digits and their copies, and the errors on the way")


if __name__ == "__main__":
    main()
