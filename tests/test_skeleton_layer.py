"""The test to copy with csrc/layers/skeleton.cpp: values against numpy, gradients, bad input."""

import numpy as np
import pytest

import pydl
from pydl.gradient_check import check_gradients

TYPE, FIELD = "Skeleton", "skeleton_param"


def make_net(shape, params=None, in_place=False):
    """An Input layer and the layer under test, as plain data."""
    top = "x" if in_place else "y"
    return pydl.Net(
        {
            "name": "test",
            "force_backward": True,
            "layers": [
                {
                    "name": "x",
                    "type": "Input",
                    "top": ["x"],
                    "params": {"input_param": {"shape": [{"dim": list(shape)}]}},
                },
                {
                    "name": "layer",
                    "type": TYPE,
                    "bottom": ["x"],
                    "top": [top],
                    "params": {FIELD: params or {}},
                },
            ],
        }
    )


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (2, 3, 4, 5), (7,)])
@pytest.mark.parametrize("in_place", [False, True])
def test_forward(shape, in_place):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (y,) = make_net(shape, {"factor": 3}, in_place).forward(x=x).values()
    np.testing.assert_allclose(y, 3 * x, rtol=1e-6)


def test_default():
    (y,) = make_net((2, 2)).forward(x=np.ones((2, 2))).values()
    assert (y == 2).all()


def test_gradients():
    check_gradients(make_net((2, 3, 4, 5), {"factor": 1.5}))


def test_bad_parameter_says_what_to_do():
    with pytest.raises(pydl.Error, match=r'layer "layer" \(Skeleton\): factor must not be 0'):
        make_net((2, 2), {"factor": 0})
