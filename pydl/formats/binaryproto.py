"""Mean files (`.binaryproto`, one BlobProto) and the Datum records of LMDB and LevelDB sets."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from pydl.errors import Error
from pydl.formats import blobproto, wire
from pydl.formats.atomic import atomic_write
from pydl.formats.files import reading
from pydl.formats.wire import Span

EXPECTED = "a .binaryproto (Caffe's BlobProto, such as a mean image)"

_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOAT_DATA, _ENCODED = 1, 2, 3, 4, 5, 6, 7
_INT32_MAX = 2**31 - 1


def load(path: str | os.PathLike) -> np.ndarray:
    """Read a mean file, or any single blob: float32, read-only, usually (1, C, H, W).

    Raises:
        Error: the file is missing, truncated, damaged, or something else.
    """
    with reading(path, EXPECTED) as view:
        return blobproto.parse(Span(view, os.fspath(path), EXPECTED), "blob")


def save(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write one blob; a mean image (C, H, W) becomes (1, C, H, W), which Caffe expects.

    Four axes are written as Caffe's ``compute_image_mean`` writes them, which its oldest programs
    understand, too.

    >>> import numpy as np
    >>> from pydl.formats import binaryproto
    >>> binaryproto.save("net.binaryproto", np.full((3, 8, 8), 127.5))
    >>> binaryproto.load("net.binaryproto").shape
    (1, 3, 8, 8)
    """
    array = array[np.newaxis] if array.ndim == 3 else array
    blobproto.check(array, os.fspath(path))
    with atomic_write(path) as file:
        is_image = array.ndim == 4
        wire.write(file, (blobproto.legacy_chunks if is_image else blobproto.chunks)(array))


@dataclass
class Datum:
    """One record of an image database.

    ``data`` is (C, H, W), uint8 or float32. If ``encoded`` it is instead the bytes of an image file
    (JPEG, PNG), a 1-D uint8 array.

    >>> import numpy as np
    >>> from pydl.formats.binaryproto import Datum
    >>> record = Datum(np.zeros((3, 2, 2), np.uint8), label=7).serialize()
    >>> Datum.parse(record).data.shape, Datum.parse(record).label
    ((3, 2, 2), 7)
    """

    data: np.ndarray
    label: int = 0
    encoded: bool = False

    @classmethod
    def parse(cls, buffer: bytes | memoryview, source: str = "datum") -> Datum:
        """Read a serialized Datum; ``data`` is a read-only view of ``buffer`` where it can be.

        Args:
            buffer: the record.
            source: where it comes from, for errors.

        Raises:
            Error: malformed bytes, or the shape and the amount of data disagree.
        """
        span = Span(memoryview(buffer), source, "a Datum")
        shape = {_CHANNELS: 0, _HEIGHT: 0, _WIDTH: 0}
        pixels, floats, label, encoded = None, [], 0, False
        for field in span.fields():
            number = field.number
            if number == _DATA:
                pixels = wire.as_array(field.message("data"), "data", np.uint8)
            elif number == _FLOAT_DATA:
                floats.append(field.array("float_data", "<f4"))
            elif number in shape:
                shape[number] = field.integer("channels, height or width")
            elif number == _LABEL:
                label = field.integer("label")
            elif number == _ENCODED:
                encoded = bool(field.integer("encoded"))
        if pixels is not None and pixels.size:
            data = pixels
        else:
            data = np.concatenate(floats) if floats else np.empty(0, np.uint8)
        if not data.size:
            raise span.error(span.start, "a datum without data")
        if not encoded:
            data = blobproto.reshape(data, list(shape.values()), span, "datum")
        return cls(data, label, encoded)

    def serialize(self) -> bytes:
        """The record as Caffe's tools write it.

        Raises:
            Error: ``data`` is not (C, H, W), or a label does not fit an int32.
        """
        if not -_INT32_MAX - 1 <= self.label <= _INT32_MAX:
            raise Error(f"datum: label {self.label} does not fit a 32-bit integer")
        chunks: list[wire.Chunk] = []
        label = wire.integer(_LABEL, self.label)
        if self.encoded:
            chunks += [*_bytes(self.data), label]
        elif self.data.ndim != 3:
            raise Error(f"datum: data has shape {self.data.shape}, expected (C, H, W)")
        else:
            dims = zip((_CHANNELS, _HEIGHT, _WIDTH), self.data.shape, strict=True)
            chunks += [wire.integer(number, dim) for number, dim in dims]
            if self.data.dtype == np.uint8:
                chunks += [*_bytes(self.data), label]
            else:
                chunks += [label, wire.unpacked(_FLOAT_DATA, self.data, "<f4")]
        chunks.append(wire.integer(_ENCODED, self.encoded))
        return b"".join(chunks)


def _bytes(data: np.ndarray) -> list[wire.Chunk]:
    return wire.nested(_DATA, [wire.array_bytes(data, "u1")])
