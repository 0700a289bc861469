"""What torch computes: the oracle of layers that Caffe never had.

A case is a function that takes the module torch and returns tensors or arrays by name: inputs,
weights, outputs and gradients. Its values from torch 2.13.0 are stored in torch_values/, so that
tests need no torch; where it is installed the case also runs live. `PYDL_STORE_TORCH=1 pytest
tests/test_x.py` stores the values of that file's cases anew.
"""

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "torch_values"
SOURCES = ("live", "stored")  # in this order, so that one run can store and read


def case_values(source, name, case):
    """{name: array} of a case, float32 or int64; `name` is also its file's, so unique."""
    path = FOLDER / f"{name}.npz"
    if source == "stored":
        with np.load(path) as stored:
            return dict(stored)
    torch = pytest.importorskip("torch", reason="torch is not installed: stored values are tested")
    torch.manual_seed(0)
    values = {key: _array(value) for key, value in case(torch).items()}
    if os.environ.get("PYDL_STORE_TORCH"):
        FOLDER.mkdir(exist_ok=True)
        np.savez_compressed(path, **values)
    return values


def _array(value):
    return np.asarray(value.detach() if hasattr(value, "detach") else value)
