"""Reads features that `pydl extract_features` wrote, and draws them in two dimensions (needs lmdb
and matplotlib).

python examples/feature_extraction/project.py FEATURES_LMDB LABELS_LMDB PICTURE.png
"""

import sys

import lmdb
import numpy as np
from matplotlib.figure import Figure

from pydl.caffe.proto import caffe_pb2


def read_floats(folder):
    """The values of each Datum in an LMDB, in the order of the keys: (N, D)."""
    rows = []
    with lmdb.open(folder, readonly=True, lock=False) as database, database.begin() as transaction:
        for _, value in transaction.cursor():
            datum = caffe_pb2.Datum()
            datum.ParseFromString(value)
            rows.append(np.array(datum.float_data, np.float32))
    return np.stack(rows)


def principal_components(features, count):
    """(N, count): the features along the axes on which they differ most, and their share of it."""
    centred = features - features.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :count] * sizes[:count], (sizes[:count] ** 2).sum() / (sizes**2).sum()


def neighbours_agree(features, labels):
    """How often the nearest other row has the same label."""
    squares = (features**2).sum(axis=1)
    distance = squares[:, np.newaxis] + squares - 2 * features @ features.T
    np.fill_diagonal(distance, np.inf)
    return (labels[distance.argmin(axis=1)] == labels).mean()


def draw(points, labels, path):
    figure = Figure(figsize=(6, 6))
    axis = figure.subplots()
    for digit in range(10):
        axis.plot(*points[labels == digit].T, ".", label=str(digit), color=f"C{digit}")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main(features_lmdb, labels_lmdb, path):
    features = read_floats(features_lmdb)
    labels = read_floats(labels_lmdb)[:, 0].astype(int)
    points, share = principal_components(features, 2)
    print(f"{features_lmdb}: {len(features)} records of {features.shape[1]} features")
    print(f"the nearest other digit is the same one: {neighbours_agree(features, labels):.1%}")
    print(f"{path}: two axes with {share:.0%} of the variance")
    draw(points, labels, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
