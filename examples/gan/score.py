"""How good made pictures are, by what a classifier says of them: its score and the Fréchet distance
of its features, as Inception's are used on photographs."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import pydl

EXAMPLES = Path(__file__).parents[1]
WEIGHTS = "classifier.caffemodel"
BATCH = 500


class Verdict(NamedTuple):
    distance: float  # 0 for the test set itself (Heusel et al. 2017, arXiv:1706.08500)
    score: float  # from 1 to 10, the number of kinds (Salimans et al. 2016, arXiv:1606.03498)
    shares: np.ndarray  # of each kind

    def __str__(self):
        return f"Fréchet distance {self.distance:.1f}, classifier score {self.score:.2f}"


class Judge:
    """A LeNet trained for so many passes over Fashion-MNIST; `real` are pictures (N, 1, 28, 28) of
    values from 0 to 255, and so are those that it is called on."""

    def __init__(self, real, passes):
        train(passes)
        self._net = pydl.Net(EXAMPLES / "mnist" / "lenet_deploy.prototxt", WEIGHTS)
        self._real = moments(self._run(real)[0])

    def __call__(self, pictures):
        features, p = self._run(pictures)
        mean = p.mean(axis=0)
        divergence = (p * np.log((p + 1e-12) / (mean + 1e-12))).sum(axis=1).mean()
        shares = np.bincount(p.argmax(axis=1), minlength=len(mean)) / len(p)
        distance = frechet(self._real, moments(features))
        return Verdict(distance, float(np.exp(divergence)), shares)

    def probabilities(self, pictures):
        """(N, 10)."""
        return self._run(pictures)[1]

    def _run(self, pictures):
        """The 500 features of each picture, and the probabilities of its kinds."""
        features, probabilities = [], []
        for start in range(0, len(pictures), BATCH):
            outputs = self._net.forward(data=pictures[start : start + BATCH] / np.float32(256))
            probabilities.append(outputs["prob"])
            features.append(np.array(self._net.blobs["ip1"].data, np.float64))
        return np.concatenate(features), np.concatenate(probabilities)


def train(passes):
    """Leaves the weights of LeNet in a file."""
    solver = pydl.prototxt.load_solver(EXAMPLES / "fashion_mnist" / "lenet_solver.prototxt")
    solver.net = str(EXAMPLES / "fashion_mnist" / "lenet_train_test.prototxt")
    solver.max_iter = round(938 * passes)
    solver.snapshot, solver.snapshot_after_train = 0, False
    for field in ("test_iter", "test_interval"):
        solver.ClearField(field)
    solver = pydl.Solver(solver)
    solver.solve()
    solver.net.save(WEIGHTS)


def moments(features):
    """The mean and the covariances of rows."""
    return features.mean(axis=0), np.cov(features, rowvar=False)


def frechet(one, other):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two normal distributions."""
    (m1, c1), (m2, c2) = one, other
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # C1 C2 and the symmetric C1^(1/2) C2 C1^(1/2) have the same eigenvalues.
    product = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c2 @ root), 0)).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * product)
