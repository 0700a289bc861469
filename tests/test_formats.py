"""`.caffemodel`, `.solverstate`, `.binaryproto` and Datum against what Caffe wrote."""

import contextlib
import doctest
import importlib
import io
import math
import pkgutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pydl.formats
from pydl.errors import Error
from pydl.formats import (
    LayerWeights,
    binaryproto,
    caffemodel,
    load_weights,
    save_weights,
    solverstate,
    wire,
)
from pydl.formats.binaryproto import Datum
from pydl.formats.wire import Span

GOLDEN = Path(__file__).parent / "golden" / "formats"
EXPECTED = np.load(GOLDEN / "expected.npz")
SUFFIXES = [".caffemodel", ".caffemodel.h5", ".safetensors"]


def expected(prefix: str) -> dict[str, list[np.ndarray]]:
    blobs: dict[str, list[np.ndarray]] = {}
    for key in EXPECTED.files:
        if key.startswith(prefix + "/"):
            blobs.setdefault(key.split("/")[1], []).append(EXPECTED[key])
    return blobs


def assert_same_blobs(found, wanted):
    assert list(found) == list(wanted)
    for layer, blobs in wanted.items():
        assert [blob.shape for blob in found[layer]] == [blob.shape for blob in blobs]
        for blob, reference in zip(found[layer], blobs, strict=True):
            assert blob.dtype == np.float32
            np.testing.assert_array_equal(blob, reference)


def small_layers() -> list[LayerWeights]:
    r = np.random.default_rng(3)
    return [
        LayerWeights("data", "Input", [], ["data"]),
        LayerWeights(
            "conv/1x1",
            "Convolution",
            ["data"],
            ["conv"],
            [r.standard_normal((2, 3, 1, 1), np.float32), r.standard_normal(2, np.float32)],
        ),
        LayerWeights("scalar", "Scale", ["conv"], ["conv"], [np.float32(0.5).reshape(())]),
        LayerWeights("empty", "Bias", ["conv"], ["conv"], [np.zeros((0, 4), np.float32)]),
    ]


def top_level_ends(data: bytes) -> set[int]:
    """Where the fields of a message end: a file cut there is a shorter, valid message."""
    return {field.offset for field in Span(memoryview(data), "", "").fields()}


# Weights


def test_caffe_s_caffemodel():
    weights = caffemodel.load(GOLDEN / "sgd.caffemodel")
    assert weights.name == "solvernet_base"
    assert [layer.name for layer in weights.layers] == (
        ["data", "label", "conv1", "relu1", "pool1", "ip1", "sig1", "ip2", "loss"]
    )
    conv1 = weights.layers[2]
    assert (conv1.type, conv1.bottom, conv1.top) == ("Convolution", ["data"], ["conv1"])
    assert weights.layers[-1].bottom == ["ip2", "label"]
    assert_same_blobs(weights.blobs(), expected("sgd"))


def test_v1_layers():
    weights = caffemodel.load(GOLDEN / "v1.caffemodel")
    assert weights.layers[0].type == "Convolution"
    assert_same_blobs(weights.blobs(), expected("v1"))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_old_files_read_as_what_caffe_upgraded_them_to(version):
    old = caffemodel.load(GOLDEN / f"{version}.caffemodel")
    upgraded = caffemodel.load(GOLDEN / f"{version}.upgraded.caffemodel")
    upgraded.layers = [layer for layer in upgraded.layers if layer.type != "Input"]

    def describe(weights):
        return [(layer.name, layer.type, layer.bottom, layer.top) for layer in weights.layers]

    assert describe(old) == describe(upgraded)
    assert_same_blobs(old.blobs(), upgraded.blobs())


