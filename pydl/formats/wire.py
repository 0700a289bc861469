"""The protobuf wire format, read in place from a buffer and written in pieces.

A message is a `Span` of a buffer; iterating `Span.fields` walks over its fields without copying.
Runs of unpacked floats come out as one strided numpy view, so no float is visited in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from pydl.errors import Error

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED32: np.dtype("<u4"), FIXED64: np.dtype("<u8")}
_NAMES = {
    VARINT: "a varint",
    FIXED64: "8-byte values",
    BYTES: "length-delimited bytes",
    3: "a group start",
    4: "a group end",
    FIXED32: "4-byte values",
}
_MAX_FIELD = (1 << 29) - 1


class Span:
    """A stretch of a buffer: a message, a string, or packed numbers.

    Args:
        buffer: the whole file.
        source: the file's name, for errors.
        expected: what the file should be, for errors.

    >>> from pydl.formats.wire import Span
    >>> for field in Span(memoryview(bytes([0x08, 0x96, 0x01])), "example", "a message").fields():
    ...     print(field.number, field.integer("iter"))
    1 150
    """

    __slots__ = ("buffer", "end", "expected", "source", "start")

    def __init__(
        self,
        buffer: memoryview,
        source: str,
        expected: str,
        start: int = 0,
        end: int | None = None,
    ):
        self.buffer = buffer
        self.source = source
        self.expected = expected
        self.start = start
        self.end = len(buffer) if end is None else end

    def __len__(self) -> int:
        return self.end - self.start

    def view(self) -> memoryview:
        """The bytes, not copied."""
        return self.buffer[self.start : self.end]

    def error(self, offset: int, problem: str) -> Error:
        return Error(f"{self.source}: byte {offset}: {problem}; expected {self.expected}")

    def fields(self) -> Iterator[Field]:
        """Walk over the fields of a message in file order.

        Consecutive 4- or 8-byte values with the same tag come as one field.
        """
        pos, end = self.start, self.end
        while pos < end:
            offset = pos
            tag, pos = self._varint(pos)
            number, wire_type = tag >> 3, tag & 7
            if not 0 < number <= _MAX_FIELD:
                raise self.error(offset, f"field number {number} is not allowed")
            if wire_type == VARINT:
                value, pos = self._varint(pos)
            elif wire_type == BYTES:
                value, pos = self._bytes(pos, number)
            elif wire_type in _FIXED:
                value, pos = self._fixed_run(offset, pos, number, _FIXED[wire_type])
            else:
                name = _NAMES.get(wire_type, "an unknown kind")
                raise self.error(offset, f"field {number} is {name} (wire type {wire_type})")
            yield Field(number, wire_type, value, offset, self)

    def varints(self, limit: int, what: str) -> list[int]:
        """The packed varints of this span; more than ``limit`` of them are an error."""
        values, pos = [], self.start
        while pos < self.end:
            if len(values) == limit:
                raise self.error(pos, f"{what}: more than {limit} numbers")
            value, pos = self._varint(pos)
            values.append(value)
        return values

    def _varint(self, pos: int) -> tuple[int, int]:
        buffer, start, value = self.buffer, pos, 0
        for shift in range(0, 70, 7):
            if pos >= self.end:
                raise self.error(start, "a varint runs past the end (truncated?)")
            byte = buffer[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, pos
        raise self.error(start, "a varint is longer than 10 bytes")

    def _bytes(self, pos: int, number: int) -> tuple[Span, int]:
        size, begin = self._varint(pos)
        left = self.end - begin
        if size > left:
            problem = f"field {number} claims {size} bytes but {left} are left (truncated?)"
            raise self.error(pos, problem)
        end = begin + size
        return Span(self.buffer, self.source, self.expected, begin, end), end

    def _fixed_run(
        self, offset: int, pos: int, number: int, dtype: np.dtype
    ) -> tuple[np.ndarray, int]:
        stride = pos - offset + dtype.itemsize
        if offset + stride > self.end:
            size, left = dtype.itemsize, self.end - pos
            problem = f"field {number} needs {size} bytes but {left} are left (truncated?)"
            raise self.error(offset, problem)
        count = self._count_same_tags(offset, pos - offset, stride)
        run = np.ndarray((count,), dtype, self.buffer, pos, (stride,))
        return run, offset + count * stride

    def _count_same_tags(self, offset: int, tag_size: int, stride: int) -> int:
        """How many records of ``stride`` bytes in a row begin with the tag at ``offset``.

        Looks ahead in windows that double, so short runs in a long message stay cheap.
        """
        tag = np.frombuffer(self.buffer, np.uint8, tag_size, offset)
        limit = (self.end - offset) // stride
        count, window = 1, 1
        while count < limit:
            size = min(window, limit - count)
            begin = offset + count * stride
            tags = np.ndarray((size, tag_size), np.uint8, self.buffer, begin, (stride, 1))
            same = (tags == tag).all(axis=1)
            if not same.all():
                return count + int(same.argmin())
            count += size
            window = min(2 * window, 1 << 20)
        return count


class Field(NamedTuple):
    """One field of a message, with typed access that checks the wire type."""

    number: int
    wire_type: int
    value: int | Span | np.ndarray
    offset: int
    message_span: Span

    def integer(self, what: str) -> int:
        """A varint as a signed number (int32, int64 and enums are 64-bit two's complement)."""
        self._expect(what, VARINT)
        return signed(self.value)

    def message(self, what: str) -> Span:
        self._expect(what, BYTES)
        return self.value

    def text(self, what: str) -> str:
        """A string; bytes that are not UTF-8 (old forks wrote GBK names) show as ``\\xNN``."""
        return bytes(self.message(what).view()).decode("utf-8", "backslashreplace")

    def integers(self, what: str, limit: int) -> list[int]:
        """A repeated integer: packed numbers, or a single one."""
        if self.wire_type == VARINT:
            return [signed(self.value)]
        return [signed(value) for value in self.message(what).varints(limit, what)]

    def array(self, what: str, dtype: str) -> np.ndarray:
        """A repeated float or double, packed or not: a read-only view, maybe strided, unaligned."""
        dtype = np.dtype(dtype)
        fixed = FIXED32 if dtype.itemsize == 4 else FIXED64
        if self.wire_type == fixed:
            return self.value.view(dtype)
        self._expect(what, BYTES)
        return as_array(self.value, what, dtype)

    def error(self, problem: str) -> Error:
        return self.message_span.error(self.offset, problem)

    def _expect(self, what: str, wire_type: int) -> None:
        if self.wire_type != wire_type:
            found, wanted = _NAMES[self.wire_type], _NAMES[wire_type]
            raise self.error(f"{what} (field {self.number}) is {found} instead of {wanted}")


def as_array(span: Span, what: str, dtype: str | np.dtype) -> np.ndarray:
    """Little-endian numbers that fill a span: a view, not copied."""
    dtype = np.dtype(dtype)
    if len(span) % dtype.itemsize:
        problem = f"{what}: {len(span)} bytes do not hold whole {dtype.itemsize}-byte numbers"
        raise span.error(span.start, problem)
    return np.frombuffer(span.buffer, dtype, len(span) // dtype.itemsize, span.start)


def signed(value: int) -> int:
    """
    >>> from pydl.formats.wire import signed
    >>> signed(2**64 - 1)
    -1
    """
    return value - (1 << 64) if value >> 63 else value


# Writing. A message is a list of chunks (bytes, or memoryviews of arrays), so that the data of a
# large net goes from its arrays to the file without a copy in between.

Chunk = bytes | memoryview


def varint(value: int) -> bytes:
    """
    >>> from pydl.formats.wire import varint
    >>> varint(150)
    b'\\x96\\x01'
    """
    value = int(value) & 0xFFFFFFFFFFFFFFFF  # numpy's integers do not take this mask
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def text(number: int, value: str) -> bytes:
    data = value.encode()
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def nested(number: int, chunks: Iterable[Chunk]) -> list[Chunk]:
    """A length-delimited field (message, bytes, packed numbers) that holds ``chunks``."""
    chunks = list(chunks)
    return [varint(number << 3 | BYTES) + varint(total_size(chunks)), *chunks]


def packed(number: int, array: np.ndarray, dtype: str) -> list[Chunk]:
    """A packed repeated float or double; no copy if ``array`` is contiguous and of that dtype."""
    return nested(number, [array_bytes(array, dtype)])


def unpacked(number: int, array: np.ndarray, dtype: str) -> bytes:
    """A repeated float or double, one tag per number."""
    values = np.ascontiguousarray(array, dtype).reshape(-1)
    tag = varint(number << 3 | (FIXED32 if values.itemsize == 4 else FIXED64))
    records = np.empty((values.size, len(tag) + values.itemsize), np.uint8)
    records[:, : len(tag)] = np.frombuffer(tag, np.uint8)
    records[:, len(tag) :] = values.view(np.uint8).reshape(values.size, values.itemsize)
    return records.tobytes()


def array_bytes(array: np.ndarray, dtype: str) -> memoryview:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def total_size(chunks: Iterable[Chunk]) -> int:
    return sum(len(chunk) for chunk in chunks)


def write(file: BinaryIO, chunks: Iterable[Chunk]) -> None:
    """Write chunks one after the other; together they may be larger than 2 GB."""
    for chunk in chunks:
        file.write(chunk)
