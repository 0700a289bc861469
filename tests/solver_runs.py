"""A small classifier in training: nets, batches and solvers for tests."""

import numpy as np
from net_text import conv, dense, fill_params, input_layers, layer, make_net

from pydl import _core, prototxt

BATCH, FEATURES, CLASSES = 6, 5, 3
TEXT = (
    dense(4, "x", "h", "first", "param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }")
    + layer("TanH", bottoms="h", tops="h", name="squash")
    + dense(CLASSES, "h", "f", name="second", params="param { decay_mult: 3 }")
    + layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
)
SHAPES = {"x": (BATCH, FEATURES), "t": (BATCH,)}


def batch(k):
    rng = np.random.default_rng(100 + k)
    return {"x": rng.standard_normal((BATCH, FEATURES)), "t": rng.integers(0, CLASSES, BATCH)}


def feed(net, first=0):
    """Gives the net batch after batch."""
    batches = iter(range(first, 10**6))

    def before(index):
        if index == 0:
            for name, value in batch(next(batches)).items():
                net.blobs[name].data[...] = value

    net._core.before_forward(before)


def make_solver(text=TEXT, shapes=SHAPES, seed=0, fed=True, first=0, **fields):
    net = make_net(text, shapes)
    fill_params(net, seed)
    if fed:
        feed(net, first)
    solver = _core.Solver({"base_lr": 0.1, "max_iter": 100} | fields, net._core)
    return solver, net


def params_of(net):
    return {
        f"{row['layer']}/{row['index']}": np.array(net.params[row["layer"]][row["index"]].data)
        for row in net._core.param_rows()
    }


def assert_params_equal(got, want):
    assert list(got) == list(want)
    for key in want:
        np.testing.assert_array_equal(got[key], want[key], err_msg=key)


def solver_message(text=TEXT, shapes=SHAPES, **fields):
    message = prototxt.parse('base_lr: 0.1 lr_policy: "fixed" max_iter: 8', "SolverParameter")
    message.net_param.CopyFrom(prototxt.parse(input_layers(shapes) + text))
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


# With a Data layer, crops, mirrors and Dropout

CONV_TEXT = (
    conv("4 kernel_size: 3", tops="c")
    + layer("ReLU", bottoms="c", tops="c", name="r")
    + layer("Dropout", bottoms="c", tops="c", name="d")
    + dense(10, "c", "f")
    + layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
)
DATA = """
layer { name: "data" type: "Data" top: "x" top: "t"
  transform_param { scale: 0.00390625 crop_size: 24 mirror: true }
  data_param { source: "mnist_sample/train" batch_size: 16 } }
"""
RULES = {
    "momentum": 0.9, "weight_decay": 5e-4, "lr_policy": "multistep", "gamma": 0.5,
    "stepvalue": [3, 6],
}  # fmt: skip


def data_solver(seed=0, **fields):
    return make_solver(DATA + CONV_TEXT, {}, seed, fed=False, **(RULES | fields))
