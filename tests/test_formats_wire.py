"""The protobuf wire format: reading in place, writing in pieces, refusing damage."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydl.errors import Error
from pydl.formats import blobproto, wire
from pydl.formats.wire import Span


def span(data: bytes) -> Span:
    return Span(memoryview(data), "file.bin", "a test message")


def fields(data: bytes) -> list:
    return list(span(data).fields())


def blob(data: bytes) -> np.ndarray:
    return blobproto.parse(span(data), "blob")


SHAPE_3 = bytes([0x3A, 3, 0x0A, 1, 3])  # shape { dim: 3 }, packed
SHAPE_2X2 = bytes([0x3A, 4, 0x08, 2, 0x08, 2])  # shape { dim: 2 dim: 2 }, unpacked


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value):
    (field,) = fields(b"\x08" + wire.varint(value))
    assert field.value == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_negative_integers_are_two_s_complement(value):
    (field,) = fields(wire.integer(1, value))
    assert field.integer("x") == value
    assert len(wire.varint(-1)) == 10


def test_writers_give_the_documented_bytes():
    assert wire.integer(1, 150) == b"\x08\x96\x01"
    assert wire.text(2, "testing") == b"\x12\x07testing"
    assert b"".join(wire.nested(3, [wire.integer(1, 150)])) == b"\x1a\x03\x08\x96\x01"
    array = np.array([1.0, -2.0], np.float32)
    packed = struct.pack("<2f", 1, -2)
    assert b"".join(wire.packed(5, array, "<f4")) == b"\x2a\x08" + packed
    assert wire.unpacked(5, array, "<f4") == b"\x2d" + packed[:4] + b"\x2d" + packed[4:]


def test_writers_do_not_copy_contiguous_float32():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    _header, data = wire.packed(5, array, "<f4")
    array[0, 0] = 42
    assert np.frombuffer(data, "<f4")[0] == 42


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x08", "varint runs past the end"),
        (b"\x08\x80", "varint runs past the end"),
        (b"\xff", "varint runs past the end"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "varint is longer than 10 bytes"),
        (b"\x0a\x05abcd", "claims 5 bytes but 4 are left"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "claims 18446744073709551615 bytes but 0 are left"),
        (b"\x0a\xff\xff\xff\xff\x7fabc", "claims 34359738367 bytes but 3 are left"),
        (b"\x0b", "group start"),
        (b"\x0c", "group end"),
        (b"\x0e", "wire type 6"),
        (b"\x0f", "wire type 7"),
        (b"\x00\x00", "field number 0"),
        (b"\x80\x80\x80\x80\x80\x01\x00", "is not allowed"),
        (b"\x2d\x00\x00\x80", "needs 4 bytes but 3 are left"),
        (b"\x41\x00", "needs 8 bytes but 1 are left"),
    ],
)
def test_malformed_bytes_name_the_file_the_place_and_what_was_expected(data, problem):
    prefix = b"\x08\x01"
    with pytest.raises(Error) as caught:
        fields(prefix + data)
    message = str(caught.value)
    assert problem in message
    assert message.startswith("file.bin: byte ")
    assert message.endswith("expected a test message")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x28\x01", "is a varint instead of length-delimited bytes"),
        (SHAPE_3 + b"\x2a\x05abcde", "5 bytes do not hold whole 4-byte numbers"),
        (SHAPE_3 + b"\x2a\x08abcdefgh", "shape (3) but 2 numbers"),
        (b"\x3a\x04\x0a\x02\xff\xff", "varint runs past"),
        (b"\x3a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x01", "shape (-1) but 0 numbers"),
        (b"\x3a\x23\x0a\x21" + b"\x01" * 33, "more than 32 numbers"),
        (b"\x3a\x42" + b"\x08\x01" * 33, "more than 32 axes"),
        (SHAPE_3 + b"\x50\x07\x62\x00", "raw_data_type is 7"),
        (b"\x3a\x15\x0a\x13\x00" + (b"\xff" * 8 + b"\x3f") * 2, "impossible shape"),
    ],
)
def test_malformed_blobs(data, problem):
    with pytest.raises(Error, match="file.bin: byte") as caught:
        blob(data)
    assert problem in str(caught.value)


def test_packed_floats_are_a_read_only_view():
    data = SHAPE_3 + b"\x2a\x0c" + struct.pack("<3f", 1, 2, 3)
    array = blob(data)
    assert array.dtype == np.float32 and array.tolist() == [1, 2, 3]
    assert not array.flags.owndata and not array.flags.writeable


@pytest.mark.parametrize(
    "data",
    [
        b"".join(b"\x2d" + struct.pack("<f", x) for x in (1, 2, 3)),
        b"\x2a\x04" + struct.pack("<f", 1) + b"\x2a\x08" + struct.pack("<2f", 2, 3),
        b"\x2d" + struct.pack("<f", 1) + b"\x2a\x08" + struct.pack("<2f", 2, 3),
        b"".join(struct.pack("<BfBf", 0x2D, x, 0x35, 9) for x in (1, 2, 3)),  # diff in between
        b"\x42\x18" + struct.pack("<3d", 1, 2, 3),
        b"".join(b"\x41" + struct.pack("<d", x) for x in (1, 2, 3)),
        b"\x50\x00\x62\x18" + struct.pack("<3d", 1, 2, 3),
        b"\x50\x01\x62\x0c" + struct.pack("<3f", 1, 2, 3),
        b"\x50\x02\x62\x06" + struct.pack("<3e", 1, 2, 3),
    ],
    ids=[
        "unpacked",
        "chunks",
        "mixed",
        "interleaved",
        "double",
        "udouble",
        "raw64",
        "raw32",
        "raw16",
    ],
)
def test_every_way_to_store_floats(data):
    for message in (SHAPE_3 + data, data + SHAPE_3):
        array = blob(message)
        assert array.dtype == np.float32 and array.tolist() == [1, 2, 3]


def test_shapes():
    four = b"\x2a\x10" + struct.pack("<4f", 1, 2, 3, 4)
    assert blob(SHAPE_2X2 + four).shape == (2, 2)
    assert blob(b"\x08\x01\x10\x04\x18\x01\x20\x01" + four).shape == (1, 4, 1, 1)
    assert blob(b"\x3a\x00\x2a\x04" + struct.pack("<f", 1)).shape == ()
    assert blob(bytes([0x3A, 4, 0x0A, 2, 0, 3])).shape == (0, 3)


def test_long_runs_of_unpacked_floats_match_struct():
    values = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    for number in (5, 16, 5000):  # tags of 1, 2 and 3 bytes
        runs = wire.unpacked(number, values, "<f4") + wire.unpacked(number + 1, values[:7], "<f8")
        first, second = fields(runs)
        assert np.array_equal(first.array("x", "<f4"), values)
        assert np.array_equal(second.array("x", "<f8"), values[:7])


def test_alternating_tags_take_linear_time():
    pair = struct.pack("<BfBf", 0x2D, 1, 0x35, 2)
    started = time.perf_counter()
    assert len(fields(pair * 50_000)) == 100_000
    assert time.perf_counter() - started < 10


def test_strings_of_old_forks_that_are_not_utf8_still_read():
    (field,) = fields(b"\x0a\x02\xbe\xed")
    assert field.text("name") == r"\xbe\xed"


@given(st.binary(max_size=200))
def test_any_bytes_give_fields_or_an_error(data):
    for parse in (fields, blob):
        try:
            parse(data)
        except Error as error:
            assert "file.bin: byte" in str(error)
