"""What a net learned from other pictures helps where there are few labels: as features for
scikit-learn's classifiers, and as a start for fine-tuning (needs scikit-learn; the picture needs
matplotlib).

python examples/transfer/transfer.py [--draws N]
"""

import argparse
import time

import numpy as np
from pictures import draw
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import pydl
from pydl.zoo import Builder

BATCH = 50
COUNTS = (1, 2, 5, 10, 20, 50, 100)  # labels of each class
POOL = 1000  # of the digits 5 to 9 labels are drawn for; the others are tested on


def convolutions(net):
    """28x28 pictures to 32 maps of 4x4."""
    blob = net.input("data", net.batch, 1, 28, 28)
    for i, filters in enumerate((16, 32), 1):
        blob = net.relu(f"relu{i}", net.conv(f"conv{i}", blob, filters, 5))
        blob = net.pool(f"pool{i}", blob, "MAX", 2, 2)
    return blob


def hidden(net):
    """These to 128 values."""
    return net.relu("relu3", net.fc("fc3", convolutions(net), 128))


def features(task, layers, images):
    """(N, n): what these layers, trained for the task, make of the pictures."""
    net = Builder(task, batch=BATCH, classes=0)
    layers(net)
    net = pydl.Net(net.message(), f"{task}.caffemodel", keep="outputs")
    return net.predict(scaled(images)).reshape(len(images), -1)


def classifier(task, classes, train=False):
    """All layers; the last one is named after the task, so that weights of others load without."""
    net = Builder(task, batch=BATCH, classes=classes, train=train)
    net.classifier(net.fc(f"score_{task}", hidden(net), classes))
    return net.message()


def scaled(images):
    return images / np.float32(255)


def learn(task, images, labels, iterations, weights=None):
    """Trains on batches drawn at random, from `weights` on if given; leaves TASK.caffemodel."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=classifier(task, labels.max() + 1, train=True),
            base_lr=0.01,
            momentum=0.9,
            weight_decay=0.0005,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        ),
        keep="outputs",
    )
    if weights:
        solver.net.load(weights)
    inputs, random = solver.net.blobs, np.random.default_rng(1)
    for _ in range(iterations):
        batch = random.integers(len(images), size=BATCH)
        inputs["data"].data[...], inputs["label"].data[...] = scaled(images[batch]), labels[batch]
        solver.step()
    solver.net.save(f"{task}.caffemodel")


# ---- methods: (the chosen, those to be tested: numbers of pictures) -> labels found of the latter
def on(values, labels, make_classifier):
    """A classifier of scikit-learn's on (N, n) values of the pictures."""
    values = values / values.std()

    def found(chosen, tested):
        return make_classifier().fit(values[chosen], labels[chosen]).predict(values[tested])

    return found


def nearest_neighbour():
    return KNeighborsClassifier(n_neighbors=1)


def logistic_regression():
    return LogisticRegression(C=0.1, max_iter=1000)


def net_on(images, labels, iterations, weights=None):
    """A net that learns from the chosen, from `weights` on if given."""

    def found(chosen, tested):
        learn("few", images[chosen], labels[chosen], iterations, weights)
        net = pydl.Net(classifier("few", labels.max() + 1), "few.caffemodel", keep="outputs")
        return net.predict(scaled(images[tested])).argmax(axis=1)

    return found


def digits():
    """Pictures of 0 to 4 with their labels, and of 5 to 9 with theirs, from 0 on."""
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    images, labels = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    low = labels < 5
    return (images[low], labels[low]), (images[~low], labels[~low] - 5)


def methods(images, labels, iterations):
    """What is compared, by name; logistic regression where no method is named. Trains the nets
    whose features are taken."""
    pixels, few = images.reshape(len(images), -1), iterations // 5
    learn("digits", *digits()[0], iterations)
    compared = {
        "pixels": on(pixels, labels, logistic_regression),
        "pixels, nearest neighbour": on(pixels, labels, nearest_neighbour),
        "net from scratch": net_on(images, labels, few),
    }
    if any(info.name == "fashion_mnist/train" and info.ready for info in pydl.data.list_sets()):
        x_fashion, y_fashion, _, _ = pydl.data.load("fashion_mnist")
        learn("fashion", x_fashion, y_fashion, iterations)
        values = features("fashion", convolutions, images)
        compared["convolutions of clothes"] = on(values, labels, logistic_regression)
    values, last = (features("digits", layers, images) for layers in (convolutions, hidden))
    return compared | {
        "convolutions of 0 to 4": on(values, labels, logistic_regression),
        "convolutions of 0 to 4, nearest neighbour": on(values, labels, nearest_neighbour),
        "hidden layer of 0 to 4": on(last, labels, logistic_regression),
        "net of 0 to 4, fine-tuned": net_on(images, labels, few, "digits.caffemodel"),
    }


def draw_labelled(labels, count, random):
    """The numbers of so many pictures of each class, from the first of the set."""
    return np.concatenate(
        [
            random.choice(np.flatnonzero(labels[:POOL] == k), count, replace=False)
            for k in range(labels.max() + 1)
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5, help="of labelled digits (5)")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="of each class")
    parser.add_argument("--iterations", type=int, default=1000, help="on other pictures (1000)")
    args = parser.parse_args()
    start = time.process_time()
    images, labels = digits()[1]
    compared = methods(images, labels, args.iterations)
    tested = np.arange(POOL, len(images))
    accuracies = {}  # (counts, draws)
    for name, method in compared.items():
        accuracies[name] = np.empty((len(args.counts), args.draws))
        for (i, draw_number), _ in np.ndenumerate(accuracies[name]):
            random = np.random.default_rng([args.counts[i], draw_number])
            chosen = draw_labelled(labels, args.counts[i], random)
            accuracies[name][i, draw_number] = np.mean(method(chosen, tested) == labels[tested])
        means = ", ".join(f"{mean:.1%}" for mean in accuracies[name].mean(axis=1))
        print(f"{name}: {means}", flush=True)
    print(f"{time.process_time() - start:.0f} s")
    draw("transfer.png", args.counts, accuracies)
    print("transfer.png: the error on other digits, by the number of labels of each class")


if __name__ == "__main__":
    main()
