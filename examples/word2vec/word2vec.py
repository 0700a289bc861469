"""Words as vectors: skip-gram and CBOW with negative sampling read Shakespeare.

python examples/word2vec/word2vec.py [--passes N]
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
from picture import draw
from words import batches, cbow_windows, load, skip_gram_pairs, thinned

import pydl
from pydl.text import Vocabulary

FOLDER = Path(__file__).parent
SIZE, BATCH = 6000, 2048  # of the vocabulary and a batch, as the nets have them
MODELS = {"skip_gram": skip_gram_pairs, "cbow": cbow_windows}
SHOWN = ("king", "sword", "love", "death", "night", "eyes", "father", "ship")
GROUPS = {
    "family": "father mother son daughter brother sister wife husband uncle cousin",
    "body": "eye tongue hand head neck cheek lip arm face foot",
    "titles": "king queen duke prince lord lady earl emperor count captain",
    "nature": "sun moon sea wind earth sky rain storm fire water",
    "numbers": "two three four five six ten twenty thousand hundred seven",
    "time": "day night hour year week month morning summer winter minute",
}


def train(name, numbers, counts, passes):
    """The vectors (SIZE, dimensions) that a model learns in so many passes over the text."""
    random, start = np.random.default_rng(0), time.process_time()
    data = MODELS[name](thinned(numbers, counts, random), random)
    steps = len(data["target"]) // BATCH
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter", net=str(FOLDER / f"{name}.prototxt"), type="Adam", base_lr=0.003,
            momentum=0.9, lr_policy="poly", power=1.0, max_iter=steps * passes, random_seed=1,
        )
    )  # fmt: skip
    for k in range(passes):
        if k > 0:
            data = MODELS[name](thinned(numbers, counts, random), random)
        losses = []
        for batch in islice(batches(data, BATCH), steps):
            for blob, values in batch.items():
                solver.net.blobs[blob].data[...] = values
            losses.append(solver.step())
        print(f"{name}, pass {k + 1}: loss {np.mean(losses):.3f}, "
              f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip
    return solver.net.params["vectors"][0].data.copy()


def neighbours(vectors, vocabulary, word, count=6):
    """The words whose vectors point the most in the direction of the word's."""
    own = vocabulary.number(word)
    order = np.argsort(-(vectors @ vectors[own]))
    return [vocabulary.tokens[i] for i in order if i not in (0, own)][:count]


def in_their_group(vectors, vocabulary):
    """The share of the words of GROUPS whose nearest one among all of these is of their group."""
    words = [(word, group) for group, line in GROUPS.items() for word in line.split()]
    chosen = vectors[[vocabulary.number(word) for word, _ in words]]
    cosines = chosen @ chosen.T
    np.fill_diagonal(cosines, -1)
    groups = np.array([group for _, group in words])
    return float((groups[cosines.argmax(axis=1)] == groups).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=10, help="over the text")
    passes = parser.parse_args().passes
    text = load()
    vocabulary = Vocabulary.count(text, size=SIZE)
    numbers = vocabulary.encode(text)
    counts = np.bincount(numbers, minlength=SIZE)
    lines = (f"{token} {n}\n" for token, n in zip(vocabulary.tokens, counts, strict=True))
    Path("counts.txt").write_text("".join(lines))
    print(f"{len(numbers):,} words, of which {1 - counts[0] / len(numbers):.1%} are among the "
          f"{SIZE - 1:,} most frequent")  # fmt: skip
    vectors = {}
    for name in MODELS:
        learned = train(name, numbers, counts, passes)
        vectors[name] = learned / np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), 1e-9)
        for word in SHOWN:
            print(f"  {word}: {', '.join(neighbours(vectors[name], vocabulary, word))}")
        share = in_their_group(vectors[name], vocabulary)
        print(f"{name}: the nearest of {share:.0%} of 60 words is of their group")
    draw(vectors["skip_gram"], vocabulary, GROUPS, "words.png")
    print("words.png: the words of the groups, in the plane in which they differ most")


if __name__ == "__main__":
    main()
