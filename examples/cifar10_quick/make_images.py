"""A small set of images of CIFAR-10's form: 32 x 32 colour PNGs of ten shapes and textures, and the
lists that convert_imageset takes (needs Pillow).

python examples/cifar10_quick/make_images.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 32
COUNTS = {"train": 300, "test": 100}  # of each class
NOISE = 25  # standard deviation, of 255
FOLDER = Path("shapes")


def coordinates(rng):
    """Pixels' (x, y) from the shape's centre, in units of its radius."""
    centre = rng.uniform(11, 21, size=2)
    radius = rng.uniform(6, 11)
    y, x = np.mgrid[:SIZE, :SIZE]
    return (x - centre[0]) / radius, (y - centre[1]) / radius


def waves(rng, *along):
    """Bands across each of these coordinates, of random width and place; their product."""
    width = rng.uniform(2, 5)
    signs = [np.sin(np.pi * c * SIZE / 4 / width + rng.uniform(0, 6)) for c in along]
    return np.prod(signs, axis=0) > 0


def _ring(x, y):
    distance = np.hypot(x, y)
    return (distance > 0.6) & (distance < 1)


# Of (x, y) and a random generator: which pixels have the foreground's colour.
CLASSES = {
    "disc": lambda x, y, rng: np.hypot(x, y) < 1,
    "ring": lambda x, y, rng: _ring(x, y),
    "square": lambda x, y, rng: np.maximum(abs(x), abs(y)) < 0.85,
    "diamond": lambda x, y, rng: abs(x) + abs(y) < 1.1,
    "triangle": lambda x, y, rng: (y < 0.8) & (y > 2 * abs(x) - 1),
    "cross": lambda x, y, rng: (np.minimum(abs(x), abs(y)) < 0.3) & (abs(x + y) + abs(x - y) < 2),
    "rows": lambda x, y, rng: waves(rng, y),
    "columns": lambda x, y, rng: waves(rng, x),
    "diagonals": lambda x, y, rng: waves(rng, x + y),
    "checks": lambda x, y, rng: waves(rng, x, y),
}


def draw(inside, rng):
    """One image (SIZE, SIZE, 3): any two colours that are not close, and noise."""
    while True:
        colours = rng.uniform(0, 255, size=(2, 3))
        if np.linalg.norm(colours[0] - colours[1]) > 90:
            break
    x, y = coordinates(rng)
    image = np.where(inside(x, y, rng)[:, :, np.newaxis], *colours)
    image += NOISE * rng.standard_normal(image.shape)
    return image.round().clip(0, 255).astype(np.uint8)


def main():
    rng = np.random.default_rng(0)
    for part, count in COUNTS.items():
        lines = []
        for label, (name, inside) in enumerate(CLASSES.items()):
            (FOLDER / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                file = f"{name}/{part}_{i:03}.png"
                Image.fromarray(draw(inside, rng)).save(FOLDER / file)
                lines.append(f"{file} {label}\n")
        Path(f"{part}.txt").write_text("".join(lines))
        print(f"{part}.txt: {len(lines)} images")


if __name__ == "__main__":
    main()
