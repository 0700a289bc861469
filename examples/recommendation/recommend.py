"""Films for people: matrix factorisation, and Wide & Deep, against the mean ratings.

python examples/recommendation/recommend.py [--dslabs FOLDER]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from pictures import draw
from ratings import load

import pydl

HERE = Path(__file__).parent
BATCH = 256
OFTEN = 50  # ratings of a film that is named
# Passes over the ratings, and the decay: with these each did best on a part of the training set.
NETS = {"matrix factorization": (15, 0.7), "wide and deep": (4, 0.1)}
FILMS = ("Toy Story", "Star Wars: Episode IV - A New Hope", "Pulp Fiction", "Titanic", "Alien",
         "Lord of the Rings: The Fellowship of the Ring, The", "Finding Nemo")  # fmt: skip


def biases(data, rows, mean, damping=5):
    """What each user and each film adds to the mean, drawn to 0 where there are few ratings."""
    rest = data.rating[rows] - mean
    user = damped_means(data.user[rows], rest, data.user.max() + 1, damping)
    rest = rest - user[data.user[rows]]
    return user, damped_means(data.movie[rows], rest, len(data.titles), damping)


def damped_means(groups, values, count, damping):
    sums, numbers = (np.bincount(groups, w, minlength=count) for w in (values, None))
    return sums / (numbers + damping)


def rmse(predicted, true):
    """Of ratings, which are 0.5 to 5."""
    return float(np.sqrt(np.mean((np.clip(predicted, 0.5, 5) - true) ** 2)))


def learn(name, data, rows, passes, decay):
    """The net in phase TEST, after learning from these rows of the ratings without their mean."""
    iterations = passes * len(rows) // BATCH
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net=str(HERE / f"{name.replace(' ', '_')}.prototxt"),
            type="AdamW",
            base_lr=0.003,
            weight_decay=decay,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    rating = data.rating[rows] - data.rating[rows].mean()
    known = data.inputs(solver.net, data.user[rows], data.movie[rows], rating)
    batches = pydl.data.batches(known, BATCH, seed=1)
    for _ in range(iterations):
        solver.step(**next(batches))
    return solver.test_twin()


def predict(net, data, rows):
    """What the users of these rows would give their films, less the mean."""
    net.forward(**data.inputs(net, data.user[rows], data.movie[rows]))
    return np.array(net.blobs["score"].data)


def nearest(vectors, movie, among, number=5):
    """Of the films `among`, those whose vectors have the least angles with that of `movie`."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    order = among[np.argsort(-(units[among] @ units[movie]))]
    return [other for other in order if other != movie][:number]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dslabs", help="folder of R's package dslabs, where it is not found")
    args = parser.parse_args()

    data = load(args.dslabs)
    order = np.random.default_rng(1).permutation(len(data.rating))
    tested, rows = np.split(order, [len(order) // 10])
    mean, true = data.rating[rows].mean(), data.rating[tested]
    print(f"{len(order)} ratings of {len(data.titles)} films by {data.user.max() + 1} people; "
          f"{len(tested)} to test on")  # fmt: skip
    user, film = biases(data, rows, mean)
    errors = {
        "mean": rmse(mean, true),
        "means of users and films": rmse(
            mean + user[data.user[tested]] + film[data.movie[tested]], true
        ),
    }
    nets = {}
    for name, (passes, decay) in NETS.items():
        start = time.process_time()
        nets[name] = learn(name, data, rows, passes, decay)
        errors[name] = rmse(mean + predict(nets[name], data, tested), true)
        print(f"{name}: learned in {time.process_time() - start:.1f} s", flush=True)
    for name, error in errors.items():
        print(f"RMSE {error:.3f}: {name}")

    vectors = nets["matrix factorization"].params["movie_vector"][0].data
    counts = np.bincount(data.movie[rows], minlength=len(data.titles))
    often = np.flatnonzero(counts >= OFTEN)
    for title in (title for title in FILMS if title in data.titles):
        near = nearest(vectors, data.titles.index(title), often)
        print(f"{title}: {'; '.join(data.titles[movie] for movie in near)}")
    shown = np.argsort(-counts)[:40]
    draw("recommendation.png", errors, vectors[shown], [data.titles[movie] for movie in shown])
    print("recommendation.png: the errors, and the films with the most ratings on a map")


if __name__ == "__main__":
    main()
