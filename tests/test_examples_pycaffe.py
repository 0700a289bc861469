"""The examples that are pycaffe programs or hold layers in Python."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from pydl import caffe, formats

EXAMPLES = Path(__file__).parents[1] / "examples"


def pydl(*args, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "pydl", *map(str, args)], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lenet_from_python(tmp_path):
    script = EXAMPLES / "lenet_from_python" / "lenet.py"
    shown = pydl("run", script, "--iterations", "120", cwd=tmp_path)
    assert float(re.search(r"test accuracy: ([\d.]+)%", shown)[1]) > 80


def test_python_layers(tmp_path):
    folder = shutil.copytree(EXAMPLES / "python_layer", tmp_path / "run")
    pydl("train", "-solver", "solver.prototxt", "-allow_python", "-plot", "none", cwd=folder)
    weights = formats.load_weights(folder / "linear_regression_iter_200.caffemodel").blobs()["ip"]
    np.testing.assert_allclose(weights[0].ravel(), [1, 2, 3], atol=0.05)
    np.testing.assert_allclose(weights[1], -0.5, atol=0.05)


def test_net_surgery(tmp_path):
    """The map says at each digit's place what the classifier says of the digit alone."""
    net = caffe.Net(str(EXAMPLES / "mnist" / "lenet_deploy.prototxt"), caffe.TEST)
    for blobs in net.params.values():
        shape = blobs[0].data.shape
        scale = np.sqrt(2 / np.prod(shape[1:]))
        blobs[0].data[...] = scale * np.random.default_rng(0).standard_normal(shape)
    net.save(tmp_path / "weights")
    shown = pydl("run", EXAMPLES / "net_surgery" / "net_surgery.py", "weights", cwd=tmp_path)
    assert "map of scores (10, 9, 25)" in shown
    pairs = re.findall(r"a (\d); by itself: a (\d)", shown)
    assert len(pairs) == 3 and all(a == b for a, b in pairs)
