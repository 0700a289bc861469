"""Unmodified programs: ``pydl run``, and ``import caffe`` after `pydl.caffe.install`."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, os
import numpy as np
import caffe
import caffe.io, caffe.draw
from caffe import layers as L, params as P, to_proto
from caffe.proto import caffe_pb2
from caffe.coord_map import crop
from caffe.pycaffe import SGDSolver
from caffe._caffe import Blob
import helper

caffe.set_mode_cpu()
caffe.set_random_seed(1)
n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[2, 3, 8, 8]))
n.conv = L.Convolution(n.data, num_output=4, kernel_size=3, weight_filler=dict(type="xavier"))
n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
with open("net.prototxt", "w") as f:
    f.write(str(n.to_proto()))
net = caffe.Net("net.prototxt", caffe.TEST)
net.blobs["data"].data[...] = np.random.rand(2, 3, 8, 8)
assert net.forward()["pool"].shape == (2, 4, 3, 3)
assert isinstance(net.blobs["data"], Blob) and SGDSolver is caffe.SGDSolver
message = caffe_pb2.NetParameter()
message.layer.add(name="x")
assert caffe.io.caffe_pb2 is caffe_pb2
print(__name__, sys.argv, helper.WHERE)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "script.py").write_text(SCRIPT)
    (tmp_path / "programs" / "helper.py").write_text("import caffe\nWHERE = caffe.__name__\n")
    return tmp_path


def run(*args, cwd):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=cwd)


def test_a_program_with_its_flags(folder):
    flags = ["-n", "5", "--gpu-id=0", "--", "-x", "word"]
    done = run("-m", "pydl", "run", "programs/script.py", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"__main__ {['programs/script.py', *flags]} pydl.caffe\n"
    assert (folder / "net.prototxt").exists()


def test_in_a_program_of_ones_own(folder):
    text = (
        "import sys; sys.path.insert(0, 'programs'); import pydl.caffe; pydl.caffe.install()\n"
        "pydl.caffe.install()\n"
        + SCRIPT
        + "assert caffe is pydl.caffe and caffe.io is pydl.caffe.io\n"
        "assert sys.modules['caffe.io'] is sys.modules['pydl.caffe.io']\n"
        "assert caffe.io.__spec__.name == 'pydl.caffe.io' and caffe.__spec__.name == 'pydl.caffe'\n"
        "import importlib; importlib.reload(caffe.io)\n"
        "try:\n    import caffe.nothing\nexcept ModuleNotFoundError as e: print(e)\n"
    )
    done = run("-c", text, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("No module named 'caffe.nothing'\n")


def test_another_caffe_is_not_replaced(tmp_path):
    (tmp_path / "caffe.py").write_text("")
    done = run("-c", "import caffe, pydl.caffe\npydl.caffe.install()", cwd=tmp_path)
    assert "another caffe is imported already" in done.stderr
    done = run("-c", "import pydl.caffe\npydl.caffe.install()\nimport caffe\nprint(caffe.TEST)",
               cwd=tmp_path)  # fmt: skip
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(
    ("text", "status", "last"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit('no luck')", 1, "no luck"),
        ("def f():\n    raise KeyError('x')\nf()", 1, "KeyError: 'x'"),
        ("import caffe; caffe.Net('nothing', 1)", 1, "pydl.errors.Error: nothing: no such file"),
        ("x = (", 1, "SyntaxError: '(' was never closed"),
    ],
)
def test_how_programs_end(tmp_path, text, status, last):
    (tmp_path / "script.py").write_text(text)
    done = run("-m", "pydl", "run", "script.py", cwd=tmp_path)
    assert done.returncode == status
    assert (done.stderr.splitlines() or [""])[-1] == last
    assert "runpy" not in done.stderr
    if "KeyError" in last:
        assert done.stderr.startswith("Traceback") and 'File "script.py", line 3' in done.stderr


def test_without_a_program(tmp_path):
    done = run("-m", "pydl", "run", "nothing.py", cwd=tmp_path)
    assert done.returncode == 1 and "nothing.py: no such program" in done.stderr
    assert "pydl run" in run("-m", "pydl", "run", "-help", cwd=tmp_path).stdout
    assert run("-m", "pydl", "run", cwd=tmp_path).returncode == 1
