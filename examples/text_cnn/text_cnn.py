"""A convolutional net for sentences (Kim 2014), with random, static and fine-tuned word vectors.

python examples/text_cnn/text_cnn.py [--iterations N] [--folds N]
"""

import argparse
import time

import numpy as np
from pictures import draw_accuracies
from reviews import glove, load, numbered

import pydl
from pydl.zoo import Builder

BATCH, PARTS = 50, 10
LABELLED = (250, 1000, None)  # sentences to train on; None: all but those of the test
HEIGHTS, FILTERS = (3, 4, 5), 100
VARIANTS = ("random", "static", "fine-tuned")
WORDS = ("bad", "good", "boring", "moving", "n't", "!")


def text_cnn(shape, tokens, size, learns):
    """Filters over 3, 4 and 5 words; what counts of each is its largest value in the sentence.

    Args:
        shape: of a batch, (sentences, words).
        tokens, size: of the vocabulary, and of a word's vector.
        learns: whether the vectors change.
    """
    net = Builder("text CNN", batch=shape[0], classes=2, train=True)
    words = net.layer(
        "Embed",
        "words",
        net.input("data", *shape),
        embed_param={
            "input_dim": tokens,
            "num_output": size,
            "bias_term": False,
            "weight_filler": {"type": "uniform", "min": -0.25, "max": 0.25},
        },
        param=[{"lr_mult": float(learns)}],
    )
    # (N, T, size) to (N, size, T): a word's values are its channels.
    channels = net.layer("Permute", "channels", words, permute_param={"order": [0, 2, 1]})
    found = []
    for height in HEIGHTS:
        blob = net.conv(f"conv{height}", channels, FILTERS, height, pad=height - 1)
        found.append(net.pool(f"max{height}", net.relu(f"relu{height}", blob), "MAX"))
    net.classifier(net.fc("score", net.dropout("dropout", net.concat("features", found)), 2))
    return net.message()


def learn(variant, vectors, train, test, iterations):
    """Accuracy on `test` after training on `train`, both (sentences, labels), and the words'
    vectors at the end."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=text_cnn((BATCH, train[0].shape[1]), *vectors.shape, variant != "static"),
            type="Adam",
            base_lr=0.001,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    words = solver.net.params["words"][0].data
    if variant != "random":
        words[...] = vectors
    batches = pydl.data.batches({"data": train[0], "label": train[1]}, BATCH, seed=1)
    for _ in range(iterations):
        solver.step(**next(batches))
    accuracy = solver.test_twin().forward(data=test[0], label=test[1])["accuracy"]
    return float(accuracy), np.array(words)


def neighbours(word, vocabulary, vectors, counts, number=5):
    """The words whose vectors have the least angles with that of `word`, of those that are there
    at least ten times."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    likeness = np.where(counts >= 10, units @ units[vocabulary.number(word)], -1)
    return vocabulary.decode(np.argsort(-likeness)[1 : number + 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--folds", type=int, default=3, help=f"of {PARTS} parts that test (3)")
    args = parser.parse_args()

    random = np.random.default_rng(1)
    sentences, labels = load()
    order = random.permutation(len(labels))
    sentences, labels = [sentences[i] for i in order], labels[order]
    numbers, vocabulary = numbered(sentences)
    vectors, known = glove(vocabulary, random)
    print(f"{len(labels)} sentences of up to {numbers.shape[1]} words; "
          f"{known} of {len(vocabulary)} words have a vector", flush=True)  # fmt: skip

    part, learned = np.arange(len(labels)) % PARTS, {}
    accuracies = {variant: [] for variant in VARIANTS}  # for each number of sentences
    start = time.process_time()
    for labelled in LABELLED:
        for variant in VARIANTS:
            scores = []
            for fold in range(args.folds):
                train = numbers[part != fold][:labelled], labels[part != fold][:labelled]
                test = numbers[part == fold], labels[part == fold]
                score, words = learn(variant, vectors, train, test, args.iterations)
                scores.append(score)
            accuracies[variant].append(scores)
            learned[variant] = words
            print(f"{len(train[1])} sentences, {variant} vectors: accuracy {np.mean(scores):.1%} "
                  f"({', '.join(f'{score:.1%}' for score in scores)}), "
                  f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip

    counts = np.bincount(numbers.ravel(), minlength=len(vocabulary))
    for word in WORDS:
        for variant in VARIANTS[1:]:
            near = neighbours(word, vocabulary, learned[variant], counts)
            print(f"{word}, {variant}: {' '.join(near)}")
    sizes = [labelled or int(np.sum(part != 0)) for labelled in LABELLED]
    draw_accuracies("text_cnn.png", sizes, accuracies)
    print("text_cnn.png: accuracy by the number of sentences to learn from")


if __name__ == "__main__":
    main()
