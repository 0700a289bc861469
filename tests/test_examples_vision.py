"""examples/fashion_mnist, depth, transfer and regularisation: a few steps of each on the built-in
digits, and what their lessons rest on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from example_runs import EXAMPLES, are_pictures, run_example

import pydl


def test_family(tmp_path):
    """A net trained before in the folder is drawn with those of today, and can be used."""
    flags = ["--data", "mnist_sample", "--nets"]
    run_example("fashion_mnist/family.py", tmp_path, *flags, "resnet", "--passes", "0.04")
    shown = run_example("fashion_mnist/family.py", tmp_path, *flags, "lenet", "--passes", "1")
    accuracy = float(re.search(r"lenet: ([\d.]+)% right, 431,080 weights", shown)[1])
    assert accuracy > 60 and "what lenet takes for what" in shown
    assert are_pictures(tmp_path, "family.png", "confusions.png")
    runs = {name: np.load(tmp_path / f"{name}_run.npz") for name in ("lenet", "resnet")}
    assert {len(run["losses"]) for run in runs.values()} == {31, 1}
    right = 100 * np.mean(runs["lenet"]["found"] == pydl.data.load("mnist_sample")[3])
    assert right == pytest.approx(accuracy, abs=1)  # of the weights in float32


@pytest.mark.parametrize("name", ["alexnet", "vgg", "googlenet", "densenet"])
def test_family_member_learns_the_pictures_it_is_shown(module, name):
    nets = module("fashion_mnist", "nets")
    net = pydl.zoo.Builder(name, batch=10, classes=10, train=True)
    net.classifier(getattr(nets, name)(net, net.input("data", 10, 1, 28, 28)))
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter", net_param=net.message(), type="Adam", base_lr=0.001,
            lr_policy="fixed", momentum=0.9, random_seed=1,
        )
    )  # fmt: skip
    images, _, _, _ = pydl.data.load("mnist_sample")
    solver.net.blobs["data"].data[...] = (images[:10] - 33.0) / 78
    solver.net.blobs["label"].data[...] = np.arange(10)
    first = solver.step()
    assert min(solver.step() for _ in range(30)) < first / 2


def test_depth(tmp_path):
    flags = ["--data", "mnist_sample", "--iterations", "4", "--depths", "8", "14"]
    shown = run_example("depth/depth.py", tmp_path, *flags)
    named = re.findall(r"(\w+ \d+): training error [\d.]+ %, test error [\d.]+ %", shown)
    assert named == ["plain 8", "plain 14", "residual 8", "residual 14"]
    assert are_pictures(tmp_path, "depth.png")


@pytest.mark.parametrize("depth", [20, 32, 56])
def test_deep_nets_have_as_many_layers_as_they_say(module, depth):
    """The longest way through them, that of the convolutions and the last layer; shortcuts add
    none."""
    deep = module("depth", "depth").deep
    for residual in (False, True):
        layers = deep(depth, residual, "mnist_sample").layer
        weighted = [layer for layer in layers if layer.type in ("Convolution", "InnerProduct")]
        sides = [layer for layer in weighted if layer.name.endswith("_side")]
        assert len(weighted) - len(sides) == depth
        assert len(sides) == (2 if residual else 0)
        sums = [layer for layer in layers if layer.type == "Eltwise"]
        assert len(sums) == (residual and (depth - 2) // 2)


def test_transfer(tmp_path):
    pytest.importorskip("sklearn")
    flags = ["--draws", "1", "--counts", "2", "50", "--iterations", "100"]
    shown = run_example("transfer/transfer.py", tmp_path, *flags)
    found = {
        name: [float(share) for share in shares.split("%, ")]
        for name, shares in re.findall(r"(.+): ([\d.]+%.*)%", shown)
    }
    assert {"net from scratch", "net of 0 to 4, fine-tuned"} < found.keys()
    assert all(few < many and many > 50 for few, many in found.values())
    assert are_pictures(tmp_path, "transfer.png")


def test_regularisation(tmp_path):
    flags = ["--seeds", "1", "--iterations", "60", "--only", "none", "shifts", "noise on inputs"]
    shown = run_example("regularisation/study.py", tmp_path, *flags)
    errors = dict(re.findall(r"(.+): test error ([\d.]+)", shown))
    assert list(errors) == ["none", "shifts", "noise on inputs"]
    assert all(float(error) < 40 for error in errors.values())
    assert are_pictures(tmp_path, "regularisation.png")


def test_each_variation_makes_a_net_that_learns(module, tmp_path, monkeypatch):
    """The table is fit to use, and each entry differs from the plain net in what it says."""
    study = module("regularisation", "study")
    monkeypatch.chdir(tmp_path)
    plain = str(study.net_of(study.VARIATIONS["none"]))
    for name, variation in study.VARIATIONS.items():
        study.write_sets(0, variation.margin)
        net = study.net_of(variation)
        solver = pydl.Solver(
            EXAMPLES / "regularisation/solver.prototxt", net_param=net, **variation.solver
        )
        assert np.isfinite(solver.step(2)), name
        assert bool(variation.solver) or (str(net) == plain) == (name == "none"), name
