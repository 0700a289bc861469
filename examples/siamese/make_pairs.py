"""Pairs of digits from the built-in sample of MNIST: images of two channels, and whether they are
the same digit (1) or not (0).

python examples/siamese/make_pairs.py
"""

import numpy as np

import pydl.data

COUNTS = {"train": 12000, "test": 2000}


def make_pairs(images, labels, count, rng):
    """(count, 2, 28, 28) and (count,): as many pairs of the same digit as of two digits."""
    first = rng.integers(len(images), size=count)
    second = rng.integers(len(images), size=count)
    members = [np.flatnonzero(labels == digit) for digit in range(10)]
    for i in range(0, count, 2):
        second[i] = rng.choice(members[labels[first[i]]])
    while (equal := labels[first] == labels[second])[1::2].any():
        again = 2 * np.flatnonzero(equal[1::2]) + 1
        second[again] = rng.integers(len(images), size=len(again))
    return np.concatenate([images[first], images[second]], axis=1), equal.astype(np.int64)


def main():
    rng = np.random.default_rng(0)
    for part, count in COUNTS.items():
        digits = pydl.data.open_source(f"mnist_sample/{part}")
        pairs, similar = make_pairs(*digits.read(0, len(digits)), count, rng)
        pydl.data.write_npz(f"pairs_{part}.npz", pairs, similar)
        print(f"pairs_{part}.npz: {count} pairs, {similar.sum()} of the same digit")


if __name__ == "__main__":
    main()
