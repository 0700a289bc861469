"""HDF5Data and HDF5Output."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from data_files import message
from net_text import dense, layer, make_net

import pydl.data

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra hdf5)")


def hdf5_net(source, fields, tops="x t", **options):
    params = f'hdf5_data_param {{ source: "{source}" {fields} }}'
    return make_net(layer("HDF5Data", params, "", tops, "data"), **options)


def write_set(folder, sizes=(3, 2, 4)):
    """Files with rows 0, 1, 2, ...: x holds the number (2 x 2), t too; gives the list of files."""
    start, paths = 0, []
    for i, size in enumerate(sizes):
        rows = np.arange(start, start + size)
        path = folder / f"{i}.h5"
        pydl.data.write_hdf5(path, {"x": np.tile(rows[:, None, None], (1, 2, 2)), "t": rows})
        paths.append(f"{path}\n")
        start += size
    (folder / "list.txt").write_text("".join(paths))
    return folder / "list.txt"


def rows(net):
    """The numbers of the rows of the next batch."""
    net._core.forward()
    x, t = (np.array(net.blobs[name].data) for name in "xt")
    assert x.shape == (len(t), 2, 2)
    np.testing.assert_array_equal(x, np.tile(t[:, None, None], (1, 2, 2)))
    return t.astype(int).tolist()


def test_batches_run_on_across_files(tmp_path):
    net = hdf5_net(write_set(tmp_path), "batch_size: 4")
    assert [row for _ in range(9) for row in rows(net)] == list(range(9)) * 4


def test_a_batch_larger_than_the_set(tmp_path):
    net = hdf5_net(write_set(tmp_path, (2, 1)), "batch_size: 7")
    assert rows(net) == [0, 1, 2, 0, 1, 2, 0]


def test_shuffle_mixes_files_and_the_rows_in_each(tmp_path):
    net = hdf5_net(write_set(tmp_path), "batch_size: 9 shuffle: true")
    files = [{0, 1, 2}, {3, 4}, {5, 6, 7, 8}]
    passes = [rows(net) for _ in range(12)]
    firsts = set()
    for order in passes:
        assert sorted(order) == list(range(9))
        owners = [next(i for i, file in enumerate(files) if row in file) for row in order]
        assert sum(a != b for a, b in itertools.pairwise(owners)) == 2  # file by file
        firsts.add(owners[0])
    assert firsts == {0, 1, 2} and len(set(map(tuple, passes))) > 8


def test_any_number_of_tops_and_types(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.arange(3, dtype=np.int64)
        file["b"] = np.linspace(0, 1, 6).reshape(3, 2, 1, 1, 1)
        file["c"] = np.float16([[1], [2], [3]])
        file["unused"] = "text"
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5")
    net = hdf5_net(tmp_path / "list.txt", "batch_size: 2", "a c b")
    net._core.forward()
    assert [tuple(net.blobs[n].shape) for n in "abc"] == [(2,), (2, 2, 1, 1, 1), (2, 1)]
    assert net.blobs["a"].data.tolist() == [0, 1] and net.blobs["c"].data.tolist() == [[1], [2]]
    np.testing.assert_array_equal(net.blobs["b"].data.ravel(), np.float32([0, 0.2, 0.4, 0.6]))


def other(path, **columns):
    with h5py.File(path, "w") as file:
        for name, value in columns.items():
            file[name] = value


def spoil_truncated(folder):
    path = folder / "1.h5"
    path.write_bytes(path.read_bytes()[:-40])


def spoil_claim(folder):
    """A shape of 2^40 rows without data."""
    with h5py.File(folder / "1.h5", "w") as file:
        file.create_dataset("x", (2**40, 2, 2), "f4", chunks=(1, 2, 2))
        file.create_dataset("t", (2**40,), "f4", chunks=(1,))


ODD = np.zeros((2, 3, 2))
FAULTS = {
    "missing": (lambda folder: (folder / "1.h5").unlink(), "1.h5: no such file"),
    "truncated": (spoil_truncated, "1.h5: not readable as HDF5"),
    "text": (lambda folder: (folder / "1.h5").write_text("x"), "not readable as HDF5"),
    "claim": (spoil_claim, '"x" has shape (1099511627776, 2, 2), but 0 bytes'),
    "name": (lambda f: other(f / "1.h5", xx=ODD), 'no dataset "x"'),
    "group": (lambda f: h5py.File(f / "1.h5", "w").create_group("x").file.close(), 'dataset "x"'),
    "rows": (lambda f: other(f / "1.h5", x=ODD, t=np.zeros(3)), "numbers of rows: x 2, t 3"),
    "shape": (lambda f: other(f / "1.h5", x=ODD, t=np.zeros(2)), "rows of 3x2, one value"),
    "strings": (lambda f: other(f / "1.h5", x=["a"], t=[0]), "does not hold numbers"),
    "scalar": (lambda f: other(f / "1.h5", x=1.0, t=[0]), "rows are needed"),
    "list": (lambda folder: (folder / "list.txt").write_text("\n"), "names no HDF5 files"),
    "no list": (lambda folder: (folder / "list.txt").unlink(), "list.txt: No such file"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_sets_that_do_not_work(tmp_path, fault):
    spoil, expected = FAULTS[fault]
    source = write_set(tmp_path)
    spoil(tmp_path)
    text = message(hdf5_net, source, "batch_size: 2")
    assert expected in text and 'layer "data" (HDF5Data)' in text


def test_a_file_that_vanishes_later(tmp_path):
    net = hdf5_net(write_set(tmp_path), "batch_size: 3 prefetch: 0")
    rows(net)
    (tmp_path / "1.h5").unlink()
    assert "1.h5: not readable" in message(rows, net)


def test_empty_files(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["t"] = np.zeros((0, 2, 2)), np.zeros(0)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5")
    assert "has no rows" in message(hdf5_net, tmp_path / "list.txt", "batch_size: 2")


def test_shuffling_more_than_memory_holds(tmp_path):
    source = write_set(tmp_path)
    pydl.set_memory_limit(20)
    assert "do not fit in memory" in message(hdf5_net, source, "batch_size: 1 shuffle: true")


def test_without_h5py(tmp_path, monkeypatch):
    source = write_set(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert 'pip install "pydl[hdf5]"' in message(hdf5_net, source, "batch_size: 2")
    assert 'pip install "pydl[hdf5]"' in message(output_net, tmp_path / "out.h5")


# HDF5Output


def output_net(path, shape=(2, 3), label_shape=(2,), **options):
    params = f'hdf5_output_param {{ file_name: "{path}" }}'
    text = layer("HDF5Output", params, "x t", "", "out")
    return make_net(text, {"x": np.zeros(shape), "t": np.zeros(label_shape)}, **options)


def contents(path):
    with h5py.File(path, "r") as file:
        return file["data"][()], file["label"][()]


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_each_forward_pass_adds_rows_and_leaves_a_whole_file(tmp_path, keep):
    path = tmp_path / "out.h5"
    path.write_text("what was there before")
    net = output_net(path, phase="TEST", keep=keep)
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    for end in (2, 4, 6):
        net.forward(x=x[end - 2 : end], t=np.arange(end - 2, end))
        data, label = contents(path)
        assert data.shape == (end, 3, 1, 1) and label.shape == (end, 1, 1, 1)
        np.testing.assert_array_equal(data[:, :, 0, 0], x[:end])
        assert label.ravel().tolist() == list(range(end))
    net.forward(x=x[:1], t=[9])  # another batch size
    assert contents(path)[0].shape == (7, 3, 1, 1)
    assert "rows of (4, 1, 1)" in message(net.forward, x=np.zeros((1, 4)), t=[0])
    output_net(path, phase="TEST").forward()  # a new net begins anew
    assert contents(path)[0].shape == (2, 3, 1, 1)


def test_more_axes_than_caffe_writes(tmp_path):
    path = tmp_path / "out.h5"
    output_net(path, (2, 1, 2, 1, 2), (2, 1, 1, 1)).forward()
    assert contents(path)[0].shape == (2, 1, 2, 1, 2)


def test_output_does_not_stop_gradients(tmp_path):
    """It gives none back: a net that trains may write on the way."""
    params = f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }}'
    text = (
        dense(3, "x", "y", "ip")
        + layer("HDF5Output", params, "y t", "", "out")
        + layer("SoftmaxWithLoss", "", "y t", "loss")
    )
    for keep in ("all", "outputs"):
        net = make_net("force_backward: true " + text, {"x": (2, 4), "t": (2,)}, keep=keep)
        net.forward(x=np.ones((2, 4)), t=np.ones(2))
        net.backward()
        assert np.abs(net.params["ip"][0].diff).sum() > 0
        assert contents(tmp_path / "out.h5")[0].shape == (2, 3, 1, 1)


def test_outputs_that_do_not_work(tmp_path):
    assert "there is no folder" in message(output_net, tmp_path / "none" / "out.h5")
    assert "file_name must be given" in message(output_net, "")
    assert "as many rows" in message(output_net, tmp_path / "o.h5", (2, 3), (3,))
    (tmp_path / "folder").mkdir()
    net = output_net(tmp_path / "folder")
    assert "cannot be written" in message(net.forward)
