"""Fillers against what Caffe fills: numbers, or statistics of random ones; and Dropout's edges."""

import json
from pathlib import Path

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error

# What Caffe gave: values, or statistics of one draw.
STATS = json.loads((Path(__file__).parent / "golden" / "stats.json").read_text())
FILLERS = {key: want for key, want in STATS.items() if key.startswith("filler/")}
DROPOUTS = {key: want for key, want in STATS.items() if key.startswith("dropout_train/")}


def filled(filler, *shape, seed=1):
    dims = " ".join(f"dim: {d}" for d in shape)
    params = f"dummy_data_param {{ shape {{ {dims} }} data_filler {{ {filler} }} }}"
    net = make_net(layer("DummyData", params, bottoms=""), seed=seed)
    return net.forward()["y"]


@pytest.mark.parametrize("key", [key for key, want in FILLERS.items() if "shape" in want])
def test_fills_as_caffe_does(key):
    want = FILLERS[key]
    got = filled(want["filler"], *want["shape"])
    if "values" in want:
        np.testing.assert_allclose(got.ravel(), want["values"], rtol=1e-6)
        return
    # Six standard errors of the difference of two draws; a sparse one's are those of its size.
    error = 6 * np.sqrt(2 / got.size)
    assert got.mean() == pytest.approx(want["mean"], abs=error * want["std"])
    assert got.std() == pytest.approx(want["std"], rel=0.1 if want["zeros"] else 1.5 * error)
    assert (got == 0).mean() == pytest.approx(want["zeros"], abs=0.01)
    if "row_sums" in want:
        np.testing.assert_allclose(got.sum(axis=1), want["row_sums"], rtol=1e-6)
    if "uniform" in want["filler"] or "xavier" in want["filler"]:
        np.testing.assert_allclose([got.min(), got.max()], [want["min"], want["max"]], rtol=5e-3)


@pytest.mark.parametrize(
    ("key", "shape"),
    [("bilinear_2d", (3, 3)), ("bilinear_nonsquare", (1, 1, 3, 4)), ("unknown", (3,))],
)
def test_refuses_what_caffe_refuses(key, shape):
    assert "refused" in FILLERS[f"filler/{key}"]
    with pytest.raises(Error):
        filled(FILLERS[f"filler/{key}"]["filler"], *shape)


@pytest.mark.parametrize("key", DROPOUTS)
def test_dropout_in_training(key):
    want, ratio = DROPOUTS[key], key.split("/")[1]
    text = layer("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}")
    net = make_net(text + "force_backward: true", {"x": (200, 100)})
    y = np.array(net.forward(x=np.ones((200, 100)))["y"])
    np.testing.assert_allclose(np.unique(y), want["values"], rtol=1e-6)
    assert (y != 0).mean() == pytest.approx(want["kept"], abs=0.02)
    net.blobs["y"].diff[...] = 2
    net.backward()
    dx = net.blobs["x"].diff
    np.testing.assert_allclose(np.unique(dx), want["grad_values"], rtol=1e-6)
    assert np.array_equal(dx != 0, y != 0) == want["same_mask"]


# Caffe's own values.
@pytest.mark.parametrize(
    ("size", "row"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
        (8, [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125]),
    ],
)
def test_bilinear(size, row):
    got = filled("type: 'bilinear'", 2, 3, size, size)
    np.testing.assert_allclose(got, np.broadcast_to(np.outer(row, row), got.shape), rtol=1e-6)


# n inputs and m outputs of a (64, 32, 5, 5) blob: 800 and 1600.
@pytest.mark.parametrize(("norm", "n"), [("FAN_IN", 800), ("FAN_OUT", 1600), ("AVERAGE", 1200)])
def test_variance_norms(norm, n):
    got = filled(f"type: 'xavier' variance_norm: {norm}", 64, 32, 5, 5)
    assert np.abs(got).max() == pytest.approx(np.sqrt(3 / n), rel=1e-3)
    assert got.std() == pytest.approx(np.sqrt(1 / n), rel=0.02)
    got = filled(f"type: 'msra' variance_norm: {norm}", 64, 32, 5, 5)
    assert got.std() == pytest.approx(np.sqrt(2 / n), rel=0.02)


def test_one_axis_is_all_outputs():
    got = filled("type: 'xavier'", 5000)
    assert np.abs(got).max() == pytest.approx(np.sqrt(3), rel=1e-2)
    got = filled("type: 'xavier' variance_norm: FAN_OUT", 5000)
    assert np.abs(got).max() == pytest.approx(np.sqrt(3 / 5000), rel=1e-2)


def test_uniform_gaussian_sparse_unitball():
    got = filled("type: 'uniform' min: -0.3 max: 0.9", 64, 800)
    assert -0.3 <= got.min() < -0.29 and 0.89 < got.max() <= 0.9
    got = filled("type: 'gaussian' mean: 0.5 std: 0.2", 64, 800)
    assert got.mean() == pytest.approx(0.5, abs=0.005) and got.std() == pytest.approx(0.2, rel=0.02)
    got = filled("type: 'gaussian' sparse: 15", 200, 100)
    assert (got != 0).mean() == pytest.approx(15 / 200, rel=0.1)
    got = filled("type: 'positive_unitball'", 6, 50)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("filler", "shape", "message"),
    [
        ("type: 'bilinear'", (3, 3), "4-axis"),
        ("type: 'bilinear'", (1, 1, 3, 4), "square"),
        ("type: 'gaussian' sparse: -2", (3, 3), "sparse must be -1 or more"),
        ("type: 'xavier' sparse: 2", (3, 3), "sparse goes with gaussian"),
        ("type: 'uniform' min: 2", (3, 3), "min 2 is larger than max 1"),
        ("type: 'msrb'", (3, 3), 'did you mean "msra"'),
    ],
)
def test_refuses(filler, shape, message):
    with pytest.raises(Error, match=message):
        filled(filler, *shape)


@pytest.mark.parametrize(("ratio", "kept"), [(0, 1), (1, 0)])
def test_dropout_of_nothing_and_of_everything(ratio, kept):
    text = layer("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}")
    net = make_net(text + "force_backward: true", {"x": (3, 50)})
    x = normal(3, 50)
    np.testing.assert_array_equal(net.forward(x=x)["y"], kept * x)
    net.blobs["y"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, kept)
    test = make_net(text, {"x": (3, 50)}, phase="TEST")
    np.testing.assert_array_equal(test.forward(x=x)["y"], x)
