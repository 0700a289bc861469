"""Small pictures of an X or an O, no two alike."""

import numpy as np

SIZE = 24
NAMES = "XO"


def letters(count, seed):
    """Pictures (count, 1, 24, 24), 0 to 1 and some noise, and labels (count,), 0 for X, 1 for O."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    return np.stack([picture(label, random)[np.newaxis] for label in labels]), labels


def picture(label, random):
    """A letter of its own size, width, slant, place and stroke, in noise. (24, 24)"""
    radius = random.uniform(4.5, 8)
    x0, y0 = random.uniform(radius + 1, SIZE - 2 - radius, 2)
    angle, width = random.uniform(-0.25, 0.25), random.uniform(0.8, 1.25)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    x, y = (columns - x0) / width, rows - y0
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    away = from_cross(x, y, radius) if NAMES[label] == "X" else np.abs(np.hypot(x, y) - radius)
    ink = np.clip(random.uniform(1, 1.8) + 0.5 - away, 0, 1)
    return ink * random.uniform(0.6, 1) + random.normal(0, 0.15, ink.shape)


def from_cross(x, y, radius):
    """How far each place is from the nearer of two crossing strokes."""
    diagonals = []
    for along, across in (((x + y), (x - y)), ((x - y), (x + y))):
        beyond = np.maximum(np.abs(along) / np.sqrt(2) - radius, 0)
        diagonals.append(np.hypot(across / np.sqrt(2), beyond))
    return np.minimum(*diagonals)
