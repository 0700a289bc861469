"""examples/perceptron, x_or_o, function_fitting and activations: a few steps of each, and what
their lessons rest on."""

from __future__ import annotations

import re

import numpy as np
from example_runs import are_pictures, run_example


def test_perceptron(tmp_path):
    """AND and OR end without a mistake, XOR never; of the digits most are soon right."""
    shown = run_example("perceptron/perceptron.py", tmp_path, "--passes", "2", "--starts", "4")
    mistakes = {
        name: [int(count) for count in counts.split(", ")]
        for name, counts in re.findall(r"perceptron, (\w+): .*\[(.*)\]", shown)
    }
    assert mistakes["AND"][-1] == mistakes["OR"][-1] == 0
    assert len(mistakes["XOR"]) == 20 and min(mistakes["XOR"]) > 0
    assert "8 hidden units, XOR: learned from 4 of 4 start values" in shown
    assert float(re.search(r"([\d.]+)% of 200 other digits", shown)[1]) > 80
    assert are_pictures(tmp_path, "perceptron.png")


def test_perceptron_follows_rosenblatts_rule(module):
    """The same mistakes, and in the end the same weights, as the rule in numpy."""
    perceptron = module("perceptron", "perceptron")
    random = np.random.default_rng(1)
    points = random.normal(0, 1, (40, 3))
    labels = points @ [1, -2, 0.5] > 0.3
    start, _ = perceptron.learn(points, labels, most_passes=0)
    (w, b), mistakes = (np.array(blob.data, float) for blob in start.params["score"]), []
    while not mistakes or mistakes[-1]:
        mistakes.append(0)
        for point, target in zip(points, np.where(labels, 1, -1), strict=True):
            if target * (w[0] @ point + b[0]) < 0:
                w, b = w + target * point, b + target
                mistakes[-1] += 1
    net, found = perceptron.learn(points, labels, most_passes=1000)
    assert found == mistakes
    np.testing.assert_allclose(net.params["score"][0].data, w, rtol=1e-4)
    np.testing.assert_allclose(net.params["score"][1].data, b, rtol=1e-4)


def test_x_or_o(tmp_path):
    shown = run_example("x_or_o/x_or_o.py", tmp_path, "--iterations", "100")
    scores = dict(re.findall(r"^([\w, ]+): ([\d.]+)% of 2000", shown, re.MULTILINE))
    assert len(scores) == 5 and float(scores["filters made by hand"]) > 80
    assert are_pictures(tmp_path, "steps.png", "filters.png")
    assert (tmp_path / "learned_filters.caffemodel").exists()


def test_filters_made_by_hand_find_their_stroke(module):
    """Each is largest, and 1, on a black stroke of its own shape, and 0 on an even place."""
    x_or_o = module("x_or_o", "x_or_o")
    net = x_or_o.pydl.Net(x_or_o.NET)
    x_or_o.by_hand(net)
    shapes = np.array([shape > shape.mean() for shape in x_or_o.FILTERS.values()], float)
    places = np.zeros((5, 1, 24, 24))
    places[:4, 0, :7, :7], places[4] = shapes, 0.7
    net.forward(data=places)
    found = net.blobs["conv"].data[:, :, 0, 0]
    assert (found[:4].argmax(axis=0) == range(4)).all()
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-5)
    np.testing.assert_allclose(found[4], 0, atol=1e-6)


def test_function_fitting(tmp_path):
    """More iterations bring the net nearer to the surface."""
    shown = run_example("function_fitting/fit.py", tmp_path, "--iterations", "200", "--sets", "1")
    errors = [float(error) for error in re.findall(r"after \d+: error ([\d.]+)", shown)]
    assert len(errors) == 4 and errors[-1] < errors[0] / 2
    assert len(re.findall(r"hidden units: error", shown)) == 10
    assert are_pictures(tmp_path, "curve.png", "surface.png")


def test_activations(tmp_path):
    """Gradients vanish, explode or hold at the start; a run that diverges does not end the rest."""
    shown = run_example("activations/deep.py", tmp_path, "--iterations", "10")
    line = re.compile(r"^(\w+), ([\w. ]+): gradients (\S+) \.\.\. (\S+); (.*)$", re.MULTILINE)
    found = line.findall(shown)
    runs = {(kind, filler): (float(a), float(b), end) for kind, filler, a, b, end in found}
    assert len(runs) == 20
    assert runs["Sigmoid", "xavier"][1] < 1e-4 * runs["Sigmoid", "xavier"][0]
    assert runs["ReLU", "gaussian 1"][1] > 1e4 and "diverge" in runs["ReLU", "gaussian 1"][2]
    assert 0.1 < runs["ReLU", "msra"][0] / runs["ReLU", "msra"][1] < 10
    assert "| TanH |" in shown and are_pictures(tmp_path, "deep.png", "tanh.png")
