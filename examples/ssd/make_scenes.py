"""Pictures with digits at random places, and LMDBs of them with the boxes around the digits (needs
the package lmdb, and Pillow for the picture).

python examples/ssd/make_scenes.py

One to four digits of the built-in sample, each in a colour and size of its own, lie on a canvas of
clouds, waves and noise. The training set has 3,000 scenes of the sample's training digits, the test
set 400 of its test digits. `scene.png` is one of the latter, enlarged.
"""

import argparse

import numpy as np

import pydl.data

SIZE = 96
MOST = 4  # digits in a scene
BLUR = 4  # of the clouds, in pixels
SEEDS = {"train": 1, "test": 2}


def clouds(rng):
    """(3, SIZE, SIZE): smooth blobs of colour."""
    coarse = rng.uniform(0, 1, (3, SIZE // 12 + 2, SIZE // 12 + 2))
    at = np.linspace(0, coarse.shape[1] - 1.001, SIZE)
    low, part = at.astype(int), at % 1
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part


def waves(rng):
    """(1, SIZE, SIZE): stripes in some direction."""
    y, x = np.mgrid[:SIZE, :SIZE]
    angle, width = rng.uniform(0, np.pi), rng.uniform(4, 20)
    return np.sin((x * np.cos(angle) + y * np.sin(angle)) / width + rng.uniform(0, 6))[None] / 2


def canvas(rng):
    """(3, SIZE, SIZE), 0 to 1, neither very dark nor very bright."""
    values = clouds(rng) + rng.uniform(0, 0.3) * waves(rng)
    values += rng.normal(0, rng.uniform(0.01, 0.06), values.shape)
    return values.clip(0, 1) * 0.5 + rng.uniform(0, 0.5)


def enlarged(digit, factor):
    """A digit's patch in another size: the nearest pixels, smoothed."""
    size = round(len(digit) * factor)
    at = ((np.arange(size) + 0.5) / factor).astype(int).clip(0, len(digit) - 1)
    patch = digit[np.ix_(at, at)].astype(np.float64) / 255
    padded = np.pad(patch, 1, mode="edge")
    return (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
            + 4 * patch) / 8  # fmt: skip


def place(rng, taken, height, width):
    """(top, left) of a free place, or None."""
    for _ in range(30):
        top, left = rng.integers(0, SIZE - height + 1), rng.integers(0, SIZE - width + 1)
        free = all(
            left >= x2 or top >= y2 or left + width <= x1 or top + height <= y1
            for x1, y1, x2, y2 in taken
        )
        if free:
            return top, left
    return None


def scene(rng, digits, labels):
    """A picture uint8 (3, SIZE, SIZE), blue first, and its boxes: label, xmin, ymin, xmax, ymax."""
    picture, boxes, taken = canvas(rng), [], []
    for _ in range(rng.integers(1, MOST + 1)):
        k = rng.integers(len(digits))
        patch = enlarged(digits[k, 0], rng.uniform(0.9, 1.7))
        inked = patch > 0.3
        rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
        patch = patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found = place(rng, taken, *patch.shape)
        if found is None:
            continue
        (top, left), (height, width) = found, patch.shape
        below = picture[:, top : top + height, left : left + width]
        bright = below.mean() < 0.5
        colour = rng.uniform(0.75, 1, 3) if bright else rng.uniform(0, 0.25, 3)
        below += patch * (colour[:, None, None] - below)
        corners = (left, top, left + width, top + height)
        taken.append(corners)
        boxes.append([labels[k] + 1, *np.divide(corners, SIZE)])
    return (picture * 255).round().clip(0, 255).astype(np.uint8), boxes


def make(part, count):
    """`count` scenes of a part of the sample."""
    rng = np.random.default_rng(SEEDS[part])
    source = pydl.data.open_source(f"mnist_sample/{part}")
    return zip(*(scene(rng, source.images, source.labels) for _ in range(count)), strict=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=3000, help="training scenes (3000)")
    parser.add_argument("--test", type=int, default=400, help="test scenes (400)")
    args = parser.parse_args()
    for part, count in (("train", args.train), ("test", args.test)):
        pictures, boxes = make(part, count)
        pydl.data.write_annotated_lmdb(f"digits_{part}_lmdb", list(pictures), list(boxes))
        print(f"digits_{part}_lmdb: {count} scenes with {sum(map(len, boxes))} digits")
    save(pictures[int(np.argmax([len(rows) for rows in boxes]))], "scene.png")


def save(picture, path):
    """A picture file of a scene, four times as large."""
    from PIL import Image

    large = picture.repeat(4, axis=1).repeat(4, axis=2)[::-1].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(large)).save(path)


if __name__ == "__main__":
    main()
