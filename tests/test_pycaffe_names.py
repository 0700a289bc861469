"""The names that programs written for pycaffe may use are all there."""

import importlib
import inspect
import json
from pathlib import Path

import pytest
from net_text import run_python

from pydl import _core, caffe
from pydl.caffe import _caffe
from pydl.errors import Error

NAMES = json.loads((Path(__file__).parent / "golden" / "proto" / "pycaffe_names.json").read_text())
MODULES = [name for name in NAMES if name.startswith("caffe.")]
CLASSES = {
    "class Net": _caffe.Net,
    "class Blob": _caffe.Blob,
    "class Layer": _caffe.Layer,
    "class SGDSolver": _caffe.SGDSolver,
    "class Solver": _caffe.Solver,
    "class SolverParameter": _caffe.SolverParameter,
    "class Timer": _caffe.Timer,
}
# Of Python's own, which pycaffe's modules hold because they import them.
BORROWED = {"OrderedDict", "Counter", "division", "zoom", "resize"}


def lacking(owner, names):
    fields = getattr(owner, "_schema", None)
    known = {*dir(owner), *(fields.fields if fields else ())}
    return [name for name in names if name not in known and not hasattr(owner, name)]


def test_package():
    assert lacking(caffe, NAMES["caffe"]) == []
    assert caffe.__version__ == "1.0.0"
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    with pytest.raises(AttributeError, match="no attribute 'Nett'"):
        _ = caffe.Nett


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    module = importlib.import_module(f"pydl.{name}")
    assert lacking(module, NAMES[name]) == []
    for entry, what in NAMES[name].items():
        value = getattr(module, entry)
        if isinstance(what, list) and entry not in BORROWED:
            assert lacking(value, what) == [], entry
        elif isinstance(what, str) and what.startswith("(") and entry not in BORROWED:
            ours = list(inspect.signature(value).parameters)
            theirs = [word.split("=")[0].strip("*() ") for word in what.split(",")]
            assert ours == [name for name in theirs if name], entry


@pytest.mark.parametrize("name", CLASSES)
def test_class(name):
    owner = CLASSES[name]
    if name == "class SolverParameter":
        owner = owner("SolverParameter")
    assert lacking(owner, NAMES[name]) == []


def test_layer_types():
    known = set(caffe.layer_type_list())
    assert known == set(_core.layer_declarations())
    assert set(NAMES["layer_type_list"]) <= known


def test_what_is_not_there_says_so():
    assert not caffe.has_nccl()
    with pytest.raises(Error, match="several GPUs"):
        caffe.NCCL(None, "uid")
    with pytest.raises(Error, match="several GPUs"):
        caffe.NCCL.new_uid()
    with pytest.warns(RuntimeWarning, match="no CUDA"):
        caffe.set_mode_gpu()
    with pytest.warns(RuntimeWarning, match="no CUDA"):
        caffe.set_device(0)


def test_process_wide_settings():
    caffe.set_mode_cpu()
    caffe.set_multiprocess(False)
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    assert (caffe.solver_count(), caffe.solver_rank()) == (2, 1)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    with pytest.raises(Error, match="not negative"):
        caffe.set_random_seed(-1)


def test_timer():
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.start()
    first = timer.ms
    assert first > 0
    assert timer.ms == first, "it has stopped"


def test_log_lines():
    done = run_python(
        "from pydl import caffe\n"
        "caffe.init_log(1)\ncaffe.log('hidden')\ncaffe.init_log(0)\ncaffe.log('shown')\n"
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("I") and line.endswith("] shown")


def test_log_without_init():
    assert run_python("from pydl import caffe; caffe.log('shown')").stderr.endswith("] shown\n")


def test_importing_the_package_loads_little():
    done = run_python(
        "import sys, pydl.caffe\n"
        "print([m for m in ('google.protobuf', 'PIL', 'h5py', 'pydl._core') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]"
