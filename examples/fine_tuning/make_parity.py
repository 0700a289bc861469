"""Another task for a net that knows digits: odd or even? 100 digits to learn from, and 1,000 to be
tested on.

python examples/fine_tuning/make_parity.py
"""

import numpy as np

import pydl.data

COUNTS = {"train": 100, "test": 1000}


def main():
    rng = np.random.default_rng(0)
    for part, count in COUNTS.items():
        digits = pydl.data.open_source(f"mnist_sample/{part}")
        images, labels = digits.read(0, len(digits))
        chosen = rng.permutation(len(images))[:count]
        pydl.data.write_npz(f"parity_{part}.npz", images[chosen], labels[chosen] % 2)
        print(f"parity_{part}.npz: {count} digits")


if __name__ == "__main__":
    main()
