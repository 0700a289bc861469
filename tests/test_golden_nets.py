"""Nets of full size against summaries of what Caffe computed, weights and inputs by a recipe."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

import pydl.caffe as caffe

FOLDER = Path(__file__).parent / "golden" / "nets_full"


def draw(text):
    return np.random.RandomState(zlib.crc32(text.encode()) & 0x7FFFFFFF)


def made(summary, path):
    """The net with the recipe's weights and inputs."""
    net = caffe.Net(str(path), caffe.TRAIN if summary["phase"] == "TRAIN" else caffe.TEST)
    for layer, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            deviation = 0.1 if i else np.sqrt(2 / (blob.count / blob.shape[0]))
            blob.data[...] = draw(f"{layer}/{i}").randn(*blob.shape) * deviation
    for name, shape in summary["inputs"].items():
        random = draw(f"input/{name}")
        is_label = name == "label"
        net.blobs[name].reshape(*shape)
        values = random.randint(0, summary["classes"], shape) if is_label else random.randn(*shape)
        net.blobs[name].data[...] = values
    return net


def compare(got, want, name, tolerance, l2):
    assert list(got.shape) == want["shape"], name
    flat = got.ravel().astype(np.float64)
    most = max(abs(want["min"]), abs(want["max"]))
    assert np.linalg.norm(flat) == pytest.approx(want["l2"], rel=l2), name
    step = want["sample_step"]
    sample = flat[::step][: len(want["sample"])]
    np.testing.assert_allclose(sample, want["sample"], atol=tolerance * most, rtol=0, err_msg=name)
    for key in ("min", "max"):
        assert getattr(flat, key)() == pytest.approx(want[key], abs=tolerance * most), (name, key)
    if flat.size:
        assert flat[want["argmax"]] == pytest.approx(want["max"], abs=tolerance * most), name


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_summaries(name):
    summary = json.loads((FOLDER / f"{name}.json").read_text())
    net = made(summary, FOLDER / f"{name}.prototxt")
    net.forward()
    assert set(summary["blobs"]) <= set(net.blobs)
    for blob, want in summary["blobs"].items():
        compare(net.blobs[blob].data, want, blob, 1e-5, 1e-5)
    if "param_diffs" not in summary:
        return
    net.clear_param_diffs()
    net.backward()
    for key, want in summary["param_diffs"].items():
        layer, i = key.rsplit("/", 1)
        # Single choices of pooling and ReLU may differ in the last bit, and so their gradients.
        compare(net.params[layer][int(i)].diff, want, key, 1e-2, 1e-3)
