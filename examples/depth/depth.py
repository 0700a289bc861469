"""Nets of 20, 32 and 56 layers, plain and residual, learn Fashion-MNIST (the picture needs
matplotlib).

python examples/depth/depth.py [--iterations N] [--depths 20 56]
"""

import argparse
import time

import numpy as np
from pictures import draw

import pydl
from pydl.zoo import Builder

BATCH, ITERATIONS, TESTS = 64, 1500, 10
DEPTHS = (20, 32, 56)
WIDTHS = (8, 16, 32)  # channels at 14x14, 7x7 and 4x4; half of the paper's for CIFAR-10


def deep(depth, residual, data):
    """The paper's nets for small pictures: 6 n + 2 layers with weights, three stages of n blocks
    of two 3x3 convolutions. `residual`: what goes into a block is added to what comes out."""

    def conv(name, bottom, filters, kernel, stride=1):
        blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=kernel // 2, bias=None)
        return net.bn(blob, f"{name}_bn", f"{name}_scale", average=0.95)

    kind = "residual" if residual else "plain"
    net = Builder(f"{kind} {depth}", batch=BATCH, classes=10, train=True)
    blob = net.pool("small", add_data(net, data), "AVE", 2, 2)
    blob = net.relu("conv1_relu", conv("conv1", blob, WIDTHS[0], 3))
    for stage, width in enumerate(WIDTHS, 2):
        for i in range(1, (depth - 2) // 6 + 1):
            name, side = f"block{stage}_{i}", blob
            stride = 2 if i == 1 and stage > 2 else 1
            blob = net.relu(f"{name}a_relu", conv(f"{name}a", blob, width, 3, stride))
            blob = conv(f"{name}b", blob, width, 3)
            if residual:
                if stride == 2:
                    side = conv(f"{name}_side", side, width, 1, stride)
                blob = net.add(name, [side, blob])
            blob = net.relu(f"{name}_relu", blob)
    scores = net.fc("score", net.pool("pool", blob, "AVE"), net.classes)
    net.layer("SoftmaxWithLoss", "loss", [scores, "label"])
    net.layer("Accuracy", "accuracy", [scores, "label"])
    return net.message()


def add_data(net, data):
    images = pydl.data.load(data)[0]
    transform = {"mean_value": [float(images.mean())], "scale": 1 / float(images.std())}
    for part, batch in (("train", BATCH), ("test", 100)):
        net.layer(
            "Data",
            "data",
            [],
            ["data", "label"],
            include=[{"phase": part.upper()}],
            transform_param=transform | {"mirror": part == "train"},
            data_param={
                "source": f"{data}/{part}",
                "batch_size": batch,
                "shuffle": part == "train",
            },
        )
    return "data"


def learn(message, data, iterations):
    """The training error of each batch, and iterations and errors of the tests, in percent."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=message,
            base_lr=0.1,
            momentum=0.9,
            weight_decay=0.0001,
            lr_policy="multistep",
            stepvalue=[iterations // 2, iterations * 3 // 4],
            gamma=0.1,
            max_iter=iterations,
            test_iter=[len(pydl.data.load(data)[3]) // 100],
            test_interval=max(1, iterations // TESTS),
            test_initialization=False,
            precision="BF16",
            random_seed=1,
        ),
        keep="outputs",
    )
    training = []
    for _ in range(iterations):
        solver.step()
        training.append(100 - 100 * float(solver.net.blobs["accuracy"].data))
    solver.test_all()
    tests = solver.history["test"]
    found = [100 - 100 * float(scores["accuracy"]) for _, _, scores in tests]
    return training, [iteration for iteration, _, _ in tests], found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="6 n + 2")
    parser.add_argument("--data", default="fashion_mnist", help="or mnist, mnist_sample")
    args = parser.parse_args()
    runs = {}
    for residual in (False, True):
        for depth in args.depths:
            start, message = time.process_time(), deep(depth, residual, args.data)
            runs[residual, depth] = learn(message, args.data, args.iterations)
            training, _, test = runs[residual, depth]
            print(f"{message.name}: training error {np.mean(training[-200:]):.2f} %, test error "
                  f"{test[-1]:.2f} %, {time.process_time() - start:.0f} s", flush=True)  # fmt: skip
    draw("depth.png", runs)
    print("depth.png: errors of plain and of residual nets as they learn")


if __name__ == "__main__":
    main()
