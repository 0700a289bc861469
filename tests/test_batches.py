"""pydl.data.batches, and Solver.step with inputs."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import pydl
import pydl.data

NET = """
layer { name: "data" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def test_each_pass_has_every_row_once_in_another_order():
    rows = {"data": np.arange(10.0)[:, None], "label": np.arange(10)}
    drawn = list(islice(pydl.data.batches(rows, 4, seed=3), 5))  # two passes
    assert [batch["data"].shape for batch in drawn] == [(4, 1)] * 5
    for batch in drawn:
        np.testing.assert_array_equal(batch["data"][:, 0], batch["label"])
    labels = np.concatenate([batch["label"] for batch in drawn])
    first, second = labels[:10], labels[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_the_seed_decides():
    rows = {"x": np.arange(50)}
    draw = [next(pydl.data.batches(rows, 50, seed=seed))["x"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert (draw[0] != draw[2]).any()


def test_a_batch_may_be_larger_than_the_set():
    batch = next(pydl.data.batches({"x": np.arange(3)}, 7))
    assert np.bincount(batch["x"]).min() >= 2 and len(batch["x"]) == 7


@pytest.mark.parametrize(
    ("arrays", "size", "message"),
    [
        ({"a": np.zeros(3), "b": np.zeros(4)}, 1, "equally many rows.*'a': 3, 'b': 4"),
        ({"a": np.zeros((0, 2))}, 1, "at least one"),
        ({"a": np.float32(1)}, 1, "at least one"),
        ({}, 1, "equally many rows"),
        ({"a": np.zeros(3)}, 0, "at least one row, got size 0"),
    ],
)
def test_bad_arguments(arrays, size, message):
    with pytest.raises(pydl.Error, match=message):
        pydl.data.batches(arrays, size)


def test_a_step_takes_inputs():
    solvers = [
        pydl.Solver(
            pydl.prototxt.new(
                "SolverParameter",
                net_param=pydl.prototxt.parse(NET, "NetParameter"),
                base_lr=0.1,
                lr_policy="fixed",
                random_seed=1,
            )
        )
        for _ in range(2)
    ]
    random = np.random.default_rng(1)
    x, t = random.normal(size=(2, 2, 3))
    for name, value in (("x", x), ("t", t)):
        solvers[0].net.blobs[name].data[...] = value
    assert solvers[0].step() == solvers[1].step(x=x, t=t)
    weights = [solver.net.params["fc"][0].data for solver in solvers]
    np.testing.assert_array_equal(*weights)
    with pytest.raises(pydl.Error, match='no input "z"; its inputs: x, t'):
        solvers[0].step(z=x)
