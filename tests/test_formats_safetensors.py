"""The safetensors format, byte by byte."""

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pydl.errors import Error
from pydl.formats import LayerWeights, bundle, load_weights, safetensors

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def file_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_round_trip_of_every_dtype(tmp_path):
    r = np.random.default_rng(0)
    shapes = [(2, 3), (), (0, 4), (5,)]
    tensors = {
        f"{dtype} {shape}": r.integers(0, 2, shape).astype(dtype)
        for dtype in DTYPES
        for shape in shapes
    }
    path = tmp_path / "a.safetensors"
    safetensors.save(path, tensors, {"é": "ü", "n": "1"})
    again, metadata = safetensors.load(path)
    assert metadata == {"é": "ü", "n": "1"}
    assert list(again) == list(tensors)
    for name, array in tensors.items():
        assert again[name].dtype == array.dtype and again[name].shape == array.shape
        np.testing.assert_array_equal(again[name], array)
        assert again[name].flags.aligned and not again[name].flags.writeable
        assert again[name].base is not None


def test_the_bytes(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.save(path, {"w": np.array([1, 2], ">f4"), "d": np.array(3.0)})
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    assert (8 + size) % 64 == 0 and size % 8 == 0
    assert json.loads(data[8 : 8 + size]) == {
        "w": entry(offsets=(8, 16)),
        "d": entry("F64", (), (0, 8)),
    }
    assert data[8 + size :] == struct.pack("<dff", 3, 1, 2)


def test_other_memory_layouts(tmp_path):
    path = tmp_path / "a.safetensors"
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    safetensors.save(path, {"t": array.T, "s": array[:, ::2]})
    again, metadata = safetensors.load(path)
    assert metadata == {}
    np.testing.assert_array_equal(again["t"], array.T)
    np.testing.assert_array_equal(again["s"], array[:, ::2])


def test_bf16_becomes_float32(tmp_path):
    values = np.array([1.0, -2.5, np.inf, 2.0**-130], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_bytes({"w": entry("BF16", (2, 2))}, halves))
    (array,) = safetensors.load(path)[0].values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, values.reshape(2, 2))


EIGHT = b"\0" * 8


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x01", "claims"),
        (struct.pack("<Q", 2**63) + b"{}", "claims 9223372036854775808 bytes"),
        (file_bytes(b"[]"), "not a JSON object"),
        (file_bytes(b"{"), "not JSON"),
        (file_bytes(b"\xff\xff"), "not JSON"),
        (file_bytes(b"[" * 100_000), "not JSON"),
        (file_bytes(b'{"w": 1, "w": 2}'), "a name occurs twice"),
        (file_bytes({"w": 1}), "lacks a proper"),
        (file_bytes({"w": {"dtype": "F32"}}), "lacks a proper"),
        (file_bytes({"w": entry(shape=(True,))}, EIGHT), "lacks a proper"),
        (file_bytes({"w": entry(shape=(2.0,))}, EIGHT), "lacks a proper"),
        (file_bytes({"w": entry(shape=(-2,))}, EIGHT), "lacks a proper"),
        (file_bytes({"w": entry(offsets=(0, 8, 16))}, EIGHT), "lacks a proper"),
        (file_bytes({"w": entry("F3")}, EIGHT), "dtype 'F3'; known are F64, F32"),
        (file_bytes({"w": entry()}, EIGHT[:7]), "take 8 bytes, the file has 7"),
        (file_bytes({"w": entry()}, EIGHT + b"x"), "take 8 bytes, the file has 9"),
        (file_bytes({"w": entry(shape=(3,))}, EIGHT), "shape [3] has 8 bytes"),
        (file_bytes({"w": entry(offsets=(8, 0))}, EIGHT), "8..0"),
        (file_bytes({"w": entry(offsets=(4, 12))}, EIGHT * 2), "expected it to begin at 0"),
        (file_bytes({"w": entry(), "v": entry()}, EIGHT), "expected it to begin at 8"),
        (file_bytes({"w": entry(shape=(1,) * 40, offsets=(0, 4))}, EIGHT[:4]), "has 4 bytes"),
        (file_bytes({"w": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "impossible shape"),
        (file_bytes({"__metadata__": {"a": 1}}), "not a map of strings"),
        (file_bytes({"__metadata__": []}), "not a map of strings"),
    ],
)
def test_malformed_files(tmp_path, data, problem):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(Error) as caught:
        safetensors.load(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value) and "expected a .safetensors" in str(caught.value)


def test_foreign_files(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(Error, match="looks like a zip archive"):
        safetensors.load(path)


@pytest.mark.parametrize(
    ("tensors", "metadata", "problem"),
    [
        ({"w": np.zeros(2, complex)}, None, "dtype complex128; can store float64"),
        ({"__metadata__": np.zeros(2)}, None, "no tensor can have the name"),
        ({}, {"a": 1}, "metadata 'a' is int"),
    ],
)
def test_what_cannot_be_saved(tmp_path, tensors, metadata, problem):
    with pytest.raises(Error, match=problem):
        safetensors.save(tmp_path / "a.safetensors", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 150), size=st.integers(0, 8), new=st.binary(max_size=8))
def test_mutated_files_load_or_raise_error(tmp_path, at, size, new):
    path = tmp_path / "a.safetensors"
    tensors = {"a/0": np.ones((2, 2), np.float32), "a/1": np.ones(2)}
    safetensors.save(path, tensors, {"layers": "[]"})
    data = bytearray(path.read_bytes())
    data[at : at + size] = new
    path.write_bytes(data)
    for load in (safetensors.load, bundle.load, load_weights):
        try:
            load(path)
        except Error as error:
            assert str(path) in str(error)


def test_a_bundle_s_own_metadata_is_kept(tmp_path):
    path = tmp_path / "a.safetensors"
    layers = [LayerWeights("a/b", "InnerProduct", ["x"], ["y"], [np.ones((2, 3))])]
    bundle.save(path, "net", layers, {"spec": "{}"})
    tensors, metadata = safetensors.load(path)
    assert list(tensors) == ["a/b/0"] and tensors["a/b/0"].dtype == np.float32
    assert metadata["spec"] == "{}" and metadata["format"] == "pydl"
    again = bundle.load(path)
    assert again.layers[0].bottom == ["x"] and again.name == "net"


def test_tensors_of_other_programs_are_not_layers(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.save(path, {"features.0.weight": np.ones(2)})
    with pytest.raises(Error, match=r"'features\.0\.weight' is not named <layer>/<i>"):
        load_weights(path)
    safetensors.save(path, {"a/5000": np.ones(2)})
    with pytest.raises(Error, match="beyond the 1024"):
        load_weights(path)
