"""Ten plain layers with different activations and start values: what comes through them at the
start, and what they then learn (the pictures need matplotlib).

python examples/activations/deep.py [--iterations N] [--data fashion_mnist]
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from pictures import draw_histograms, draw_study

import pydl
from pydl.zoo import Builder

DEPTH, WIDTH, BATCH = 10, 100, 100
ACTIVATIONS = ("Sigmoid", "TanH", "ReLU", "ELU")
FILLERS = {
    "constant 0.01": {"type": "constant", "value": 0.01},
    "gaussian 0.01": {"type": "gaussian", "std": 0.01},
    "gaussian 1": {"type": "gaussian", "std": 1},
    "xavier": {"type": "xavier"},
    "msra": {"type": "msra"},
}
RATES = (0.1, 0.01, 0.001)


@dataclass
class Run:
    """What came of one activation, with one kind of start values."""

    signal: list[float]  # of each layer, at the start: the standard deviation of what it gives
    gradient: list[float]  # and the root mean square of its weights' gradient
    rate: float | None = None  # the best one; None: none went to the end
    losses: tuple[float, ...] = ()
    accuracy: float | None = None


def deep(data, activation, filler):
    """Images of zero mean and unit variance, ten equal layers, and a classifier."""
    net = Builder(f"{activation}, {filler['type']}", batch=BATCH, classes=10, train=True)
    images = pydl.data.load(data)[0]
    transform = {"mean_value": [float(images.mean())], "scale": 1 / float(images.std())}
    for part in ("train", "test"):
        source = {"source": f"{data}/{part}", "batch_size": BATCH, "shuffle": part == "train"}
        net.layer(
            "Data",
            "data",
            [],
            ["data", "label"],
            include=[{"phase": part.upper()}],
            transform_param=transform,
            data_param=source,
        )
    blob = "data"
    for i in range(1, DEPTH + 1):
        blob = fully_connected(net, f"fc{i}", blob, WIDTH, filler)
        blob = net.layer(activation, f"{activation.lower()}{i}", blob)
    blob = fully_connected(net, "score", blob, 10, filler)
    net.layer("SoftmaxWithLoss", "loss", [blob, "label"])
    net.layer("Accuracy", "accuracy", [blob, "label"], include=[{"phase": "TEST"}])
    return net.message()


def fully_connected(net, name, bottom, outputs, filler):
    param = {"num_output": outputs, "weight_filler": filler}
    return net.layer("InnerProduct", name, bottom, inner_product_param=param)


def signals(net, activation):
    """What each hidden layer gives, (batch, units), after a forward pass."""
    return [np.array(net.blobs[f"{activation.lower()}{i}"].data) for i in range(1, DEPTH + 1)]


def at_start(message, activation):
    """Forward and backward once, before anything is learned."""
    net = pydl.Net(message, phase="TRAIN")
    net.forward()
    net.backward()
    gradients = [net.params[f"fc{i}"][0].diff for i in range(1, DEPTH + 1)]
    return Run(
        signal=[values.std() for values in signals(net, activation)],
        gradient=[np.sqrt(np.mean(np.square(values))) for values in gradients],
    )


def learn(run, message, tests, iterations):
    """Trains with each rate; that with the least loss at the end counts."""
    least = np.inf
    for rate in RATES:
        solver = pydl.Solver(
            pydl.prototxt.new(
                "SolverParameter",
                net_param=message,
                base_lr=rate,
                momentum=0.9,
                lr_policy="fixed",
                random_seed=1,
                test_iter=[tests],
                test_interval=iterations + 1,  # only when asked to
                test_initialization=False,
            )
        )
        try:
            solver.step(iterations)
        except pydl.Error:  # the loss is not a number any more
            continue
        losses = solver.history["loss"]
        if np.mean(losses[-50:]) < least:
            least = np.mean(losses[-50:])
            run.rate, run.losses = rate, tuple(losses)
            run.accuracy = float(solver.test()["accuracy"])


def table(runs):
    """Test accuracies as a table in Markdown."""
    lines = [["", *FILLERS], ["---"] + ["--:"] * len(FILLERS)]
    for activation in ACTIVATIONS:
        found = [runs[activation, filler] for filler in FILLERS]
        lines.append([activation] + [f"{r.accuracy:.1%}" if r.rate else "diverges" for r in found])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--data", default="mnist_sample", help="or fashion_mnist, mnist")
    args = parser.parse_args()
    tests, start, runs = len(pydl.data.load(args.data)[3]) // BATCH, time.monotonic(), {}
    for activation in ACTIVATIONS:
        for name, filler in FILLERS.items():
            message = deep(args.data, activation, filler)
            run = runs[activation, name] = at_start(message, activation)
            learn(run, message, tests, args.iterations)
            end = "all rates diverge"
            if run.rate:
                end = f"rate {run.rate}: test accuracy {run.accuracy:.1%}"
            first, last = run.gradient[0], run.gradient[-1]
            print(f"{activation}, {name}: gradients {last:.1e} ... {first:.1e}; {end}", flush=True)
    print(f"\n{table(runs)}\n\n{time.monotonic() - start:.0f} s")
    draw_study("deep.png", runs, ACTIVATIONS, FILLERS)
    print("deep.png: the signal and the gradient in each layer at the start, and the loss")

    nets = {name: pydl.Net(deep(args.data, "TanH", filler)) for name, filler in FILLERS.items()}
    for net in nets.values():
        net.forward()
    draw_histograms("tanh.png", {name: signals(net, "TanH") for name, net in nets.items()})
    print("tanh.png: what the layers of the nets with TanH give at the start")


if __name__ == "__main__":
    main()
