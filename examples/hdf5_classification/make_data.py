"""A problem in four dimensions, as HDF5 files: 10,000 points of two classes, each class in two
clusters, of which a straight cut cannot separate all.

python examples/hdf5_classification/make_data.py
"""

from pathlib import Path

import numpy as np

import pydl.data

COUNT, TEST = 10000, 2500
CENTRES = np.array([[0, 0], [3, 4], [3, 0], [4, 8]])  # of the clusters; the last two are class 1


def make_points(rng):
    """(COUNT, 4) and (COUNT,): two informative axes, their noisy sum, and one of noise alone."""
    cluster = rng.integers(len(CENTRES), size=COUNT)
    plane = CENTRES[cluster] + rng.standard_normal((COUNT, 2))
    mixed = plane.sum(axis=1) + rng.standard_normal(COUNT)
    points = np.column_stack([plane, mixed, rng.standard_normal(COUNT)])
    return points - points.mean(axis=0), cluster // 2


def main():
    points, labels = make_points(np.random.default_rng(0))
    parts = {"train": slice(TEST, None), "test": slice(TEST)}
    for part, rows in parts.items():
        file = f"points_{part}.h5"
        pydl.data.write_hdf5(file, {"data": points[rows], "label": labels[rows]})
        Path(f"points_{part}.txt").write_text(f"{file}\n")
        print(f"points_{part}.txt: {file}, {len(labels[rows])} points")


if __name__ == "__main__":
    main()
