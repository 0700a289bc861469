"""Every layer, solver and refusal against what Caffe computes (tests/golden/README.md), and the
layers of its forks against what these compute (tests/golden_forks/README.md)."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pydl import _core, caffe
from pydl.errors import Error

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FORKS = Path(__file__).parent / "golden_forks"
SHARED = Path(__file__).parents[2] / "shared" / "golden" / "replay.py"
SHARED_FORKS = SHARED.parents[1] / "golden_forks"
# Layers whose forward pass moves or compares values (some of them: if the prototxt says MAX).
MOVES = {
    *("ArgMax", "BatchReindex", "Clip", "Concat", "Crop", "Data", "Dropout", "DummyData"),
    *("Filter", "Flatten", "HDF5Data", "Im2col", "ImageData", "Input", "MemoryData", "Parameter"),
    *("Permute", "ROIPooling", "ReLU", "ReLU6", "Reorg", "Reshape", "ShuffleChannel", "Silence"),
    *("Slice", "Split", "Threshold", "Tile", "Upsample"),
}
COMPARES = {"Eltwise", "Pooling", "SPP"}
TYPES = set(_core.layer_declarations())
# What optional packages layers need, by type or case.
PACKAGES = {"HDF5Data": "h5py", "HDF5Output": "h5py", "ImageData": "PIL", "leveldb_mnist": "plyvel"}


def layer_types(path):
    return set(re.findall(r'\btype:\s*"(\w+)"', path.read_text())) - {"Nonsense"}


def layer_cases(root):
    entries = json.loads((root / "layers" / "index.json").read_text())
    return [entry | {"folder": root / "layers" / entry["type"]} for entry in entries]


LAYERS = [entry for entry in layer_cases(GOLDEN) if entry["type"] in TYPES]
FORKS = layer_cases(GOLDEN_FORKS)
REPLAYED = [entry for entry in LAYERS if entry["type"] != "HDF5Output"]  # it has nothing to compare
SOLVERS = sorted(
    path.name
    for path in (GOLDEN / "solvers").iterdir()
    if layer_types(path / "net.prototxt") <= TYPES
)
REJECTS = {
    name: verdict
    for name, verdict in json.loads((GOLDEN / "rejects" / "index.json").read_text()).items()
    if layer_types(GOLDEN / "rejects" / f"{name}.prototxt") <= TYPES
}


@functools.cache
def arrays(folder):
    with np.load(folder / "arrays.npz") as data:
        return dict(data)


class Arrays:
    """The arrays of one case."""

    def __init__(self, entry):
        prefix = entry["case"] + "/"
        self._values = {
            key.removeprefix(prefix): value
            for key, value in arrays(entry["folder"]).items()
            if key.startswith(prefix)
        }

    def __getitem__(self, key):
        return self._values[key]

    def under(self, prefix):
        """(name, array) of the keys ``<prefix><name>``."""
        return [
            (k.removeprefix(prefix), v) for k, v in self._values.items() if k.startswith(prefix)
        ]


def assert_close(what, got, want, rtol=1e-5, atol=1e-7):
    """The largest difference is within rtol of the largest value, plus atol."""
    assert np.shape(got) == np.shape(want), what
    finite = np.abs(want[np.isfinite(want)])
    limit = rtol * finite.max(initial=0) + atol
    np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=what)


def forward_tolerance(entry, prototxt):
    """Keywords of assert_close for the tops."""
    if entry["type"] in COMPARES and "MAX" in prototxt:
        return {"rtol": 0, "atol": 0}
    if entry["type"] in MOVES and "negative_slope" not in prototxt:
        return {"rtol": 0, "atol": 0}
    return {"rtol": 0, "atol": 1e-6} if entry["type"] == "Accuracy" else {}


def layer_id(entry):
    return f"{entry['type']}-{entry['case']}"


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("entry", LAYERS + FORKS, ids=layer_id)
def test_layer(entry, isa, monkeypatch, tmp_path):
    if entry["type"] not in TYPES:
        pytest.skip(f"there is no layer {entry['type']} yet")
    _core.kernels.set_isa(isa)
    for what in (entry["type"], entry["case"]):
        if package := PACKAGES.get(what):
            pytest.importorskip(package, reason=f"the optional package {package} is not installed")
    folder = entry["folder"]
    if entry["type"] == "HDF5Output":  # which writes there
        folder = shutil.copytree(folder, tmp_path / "case")
    monkeypatch.chdir(folder)
    prototxt = Path(f"{entry['case']}.prototxt")
    want, tolerance = Arrays(entry), forward_tolerance(entry, prototxt.read_text())
    net = caffe.Net(prototxt, getattr(caffe, entry["phase"]))
    index = net._layer_names.index("l")
    layer = net.layers[index]
    if entry["type"] == "MemoryData":
        net.set_input_arrays(want["input/data"], want["input/label"])
    for i, value in want.under("param/"):
        layer.blobs[int(i)].data[...] = value

    for k in range(entry["nfwd"]):
        mark = f"@{k}" if k else ""
        for name, value in want.under(f"bottom{mark}/"):
            net.blobs[name].data[...] = value
        net._forward(index, index)
        if entry["type"] != "Input":  # which gives what was put in
            for name, value in want.under(f"top{mark}/"):
                assert_close(f"top{mark} {name}", net.blobs[name].data, value, **tolerance)
    for name, value in want.under("file/"):
        assert_close(f"written {name}", written(entry, name), value, rtol=0, atol=0)
    for i, value in want.under("param_after/"):
        assert_close(f"param_after {i}", layer.blobs[int(i)].data, value)
    if not entry["forward_only"]:
        check_backward(net, index, entry, want)


def written(entry, name):
    import h5py

    with h5py.File(f"{entry['case']}.out.h5") as file:
        return file[name][()]


def check_backward(net, index, entry, want):
    layer = net.layers[index]
    for blob in layer.blobs:
        blob.diff[...] = 0
    for name, value in want.under("top_diff/"):
        if entry["loss"]:
            assert_close(f"loss weight of {name}", net.blobs[name].diff, value)
        else:
            net.blobs[name].diff[...] = value
    net._backward(index, index)
    for name, value in want.under("bottom_diff/"):
        assert_close(f"bottom_diff {name}", net.blobs[name].diff, value)
    for i, value in want.under("param_diff/"):
        assert_close(f"param_diff {i}", layer.blobs[int(i)].diff, value)


# Solvers


class Run:
    """A solver fed with the batches of a golden run, in a copy of its folder."""

    def __init__(self, name, first=0):
        folder = GOLDEN / "solvers" / name
        if name.startswith("sgd_hdf5"):
            pytest.importorskip("h5py", reason="the optional package h5py is not installed")
        with np.load(folder / "data.npz") as data:
            self.data = dict(data)
        info = json.loads((folder / "info.json").read_text())
        self.iterations, self._batches = info["iterations"], info["iter_size"]
        self._next = first * self._batches
        self.solver = caffe.get_solver("solver.prototxt")
        self.solver.net.before_forward(self._feed)

    def _feed(self, layer):
        if layer:
            return
        iteration, batch = divmod(self._next, self._batches)
        self._next += 1
        prefix = f"iter{iteration}/" + (f"sub{batch}/" if batch else "")
        for name in self.solver.net.inputs:
            self.solver.net.blobs[name].data[...] = self.data[prefix + name]

    def start(self):
        for layer, blobs in self.solver.net.params.items():
            for i, blob in enumerate(blobs):
                blob.data[...] = self.data[f"init/{layer}/{i}"]

    def params(self):
        return {
            f"{layer}/{i}": np.array(blob.data)
            for layer, blobs in self.solver.net.params.items()
            for i, blob in enumerate(blobs)
        }

    def check(self, iterations):
        for key, value in self.params().items():
            want = self.data[f"after{iterations}/{key}"]
            assert_close(f"{key} after {iterations}", value, want, rtol=2e-5, atol=1e-6)


@pytest.fixture
def solver_folder(request, tmp_path, monkeypatch):
    """The working directory: a copy of the case's folder, which the run writes snapshots to."""
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / "solvers" / request.param, folder)
    monkeypatch.chdir(folder)
    return request.param


