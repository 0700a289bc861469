"""`.caffemodel.h5` and `.solverstate.h5` against what Caffe wrote, and against damage."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pydl.errors import Error
from pydl.formats import LayerWeights, hdf5, load_weights, save_weights, solverstate

GOLDEN = Path(__file__).parent / "golden" / "formats"
EXPECTED = np.load(GOLDEN / "expected.npz")

h5py = pytest.importorskip("h5py")


def test_caffe_s_weights_with_a_shared_parameter():
    weights = load_weights(GOLDEN / "shared.caffemodel.h5")
    names = "data label conv1 relu1 pool1 conv2a tanh2 conv2b ip1 sig1 ip2 loss"
    assert [layer.name for layer in weights.layers] == sorted(names.split(" "))
    blobs = weights.blobs()
    assert list(blobs) == ["conv1", "conv2a", "ip1", "ip2"]  # conv2b shares conv2a's
    for layer, arrays in blobs.items():
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(array, EXPECTED[f"shared/{layer}/{i}"])


def test_caffe_s_solver_state():
    state = solverstate.load(GOLDEN / "shared.solverstate.h5")
    assert state["iter"] == 4 and state["current_step"] == 0 and state["extra"] == {}
    assert state["learned_net"] == "snap_iter_4.caffemodel.h5"
    with h5py.File(GOLDEN / "shared.solverstate.h5") as file:
        assert len(state["history"]) == len(file["history"]) == 8
        for i, array in enumerate(state["history"]):
            np.testing.assert_array_equal(array, file["history"][str(i)][()])


def layout(path: Path) -> dict[str, tuple]:
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            kind = item.id.get_type()
            padding = kind.get_strpad() if isinstance(kind, h5py.h5t.TypeStringID) else None
            found[name] = (item.shape, kind.get_class(), kind.get_size(), padding)
        else:
            found[name] = None

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_written_files_have_caffe_s_layout(tmp_path):
    weights = load_weights(GOLDEN / "shared.caffemodel.h5")
    blobs = {layer.name: layer for layer in weights.layers}
    blobs["conv2b"].blobs = blobs["conv2a"].blobs  # as a net has them: the same memory
    save_weights(tmp_path / "a.caffemodel.h5", "net", weights.layers)
    assert layout(tmp_path / "a.caffemodel.h5") == layout(GOLDEN / "shared.caffemodel.h5")

    state = solverstate.load(GOLDEN / "shared.solverstate.h5")
    solverstate.save(tmp_path / "a.solverstate.h5", **state)
    written = layout(tmp_path / "a.solverstate.h5")
    del written["pydl"]
    assert written == layout(GOLDEN / "shared.solverstate.h5")


def test_a_blob_shared_in_the_middle_is_none(tmp_path):
    path = tmp_path / "a.h5"
    shared, own = np.ones((2, 2), np.float32), np.zeros(2, np.float32)
    layers = [LayerWeights("a", blobs=[shared]), LayerWeights("b", blobs=[shared, own])]
    save_weights(path, "net", layers)
    first, second = load_weights(path).blobs()["b"]
    assert first is None and second.tolist() == [0, 0]


def test_names_with_slashes_and_the_order_of_layers(tmp_path):
    path = tmp_path / "a.h5"
    names = ["z", "inception_3a/1x1", "inception_3a/3x3/relu", "inception_3a", "a"]
    save_weights(path, "net", [LayerWeights(name, blobs=[np.ones(1)]) for name in names])
    with h5py.File(path) as file:
        assert file["data/inception_3a/1x1/0"].shape == (1,)
    assert sorted(load_weights(path).blobs()) == sorted(names)
    names = ["z", "b", "a", "conv10", "conv9", *(f"l{i}" for i in range(20))]
    save_weights(path, "net", [LayerWeights(name, blobs=[np.ones(1)]) for name in names])
    assert list(load_weights(path).blobs()) == names


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a", "a"], "two layers of that name"),
        (["a", "a/0/b"], "collide"),
        ([""], "cannot keep"),
        (["/a"], "cannot keep"),
        (["a/./b"], "cannot keep"),
    ],
)
def test_names_that_hdf5_cannot_keep(tmp_path, names, problem):
    layers = [LayerWeights(name, blobs=[np.ones(1)]) for name in names]
    with pytest.raises(Error, match=problem):
        hdf5.save(tmp_path / "a.h5", layers)
    assert list(tmp_path.iterdir()) == []


def test_foreign_hdf5_files(tmp_path):
    path = tmp_path / "keras.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/dense/kernel"] = np.ones(3)
    with pytest.raises(Error, match=r"no group 'data'; at its top are model_weights; expected"):
        load_weights(path)
    with pytest.raises(Error, match=r"no group 'history'.*expected a \.solverstate\.h5"):
        solverstate.load(path)
    with h5py.File(path, "w") as file:  # what HDF5Data layers read
        file["data"] = np.ones((3, 4))
    with pytest.raises(Error, match="no group 'data'"):
        load_weights(path)
    path.write_text("<html>")
    with pytest.raises(Error, match="looks like an HTML page"):
        hdf5.load(path)


def test_claims_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/conv/0", (1 << 40,), "f4", chunks=(1 << 10,))
    with pytest.raises(Error, match=r"/data/conv/0 has shape \(1099511627776,\) but 0 bytes"):
        load_weights(path)
    with h5py.File(path, "w") as file:
        file["data/conv/999999999"] = np.ones(1)
    with pytest.raises(Error, match="beyond the 1024"):
        load_weights(path)
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = "text"
    with pytest.raises(Error, match="does not hold numbers"):
        load_weights(path)


def test_groups_that_contain_themselves(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = np.ones(1)
        file["data/conv/loop"] = file["data"]
        file["data/elsewhere"] = h5py.SoftLink("/data/conv")
    assert next(iter(load_weights(path).blobs())).endswith("conv")


def test_compressed_and_double_weights_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/conv/0", data=np.zeros((64, 1024)), compression="gzip")
    (blob,) = load_weights(path).blobs()["conv"]
    assert blob.dtype == np.float32 and blob.shape == (64, 1024)


@pytest.mark.parametrize("name", ["shared.caffemodel.h5", "shared.solverstate.h5"])
def test_truncated_files(tmp_path, name):
    data = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    load = load_weights if "caffemodel" in name else solverstate.load
    for size in [*range(100), *range(100, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(Error):
            load(path)


def test_a_state_without_its_parts(tmp_path):
    path = tmp_path / "a.solverstate.h5"
    solverstate.save(path, iter=1, learned_net="n", history=[np.ones(2)] * 3)
    with h5py.File(path, "a") as file:
        del file["history/1"]
    with pytest.raises(Error, match="no dataset /history/1|no dataset history/1"):
        solverstate.load(path)
    with h5py.File(path, "a") as file:
        del file["history"]
        file.create_group("history")
        del file["iter"]
    with pytest.raises(Error, match="no dataset /iter"):
        solverstate.load(path)
    with h5py.File(path, "a") as file:
        file["iter"] = [1.5]
    with pytest.raises(Error, match="iter is not an integer"):
        solverstate.load(path)


def test_without_h5py_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Error, match=r'pip install "pydl\[hdf5\]"'):
        load_weights(GOLDEN / "shared.caffemodel.h5")
    with pytest.raises(Error, match=r'pip install "pydl\[hdf5\]"'):
        save_weights(tmp_path / "a.h5", "net", [])
