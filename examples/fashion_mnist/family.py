"""Six families of convolutional nets on Fashion-MNIST: what each learns in the same number of
passes (the pictures need matplotlib).

python examples/fashion_mnist/family.py [--nets resnet vgg] [--passes N]

It draws all nets that were trained in this folder.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import nets
import numpy as np
from pictures import draw_confusions, draw_family

import pydl
from pydl.zoo import Builder

BATCH, PASSES = 128, 8
RATES = {  # where the rate begins; nets with batch normalisation take larger steps
    "lenet": 0.02,
    "alexnet": 0.02,
    "vgg": 0.02,
    "googlenet": 0.02,
    "resnet": 0.1,
    "densenet": 0.1,
}


@dataclass
class Run:
    """How one net learned; kept as NAME_run.npz."""

    params: int
    seconds: float  # of all cores together
    losses: np.ndarray  # of each iteration
    passes: np.ndarray  # where it was tested
    accuracies: np.ndarray  # and what came of it
    found: np.ndarray  # (N,) the class that it gives each test picture

    @property
    def accuracy(self):
        return self.accuracies[-1]


class Pictures:
    """A set, and how its pixels become numbers of zero mean and unit variance."""

    def __init__(self, name):
        self.name = name
        self.x_train, self.y_train, self.x_test, self.y_test = pydl.data.load(name)
        self.classes = pydl.data.open_source(f"{name}/test").class_names
        self.mean, self.std = float(self.x_train.mean()), float(self.x_train.std())

    def prepared(self, images):
        return (images - self.mean) / self.std

    def add_layers(self, net):
        """The layers that feed a net, to learn with every other picture mirrored; their blob."""
        numbers = {"mean_value": [self.mean], "scale": 1 / self.std}
        for part, batch, learns in (("train", BATCH, True), ("test", 100, False)):
            net.layer(
                "Data",
                "data",
                [],
                ["data", "label"],
                include=[{"phase": part.upper()}],
                transform_param={**numbers, "mirror": learns},
                data_param={
                    "source": f"{self.name}/{part}",
                    "batch_size": batch,
                    "shuffle": learns,
                },
            )
        return "data"


def net_to_train(name, pictures):
    net = Builder(name, batch=BATCH, classes=10, train=True)
    scores = getattr(nets, name)(net, pictures.add_layers(net))
    smoothed = {"loss_param": {"label_smoothing": 0.1}}
    net.layer("SoftmaxWithLoss", "loss", [scores, "label"], **smoothed)
    net.layer("Accuracy", "accuracy", [scores, "label"], include=[{"phase": "TEST"}])
    return net.message()


def net_to_use(name, pictures):
    net = Builder(name, batch=1, classes=10)
    blob = net.input("data", 1, *pictures.x_train.shape[1:])
    net.classifier(getattr(nets, name)(net, blob))
    return net.message()


def train(name, pictures, passes):
    """Leaves NAME.prototxt, NAME.caffemodel and NAME_run.npz."""
    each = len(pictures.x_train) / BATCH  # iterations in a pass
    iterations = max(1, round(passes * each))
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net_to_train(name, pictures),
            type="Nesterov",
            momentum=0.9,
            weight_decay=0.0005,
            decay_vectors=False,
            base_lr=RATES[name],
            lr_policy="cosine",
            warmup_iters=iterations // 20,
            max_iter=iterations,
            test_iter=[len(pictures.x_test) // 100],
            test_interval=round(each),
            test_initialization=False,
            precision="BF16",
            random_seed=1,
        ),
        keep="outputs",
    )
    start = time.process_time()
    solver.step(iterations)
    solver.test_all()
    seconds = time.process_time() - start
    solver.net.save(f"{name}.caffemodel")
    with open(f"{name}.prototxt", "w") as file:
        file.write(pydl.prototxt.dumps(net_to_use(name, pictures)))
    net = pydl.Net(f"{name}.prototxt", f"{name}.caffemodel", keep="outputs")
    found = net.predict(pictures.prepared(pictures.x_test), batch_size=100).argmax(axis=1)
    tests = solver.history["test"]
    run = Run(
        params=sum(blob.count for blobs in net.params.values() for blob in blobs),
        seconds=seconds,
        losses=solver.history["loss"],
        passes=[iteration / each for iteration, _, _ in tests],
        accuracies=[float(scores["accuracy"]) for _, _, scores in tests],
        found=found,
    )
    np.savez(f"{name}_run.npz", **vars(run))


def trained(name):
    with np.load(f"{name}_run.npz") as arrays:
        return Run(**{key: value if value.ndim else value.item() for key, value in arrays.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument("--passes", type=float, default=PASSES, help=f"of each net ({PASSES})")
    parser.add_argument("--data", default="fashion_mnist", help="or mnist, mnist_sample")
    args = parser.parse_args()
    pictures = Pictures(args.data)
    for name in args.nets:
        train(name, pictures, args.passes)
        run = trained(name)
        print(f"{name}: {run.accuracy:.2%} right, {run.params:,} weights, {run.seconds:.0f} s",
              flush=True)  # fmt: skip
    runs = {name: trained(name) for name in RATES if Path(f"{name}_run.npz").exists()}
    draw_family("family.png", runs)
    print("family.png: accuracy against time and weights, and how each net learned")
    best = max(runs, key=lambda name: runs[name].accuracy)
    draw_confusions("confusions.png", pictures, runs[best].found)
    print(f"confusions.png: what {best} takes for what")


if __name__ == "__main__":
    main()
