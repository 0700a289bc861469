"""examples/dbn, deep_autoencoder, autoencoders, vae, gan and style: a few steps of each, and what
they reckon with."""

from __future__ import annotations

import re

import numpy as np
import pytest
from example_runs import EXAMPLES, are_pictures, run_example

import pydl


@pytest.fixture
def fashion_mnist():
    try:
        pydl.data.load("fashion_mnist")
    except pydl.Error as missing:
        pytest.skip(str(missing))


def test_dbn(tmp_path):
    """Pre-trained weights are ahead where there are 500 labels or fewer."""
    flags = ["--iterations", "60", "--pretraining", "150", "--seeds", "1"]
    shown = run_example("dbn/few_labels.py", tmp_path, *flags)
    means = dict(re.findall(r"^(pre-trained|random): (.*) % on average", shown, re.MULTILINE))
    pretrained, random = (np.array(means[name].split(), float) for name in means)
    assert list(means) == ["pre-trained", "random"] and len(random) == 6
    assert (pretrained[:4] < random[:4]).all() and pretrained[3] < 25
    assert are_pictures(tmp_path, "few_labels.png", "filters.png")


def test_dbn_prototxt():
    """The solver that README names for `pydl train`."""
    dbn = pydl.DBN.load(EXAMPLES / "dbn" / "dbn_solver.prototxt")
    assert [layer.name for layer in dbn._rbms] == ["rbm1", "rbm2"]


def test_deep_autoencoder(tmp_path):
    flags = ["--iterations", "60", "--pretraining", "60"]
    shown = run_example("deep_autoencoder/deep_autoencoder.py", tmp_path, *flags)
    errors = dict(re.findall(r"a test digit, (.*): ([\d.]+)$", shown, re.MULTILINE))
    errors = {name: float(error) for name, error in errors.items()}
    assert errors["deep autoencoder, pre-trained"] < errors["deep autoencoder, random start"]
    assert errors["30 principal components"] == pytest.approx(14.39, abs=0.1)
    assert are_pictures(tmp_path, "deep_autoencoder.png")
    assert (tmp_path / "deep_autoencoder.caffemodel").exists()


def test_autoencoders(tmp_path):
    shown = run_example("autoencoders/autoencoders.py", tmp_path, "--iterations", "200")
    line = r"^(\w+): squared error ([\d.]+) .*, ([\d.]+) of noisy ones; mean activity ([\d.]+)$"
    found = {kind: [float(x) for x in rest] for kind, *rest in re.findall(line, shown, re.M)}
    assert list(found) == ["plain", "denoising", "sparse", "convolutional"]
    assert all(max(copy, noisy) < 60 for copy, noisy, _ in found.values())
    assert found["convolutional"][0] < found["plain"][0]
    assert found["sparse"][2] < 0.5 * found["plain"][2]
    assert are_pictures(tmp_path, "autoencoders.png")


def test_vae(tmp_path):
    flags = ["--iterations", "150", "--data", "mnist_sample"]
    shown = run_example("vae/vae.py", tmp_path, *flags)
    bounds = re.findall(
        r"ELBO (-[\d.]+) .*\(reconstruction (-[\d.]+), divergence ([\d.]+)\)", shown
    )
    for bound, reconstruction, divergence in np.array(bounds, float):
        assert bound == pytest.approx(reconstruction - divergence, abs=0.11)
        assert bound > -220 and divergence > 0
    assert len(bounds) == 2 and are_pictures(tmp_path, "vae.png", "map.png")


def test_the_decoder_is_that_of_the_vae():
    """Weights of one fit the other."""
    nets = [pydl.prototxt.load_net(EXAMPLES / "vae" / f"{n}.prototxt") for n in ("vae", "decoder")]
    outputs = [
        {layer.name: layer.inner_product_param.num_output for layer in net.layer
         if layer.type == "InnerProduct"}
        for net in nets
    ]  # fmt: skip
    assert outputs[1].items() <= outputs[0].items() and len(outputs[1]) == 2


def test_gan(tmp_path, fashion_mnist):
    flags = ["--iterations", "3", "--passes", "0.1", "--pictures", "200"]
    shown = run_example("gan/gan.py", tmp_path, *flags)
    distances = re.findall(r"^(.*): Fréchet distance ([\d.]+), classifier score", shown, re.M)
    distances = {name: float(value) for name, value in distances}
    assert list(distances) == ["real pictures", "gan, 3 iterations", "dcgan, 3 iterations"]
    assert distances["real pictures"] == min(distances.values())
    assert are_pictures(tmp_path, "gan.png")


def test_frechet_distance(module):
    """Against its closed form for independent values, and of rotated ones."""
    score = module("gan", "score")
    random = np.random.default_rng(0)
    m1, m2, s1, s2 = random.uniform(1, 2, (4, 5))
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0]
    one, other = ((turn @ m, turn @ np.diag(s**2) @ turn.T) for m, s in ((m1, s1), (m2, s2)))
    want = ((m1 - m2) ** 2 + (s1 - s2) ** 2).sum()
    assert score.frechet(one, other) == pytest.approx(want)
    assert score.frechet(one, one) == pytest.approx(0, abs=1e-9)


def test_style(tmp_path):
    """The loss falls, and the pictures come out."""
    for package in ("skimage", "sklearn", "scipy"):
        pytest.importorskip(package)
    flags = ["--training", "3", "--iterations", "3", "--steps", "2", "--height", "64"]
    shown = run_example("style/style.py", tmp_path, *flags)
    losses = np.array(re.findall(r"loss from ([\d.]+) to ([\d.]+)", shown), float)
    assert len(losses) == 3 and (losses[:, 1] < losses[:, 0]).all()
    assert are_pictures(tmp_path, "style.png", "dream.png")


def test_the_gradient_of_a_picture(module, monkeypatch, tmp_path):
    """As differences of the loss have it."""
    nets = module("style", "nets")
    monkeypatch.chdir(tmp_path)
    pydl.Net(nets.classifier(1, 48, 15), phase="TRAIN").save(nets.WEIGHTS)

    def add_losses(net):
        products = net.layer("Gram", "products", "conv2_1")
        net.layer("Reduction", "size", products, loss_weight=[3],
                  reduction_param={"operation": "SUMSQ"})  # fmt: skip
        net.layer("TotalVariationLoss", "smooth", "picture", loss_weight=[1e-3])

    net = nets.objective(12, 16, add_losses)
    random = np.random.default_rng(0)
    picture, way = random.normal(size=(2, 1, 3, 12, 16)).astype(np.float32)
    _, gradient = nets.loss_and_gradient(net, picture)
    ends = [nets.loss_and_gradient(net, picture + sign * 1e-3 * way)[0] for sign in (1, -1)]
    assert (gradient * way).sum() == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=0.02)
