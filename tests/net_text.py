"""Short ways to write nets in tests, and to run them apart."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import pydl
from pydl import prototxt


def layer(layer_type, params="", bottoms="x", tops="y", name=None):
    """Prototxt of a layer, in a line; `bottoms` and `tops` are names separated by blanks."""
    lines = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name or tops}" type: "{layer_type}" {" ".join(lines)} {params} }}\n'


def conv(fields, **names):
    fields = f'num_output: {fields} weight_filler {{ type: "xavier" }}'
    return layer("Convolution", f"convolution_param {{ {fields} }}", **names)


def dense(outputs, bottoms="x", tops="y", name=None, params="", fields=""):
    fields = f'num_output: {outputs} weight_filler {{ type: "xavier" }} {fields}'
    params = f"{params} inner_product_param {{ {fields} }}"
    return layer("InnerProduct", params, bottoms, tops, name)


def input_layers(inputs):
    """An Input layer for each name, of the shape given or that of the array given."""
    text = ""
    for name, value in inputs.items():
        dims = " ".join(f"dim: {d}" for d in getattr(value, "shape", value))
        text += layer("Input", f"input_param {{ shape {{ {dims} }} }}", bottoms="", tops=name)
    return text


def make_net(text, inputs=None, phase="TRAIN", **options):
    """A net from prototxt, with Input layers in front."""
    message = prototxt.parse(input_layers(inputs or {}) + text)
    return pydl.Net(message, phase=phase, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fill_params(net, seed=0):
    """Gives all learnable blobs random values that depend on nothing but their order and shape."""
    rng = np.random.default_rng(seed)
    for row in net._core.param_rows():
        blob = net.params[row["layer"]][row["index"]]
        blob.data[...] = 0.5 * rng.standard_normal(blob.shape)


def recurrent_gradients(net, inputs, passes=1):
    """After `passes` backward passes from a fixed gradient of ``y``: those of ``x``, ``s`` and the
    learnable blobs of the layer ``y``."""
    net.forward(**inputs)
    net.blobs["y"].diff[...] = normal(*net.blobs["y"].shape, seed=2)
    for _ in range(passes):
        net._core.clear_param_diffs()
        net.backward()
    return [
        *(net.blobs[name].diff.copy() for name in ("x", "s")),
        *(param.diff.copy() for param in net.params["y"]),
    ]


def assert_alike_with_threads_and_passes(gradients, precision):
    """What gradients(threads, passes, precision) gives is the same, bit for bit, and not zero."""
    want = gradients(1, 1, precision)
    assert all(np.abs(g).max() > 1e-3 for g in want)
    for threads, passes in ((2, 1), (3, 1), (1, 2)):
        for a, b in zip(gradients(threads, passes, precision), want, strict=True):
            np.testing.assert_array_equal(a, b)


def assert_near_float32(rounded, exact, most):
    """Arrays in bfloat16 differ from those in float32, by at most that share of their length."""
    for got, want in zip(rounded, exact, strict=True):
        assert 1e-5 < np.linalg.norm(got - want) / np.linalg.norm(want) < most


def run_python(code, *args, **environment):
    """Runs Python code in a process of its own, in this folder; a failure shows its messages."""
    run = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert run.returncode == 0, run.stderr
    return run