def test_saved_bytes_are_what_the_schema_says(tmp_path):
    path = tmp_path / "a.caffemodel"
    blob = np.array([[1, 2]], np.float64)
    caffemodel.save(path, "n", [LayerWeights("l", "T", ["b"], ["t"], [blob])])
    shape = b"\x3a\x04\x0a\x02\x01\x02"
    data = b"\x2a\x08" + struct.pack("<2f", 1, 2)
    layer = b"\x0a\x01l\x12\x01T\x1a\x01b\x22\x01t\x3a\x10" + data + shape
    assert path.read_bytes() == (
        b"\x0a\x01n" + b'\xaa\x6a\x0d{"layers": 1}' + b"\xa2\x06" + bytes([len(layer)]) + layer
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix):
    if suffix.endswith(".h5"):
        pytest.importorskip("h5py")
    path = tmp_path / f"a{suffix}"
    layers = small_layers()
    save_weights(path, "net", layers)
    again = load_weights(path)
    assert [layer.name for layer in again.layers] == [layer.name for layer in layers]
    assert_same_blobs(again.blobs(), {layer.name: layer.blobs for layer in layers if layer.blobs})
    if not suffix.endswith(".h5"):
        assert again.name == "net"
        assert again.types()["conv/1x1"] == "Convolution"
        assert again.layers[1].bottom == ["data"] and again.layers[1].top == ["conv"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loading_looks_at_the_content_not_the_suffix(tmp_path, suffix):
    if suffix.endswith(".h5"):
        pytest.importorskip("h5py")
    path = tmp_path / f"a{suffix}"
    save_weights(path, "net", small_layers())
    renamed = path.rename(tmp_path / "weights.bin")
    assert list(load_weights(renamed).blobs()) == ["conv/1x1", "scalar", "empty"]


def test_unknown_suffix(tmp_path):
    with pytest.raises(Error, match=r"unknown suffix '\.pth'.*\.caffemodel"):
        save_weights(tmp_path / "a.pth", "net", small_layers())


def test_fields_of_forks_are_skipped(tmp_path):
    alien = wire.integer(143, 7) + wire.text(148, "x") + wire.unpacked(150, np.ones(3), "<f8")
    blob = b"".join(wire.nested(7, [b"\x3a\x03\x0a\x01\x01", b"\x2a\x04" + struct.pack("<f", 5)]))
    layer = wire.text(1, "l") + alien + blob + alien
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(alien + b"".join(wire.nested(100, [layer])) + alien)
    assert caffemodel.load(path).blobs()["l"][0].tolist() == [5]


def test_a_v1_type_that_only_a_fork_knows(tmp_path):
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(b"".join(wire.nested(2, [wire.text(4, "l"), wire.integer(5, 1234)])))
    assert caffemodel.load(path).types() == {"l": "V1LayerType 1234"}


def test_views_outlive_a_save_over_their_file(tmp_path):
    path = tmp_path / "a.caffemodel"
    save_weights(path, "net", small_layers())
    old = load_weights(path).blobs()["conv/1x1"][0]
    assert not old.flags.writeable
    before = old.copy()
    layers = [LayerWeights("conv/1x1", blobs=[np.zeros((2, 3, 1, 1))])]
    save_weights(path, "net", layers)
    np.testing.assert_array_equal(old, before)
    assert not load_weights(path).blobs()["conv/1x1"][0].any()


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"<html><body>", "an HTML page"),
        (b"PK\x03\x04\x14\x00", "a zip archive"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"\x80\x02}q\x00.", "a Python pickle"),
        (b"\x93NUMPY\x01\x00", "a numpy .npy file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'name: "LeNet"\nlayer {\n', "a prototxt text"),
        (b'{"a": 1}', "JSON text"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x0a\x03net", "no layers"),
        (b"\x08\x07\x12\x07pytorch", "begins with a number"),
        (b"\xff\xfe" * 50, "varint is longer"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, content, looks):
    path = tmp_path / "weights.caffemodel"
    path.write_bytes(content)
    for load in (caffemodel.load, load_weights):
        with pytest.raises(Error) as caught:
            load(path)
        assert looks in str(caught.value)
        assert str(path) in str(caught.value) and "expected a .caffemodel" in str(caught.value)


def test_a_safetensors_file_is_not_a_caffemodel(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(path, "net", small_layers())
    with pytest.raises(Error, match=r"looks like a \.safetensors file, expected a \.caffemodel"):
        caffemodel.load(path)


@pytest.mark.parametrize("load", [load_weights, caffemodel.load, solverstate.load])
def test_no_such_file_a_folder_and_a_pipe(tmp_path, load):
    with pytest.raises(Error, match="nope: no such file"):
        load(tmp_path / "nope")
    with pytest.raises(Error, match="is a folder"):
        load(tmp_path)
    with pytest.raises(Error, match="not a regular file"):
        load("/dev/null")


def test_a_shared_blob_must_be_given_to_a_caffemodel(tmp_path):
    with pytest.raises(Error, match='layer "b": blob 0 is shared'):
        save_weights(tmp_path / "a.caffemodel", "net", [LayerWeights("b", blobs=[None])])
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_is_not_numbers(tmp_path):
    layers = [LayerWeights("b", blobs=[np.array("x")])]
    with pytest.raises(Error, match='layer "b" blob 0 has dtype <U1'):
        save_weights(tmp_path / "a.caffemodel", "net", layers)


# Damage


def test_caffe_s_file_cut_anywhere_but_between_fields_is_an_error(tmp_path):
    data = (GOLDEN / "sgd.caffemodel").read_bytes()
    whole = len(caffemodel.load(GOLDEN / "sgd.caffemodel").layers)
    ends = top_level_ends(data)
    path = tmp_path / "cut.caffemodel"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            weights = caffemodel.load(path)
        except Error as error:
            assert str(path) in str(error)
        else:
            assert size in ends and len(weights.layers) < whole


@pytest.mark.parametrize("suffix", [".caffemodel", ".safetensors"])
def test_pydl_s_file_cut_anywhere_is_an_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_weights(path, "net", small_layers())
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(Error):
            load_weights(path)


def test_solverstate_cut_anywhere(tmp_path):
    path = tmp_path / "cut.solverstate"
    data = (GOLDEN / "sgd.solverstate").read_bytes()
    ends = top_level_ends(data)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            solverstate.load(path)
        except Error:
            continue
        assert size in ends
    state = solverstate.load(GOLDEN / "sgd.solverstate")
    solverstate.save(path, **{**state, "history": state["history"][3:], "extra": {"a": 1}})
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(Error):
            solverstate.load(path)


def mutated(draw, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(out)))
        size = draw(st.integers(0, 8))
        out[at : at + size] = draw(st.binary(max_size=12))
    return bytes(out)


def small_files() -> dict[str, bytes]:
    """One small file of each protobuf kind, of every structure the readers know."""
    v0 = (GOLDEN / "v0.caffemodel").read_bytes()
    v1 = wire.text(4, "c") + wire.text(2, "x") + wire.text(3, "y") + wire.integer(5, 4)
    blob = b"\x3a\x03\x0a\x01\x02" + wire.unpacked(5, np.arange(2), "<f4")
    double = b"\x08\x01\x10\x01\x18\x01\x20\x02" + wire.unpacked(8, np.arange(2), "<f8")
    half = b"\x3a\x02\x08\x02\x50\x02\x62\x04abcd"
    blobs = [b"".join(wire.nested(6, [one])) for one in (blob, double, half)]
    return {
        "v0": v0[:31],
        "v1": b"".join(wire.nested(2, [v1, *blobs])),
        "v2": wire.text(1, "net") + b"".join(wire.nested(100, [wire.text(1, "a")])),
        "state": b"\x08\x04\x12\x01n" + b"".join(wire.nested(3, [blob])) + b"\x20\x01",
        "datum": Datum(np.zeros((1, 2, 3)), 3).serialize(),
        "mean": double,
    }


@pytest.mark.parametrize("kind", small_files())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_load_or_raise_error(tmp_path, kind, data):
    path = tmp_path / "mutated"
    path.write_bytes(data.draw(st.composite(mutated)(small_files()[kind])) or b"\0")
    load = {
        "state": solverstate.load,
        "mean": binaryproto.load,
        "datum": lambda path: Datum.parse(path.read_bytes()),
    }.get(kind, load_weights)
    try:
        load(path)
    except Error as error:
        assert str(error)


# More than 2 GB


class Sparse(io.RawIOBase):
    """A file that leaves big pieces of zeros out, as holes."""

    def __init__(self, path):
        self.file = Path(path).open("wb")  # noqa: SIM115 (closed in close)

    def write(self, data):
        if len(data) > 1 << 20:
            self.file.seek(len(data), io.SEEK_CUR)
        else:
            self.file.write(data)
        return len(data)

    def close(self):
        self.file.truncate(self.file.tell())
        self.file.close()


def test_files_beyond_2_gb(tmp_path, monkeypatch):
    """Written piece by piece and read through the map; the data are holes and take no space."""
    path = tmp_path / "big.caffemodel"
    zeros = np.zeros((5, 120_000_000), np.float32)  # 2.4 GB of untouched pages
    layers = [LayerWeights("big", blobs=[zeros, zeros[0]]), LayerWeights("b", blobs=[np.ones(3)])]
    monkeypatch.setattr(caffemodel, "atomic_write", lambda path: contextlib.closing(Sparse(path)))
    caffemodel.save(path, "net", layers)
    assert path.stat().st_size > 2_880_000_000
    blobs = load_weights(path).blobs()
    assert blobs["big"][0].shape == (5, 120_000_000) and blobs["big"][0][4, -1] == 0
    assert blobs["b"][0].tolist() == [1, 1, 1]


# Solver state


def test_caffe_s_solverstate():
    state = solverstate.load(GOLDEN / "sgd.solverstate")
    assert state["iter"] == 4
    assert state["learned_net"] == "snap_iter_4.caffemodel"
    assert state["current_step"] == 0
    assert state["extra"] == {}
    wanted = [EXPECTED[f"sgd_history/{i}"] for i in range(6)]
    assert_same_blobs({"history": state["history"]}, {"history": wanted})


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_solverstate_round_trip(tmp_path, suffix):
    if suffix:
        pytest.importorskip("h5py")
    path = tmp_path / f"a.solverstate{suffix}"
    history = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((), np.float32)]
    extra = {"seed": 2**63, "position": [1, 2], "pi": math.pi, "é": None}
    solverstate.save(path, iter=2**31 - 1, learned_net="é.caffemodel", history=history, extra=extra)
    state = solverstate.load(path)
    assert state["iter"] == 2**31 - 1 and state["learned_net"] == "é.caffemodel"
    assert state["current_step"] == 0 and state["extra"] == extra
    assert_same_blobs({"history": state["history"]}, {"history": history})


def test_solverstate_of_more_than_a_thousand_blobs(tmp_path):
    pytest.importorskip("h5py")
    history = [np.full(1, i, np.float32) for i in range(1100)]
    for suffix in ("", ".h5"):
        path = tmp_path / f"a.solverstate{suffix}"
        solverstate.save(path, iter=0, learned_net="", history=history)
        assert [blob[0] for blob in solverstate.load(path)["history"]] == list(range(1100))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"iter": -1}, r"iter -1 is not in 0\.\."),
        ({"iter": 2**31}, "iter 2147483648 is not in"),
        ({"current_step": -1}, "current_step -1"),
        ({"extra": {"a": object()}}, "extra state is not JSON"),
        ({"history": [np.array(["x"])]}, "history 0 has dtype"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_a_state_that_cannot_be_saved(tmp_path, change, problem, suffix):
    state = {"iter": 1, "learned_net": "", "history": [], **change}
    with pytest.raises(Error, match=problem):
        solverstate.save(tmp_path / f"a.solverstate{suffix}", **state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x12\x01n", "no iter"),
        ((GOLDEN / "sgd.caffemodel").read_bytes(), "as a .caffemodel does"),
        (b"<html>", "looks like an HTML page"),
        (b"\x08\x04" + b"".join(wire.nested(1701, [b"{]"])), "not the JSON it should be"),
        (b"\x08\x04" + b"".join(wire.nested(1701, [b"[1]"])), "not the JSON"),
        (b"\x08" + wire.varint(-5), "iter is -5"),
    ],
)
def test_not_a_solverstate(tmp_path, content, problem):
    path = tmp_path / "a.solverstate"
    path.write_bytes(content)
    with pytest.raises(Error, match=r"expected a \.solverstate") as caught:
        solverstate.load(path)
    assert problem in str(caught.value)


