"""Scenes: handwritten digits in colours of their own on patterned backgrounds, and their masks."""

import numpy as np

SIZE = 64
CLASSES = ["background", *(f"digit {digit}" for digit in range(10))]


class Scenes:
    """Scenes without end, made of a set's digits.

    Args:
        digits: (N, 1, 28, 28), 0 to 255.
        labels: (N,), 0 to 9.
        seed: scenes are a function of it.
    """

    def __init__(self, digits, labels, seed):
        self.digits, self.labels = np.asarray(digits)[:, 0] / 255, np.asarray(labels)
        self.random = np.random.default_rng(seed)

    def batch(self, count):
        """Images (count, 3, 64, 64), 0 to 255, and classes (count, 1, 64, 64), 0 to 10."""
        images, masks = zip(*(self.scene() for _ in range(count)), strict=True)
        return np.stack(images), np.stack(masks)[:, None]

    def scene(self):
        """One to four digits, which do not touch."""
        image, mask = self.background(), np.zeros((SIZE, SIZE), int)
        places = []
        for _ in range(self.random.integers(1, 5)):
            place = self.random.integers(0, SIZE - 27, 2)
            if all(np.abs(place - other).max() >= 26 for other in places):
                places.append(place)
                self.paste(image, mask, *place)
        return np.clip(image, 0, 255), mask

    def paste(self, image, mask, row, column):
        which = self.random.integers(len(self.digits))
        ink = self.digits[which]
        part = image[:, row : row + 28, column : column + 28]
        under = part.mean(axis=(1, 2))
        away = self.random.uniform(70, 140, 3) * (1 if under.mean() < 128 else -1)
        part += ink * ((under + away)[:, None, None] - part)
        mask[row : row + 28, column : column + 28][ink > 0.4] = self.labels[which] + 1

    def background(self):
        """Blotches, stripes and grain around a colour."""
        rows, columns = np.mgrid[:SIZE, :SIZE]
        angle, wave = self.random.uniform(0, np.pi), self.random.uniform(0.2, 1.2)
        stripes = np.sin(wave * (rows * np.cos(angle) + columns * np.sin(angle)))
        blotches = enlarged(self.random.normal(0, 18, (3, 5, 5)))
        grain = self.random.normal(0, 6, (3, SIZE, SIZE))
        colour = self.random.uniform(40, 215, (3, 1, 1))
        return colour + blotches + self.random.uniform(0, 18) * stripes + grain


def enlarged(grid):
    """(C, n, n) to (C, 64, 64), linearly."""
    at = np.linspace(0, grid.shape[1] - 1, SIZE)
    low = np.minimum(at.astype(int), grid.shape[1] - 2)
    part = at - low
    rows = grid[:, low] * (1 - part)[:, None] + grid[:, low + 1] * part[:, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