@pytest.mark.parametrize("solver_folder", SOLVERS, indirect=True)
def test_solver(solver_folder):
    run = Run(solver_folder)
    run.start()
    for k in range(run.iterations):
        assert run.solver.lr == pytest.approx(run.data["lr"][k], rel=1e-6)
        run.solver.step(1)
        run.check(k + 1)
        assert run.solver._solver.history["loss"][-1] == pytest.approx(
            run.data["loss"][k], rel=1e-5
        )


@pytest.mark.parametrize("solver_folder", SOLVERS, indirect=True)
def test_solver_resumes_from_caffes_snapshot(solver_folder):
    run = Run(solver_folder, first=4)
    run.solver.restore(snapshot_path())
    assert run.solver.iter == 4
    run.solver.step(4)
    run.check(8)


@pytest.mark.parametrize("solver_folder", SOLVERS, indirect=True)
def test_solver_resumes_from_its_own_snapshot_bit_for_bit(solver_folder):
    straight = Run(solver_folder)
    straight.start()
    for path in Path(".").glob("snap_iter_4.*"):
        path.unlink()
    straight.solver.step(4)
    halfway = snapshot_path()
    straight.solver.step(4)
    resumed = Run(solver_folder, first=4)
    resumed.solver.restore(halfway)
    resumed.solver.step(4)
    want = straight.params()
    for key, value in resumed.params().items():
        np.testing.assert_array_equal(value, want[key], err_msg=key)


def snapshot_path():
    (path,) = Path(".").glob("snap_iter_4.solverstate*")
    return path


# Refusals


@pytest.mark.parametrize("name", REJECTS)
def test_refusal(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "rejects")
    verdict = REJECTS[name]
    if verdict["accepted"]:
        run_reject(name, verdict)
        return
    with pytest.raises(Error) as caught:
        run_reject(name, verdict)
    text = str(caught.value)
    assert f"{name}.prototxt" in text, "the message names the file"
    assert len(text) > 40


def run_reject(name, verdict):
    net = caffe.Net(f"{name}.prototxt", caffe.TRAIN)
    if verdict["stage"] == "forward":
        net.forward()


@pytest.mark.parametrize(
    ("kind", "source"),
    [("layers", SHARED.parent), ("solvers", SHARED.parent), ("layers", SHARED_FORKS)],
    ids=["layers", "solvers", "forks"],
)
def test_shared_replay(kind, source, tmp_path):
    """The script that real Caffe passes, where its folder is beside the checkout."""
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there: the copy under tests/golden was replayed")
    root = tmp_path / "golden"
    shutil.copytree(source / kind, root / kind)
    replayed = SOLVERS
    if kind == "solvers":
        for folder in (root / kind).iterdir():
            if folder.name not in SOLVERS:
                shutil.rmtree(folder)
    else:
        index = root / kind / "index.json"
        index.chmod(0o644)
        cases = FORKS if source == SHARED_FORKS else REPLAYED
        replayed = [e for e in cases if e["type"] in TYPES]
        known = {(e["type"], e["case"]) for e in replayed}
        entries = json.loads(index.read_text())
        index.write_text(json.dumps([e for e in entries if (e["type"], e["case"]) in known]))
    result = subprocess.run(
        [sys.executable, SHARED, kind, "--root", root],
        capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(replayed)} passed, 0 failed" in result.stdout
