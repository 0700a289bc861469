"""Libraries of layers that cannot be loaded; tests/test_embed.py builds one that can."""

import _ctypes

import pytest

import pydl
from pydl import _core


def test_no_such_file(tmp_path):
    with pytest.raises(pydl.Error, match="libmissing.so: no such file"):
        pydl.load_layers(tmp_path / "libmissing.so")


def test_not_a_library(tmp_path):
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(pydl.Error, match="text.so: cannot be loaded: .*text.so"):
        pydl.load_layers(tmp_path / "text.so")


@pytest.mark.parametrize("module", [_ctypes, _core])
def test_no_layers_inside(module):
    if not getattr(module, "__file__", None):
        pytest.skip("built into Python")
    with pytest.raises(pydl.Error, match=r"registers no layer here.*PYDL_REGISTER_LAYER.*pydl_DIR"):
        pydl.load_layers(module.__file__)