# Mean files and Datum


def test_caffe_s_mean_file(tmp_path):
    mean = binaryproto.load(GOLDEN / "mean.binaryproto")
    np.testing.assert_array_equal(mean, EXPECTED["mean"])
    binaryproto.save(tmp_path / "mean.binaryproto", mean[0])
    again = binaryproto.load(tmp_path / "mean.binaryproto")
    assert again.shape == mean.shape == (1, 3, 12, 14)
    np.testing.assert_array_equal(again, mean)


def test_a_matrix_keeps_its_shape(tmp_path):
    binaryproto.save(tmp_path / "h.binaryproto", np.eye(3))
    assert binaryproto.load(tmp_path / "h.binaryproto").shape == (3, 3)


def test_not_a_mean_file():
    with pytest.raises(Error, match=r"expected a \.binaryproto"):
        binaryproto.load(GOLDEN / "sgd.caffemodel")


@pytest.mark.parametrize(
    "datum",
    [
        Datum(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), 3),
        Datum(np.arange(24, dtype=np.float32).reshape(2, 3, 4), -1),
        Datum(np.ones((1, 1, 1), np.uint8), np.int64(7)),
        Datum(np.frombuffer(b"\xff\xd8\xff\xe0 a JPEG", np.uint8), 9, encoded=True),
    ],
)
def test_datum_round_trip(datum):
    again = Datum.parse(datum.serialize())
    assert (again.label, again.encoded) == (datum.label, datum.encoded)
    assert again.data.dtype == datum.data.dtype
    np.testing.assert_array_equal(again.data, datum.data)


