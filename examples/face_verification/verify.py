"""The same person or not? A net that learns from triplets of faces, tested on people it never saw.

python examples/face_verification/verify.py [--iterations N] [--folds N]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from faces import Triplets, distances, load, varied
from pictures import draw_pairs, draw_roc

import pydl

HERE = Path(__file__).parent
TRIPLETS, FOLDS, MINING = 32, 4, 50
WAYS = ("pixels", "eigenfaces", "triplet net")


def learn(faces, people, iterations):
    """The net in phase TEST, after learning from these faces."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net=str(HERE / "triplet.prototxt"),
            type="AdamW",
            base_lr=0.001,
            weight_decay=0.05,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    twin, triplets = solver.test_twin(), Triplets(people, seed=1)
    for i in range(1, iterations + 1):
        batch = faces[triplets.draw(TRIPLETS)]
        loss = solver.step(data=varied(batch, triplets.random)[:, None])
        if i % MINING == 0:
            triplets.mine(twin.predict(faces[:, None]))
        if i % 200 == 0 or i == iterations:
            print(f"{i}: loss {loss:.3f}", flush=True)
    return twin


def eigenfaces(learned, tested, count=40):
    """The first principal components (Turk and Pentland 1991)."""
    learned, tested = (faces.reshape(len(faces), -1) for faces in (learned, tested))
    mean = learned.mean(axis=0)
    axes = np.linalg.svd(learned - mean, full_matrices=False)[2][:count]
    return (tested - mean) @ axes.T


def rates(distance, same):
    """At each threshold, least first: the share of the pairs of different people taken for one
    person, and of the pairs of one person recognised, both (pairs,) from 0 to 1."""
    ordered = same[np.argsort(distance, kind="stable")]
    return np.cumsum(~ordered) / np.sum(~same), np.cumsum(ordered) / np.sum(same)


def equal_error_rate(distance, same):
    """The share of both kinds of errors where it is the same."""
    false, true = rates(distance, same)
    at = np.argmin(np.abs(false + true - 1))
    return float((false[at] + 1 - true[at]) / 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"up to {FOLDS}, of ten people")
    args = parser.parse_args()

    faces, people = load()
    group = np.random.default_rng(1).permutation(40)[people - 1] % FOLDS
    pairs, pictures, whose, start = {way: [] for way in WAYS}, [], [], time.process_time()
    for fold in range(args.folds):
        learned, tested = faces[group != fold], faces[group == fold]
        net = learn(learned, people[group != fold], args.iterations)
        points = (tested.reshape(len(tested), -1), eigenfaces(learned, tested),
                  net.predict(tested[:, None]))  # fmt: skip
        first, second = np.triu_indices(len(tested), 1)
        whose.append(np.stack([people[group == fold][i] for i in (first, second)], axis=1))
        same = whose[-1][:, 0] == whose[-1][:, 1]
        for way, found in zip(WAYS, points, strict=True):
            pairs[way].append((distances(found)[first, second], same))
        pictures.append(np.stack([tested[first], tested[second]], axis=1))
        print(f"fold {fold + 1}: {time.process_time() - start:.0f} s", flush=True)

    pairs = {way: tuple(map(np.concatenate, zip(*parts, strict=True)))
             for way, parts in pairs.items()}  # fmt: skip
    distance, same = pairs[WAYS[-1]]
    print(f"{np.sum(same)} pairs of one person, {np.sum(~same)} of two, none seen in training")
    for way, found in pairs.items():
        print(f"equal error rate {equal_error_rate(*found):.1%}: {way}")
    draw_roc("roc.png", {way: rates(*found) for way, found in pairs.items()})
    draw_pairs("pairs.png", np.concatenate(pictures), np.concatenate(whose), distance)
    print("roc.png: people recognised by people mistaken for others\n"
          "pairs.png: the nearest and the farthest pairs of one person, and of two")  # fmt: skip


if __name__ == "__main__":
    main()