def test_datum_bytes_are_what_the_schema_says():
    pixels = Datum(np.array([[[7, 8]]], np.uint8), 5).serialize()
    assert pixels == b"\x08\x01\x10\x01\x18\x02\x22\x02\x07\x08\x28\x05\x38\x00"
    floats = Datum(np.array([[[7]]], np.float32), 5).serialize()
    assert floats == b"\x08\x01\x10\x01\x18\x01\x28\x05\x35" + struct.pack("<f", 7) + b"\x38\x00"


def test_bad_datums():
    with pytest.raises(Error, match=r"lmdb record 7: byte 0: datum has shape \(7, 6, 5\) but 9"):
        Datum.parse((GOLDEN / "float_datum.bin").read_bytes(), "lmdb record 7")
    with pytest.raises(Error, match=r"expected \(C, H, W\)"):
        Datum(np.zeros((2, 2), np.uint8)).serialize()
    with pytest.raises(Error, match="32-bit"):
        Datum(np.zeros((1, 2, 2), np.uint8), 2**31).serialize()
    record = Datum(np.zeros((1, 2, 3), np.uint8), 1).serialize()
    for size in range(len(record) - 4):  # the last two fields are the label and `encoded`
        with pytest.raises(Error):
            Datum.parse(record[:size])


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(pydl.formats.__path__)])
def test_examples_in_docstrings(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if module == "hdf5":
        pytest.importorskip("h5py")
    module = importlib.import_module(f"pydl.formats.{module}")
    assert doctest.testmod(module).failed == 0
