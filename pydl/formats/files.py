"""Files mapped into memory, and what a file that is not the expected one looks like."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator

from pydl.errors import Error

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAGIC = [
    (0, _HDF5, "an HDF5 file"),
    (0, b"PK\x03\x04", "a zip archive (.zip, .npz, PyTorch's .pt and .pth)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a rar archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x93NUMPY", "a numpy .npy file"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"GGUF", "a GGUF model"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
]
_TEXT = [
    (b"<!doctype html", "an HTML page (a download that went wrong?)"),
    (b"<html", "an HTML page (a download that went wrong?)"),
    (b"<?xml", "an XML file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with `git lfs pull`"),
    (b"name:", "a prototxt text"),
    (b"layer", "a prototxt text"),
    (b"input:", "a prototxt text"),
    (b"{", "JSON text"),
]


def describe(view: memoryview) -> str | None:
    """Say what a file looks like, or None.

    >>> from pydl.formats.files import describe
    >>> describe(memoryview(b"<html><body>404"))
    'an HTML page (a download that went wrong?)'
    """
    for offset, magic, name in _MAGIC:
        if view[offset : offset + len(magic)] == magic:
            return name
    if view[8:9] == b"{" and int.from_bytes(view[:8], "little") < 1 << 32:
        return "a .safetensors file"
    head = bytes(view[:256]).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, name in _TEXT:
        if head.startswith(start):
            return name
    return None


def is_hdf5(path: str | os.PathLike) -> bool:
    """Whether a file is HDF5, by content; False if it cannot be read."""
    try:
        return map_file(path, "an HDF5 file")[: len(_HDF5)] == _HDF5
    except Error:
        return False


def map_file(path: str | os.PathLike, expected: str) -> memoryview:
    """Map a whole file read-only, without reading it.

    Raises:
        Error: the file is missing, unreadable, not a regular file, or empty.

    >>> from pydl.formats.files import map_file
    >>> bytes(map_file(__file__, "this text")[:3])
    b'\"\"\"'
    """
    name = os.fspath(path)
    try:
        # Looked at before it is opened: opening a named pipe would wait for a writer.
        status = os.stat(name)
        if stat.S_ISDIR(status.st_mode):
            raise Error(f"{name}: is a folder, expected {expected}")
        if not stat.S_ISREG(status.st_mode):
            raise Error(f"{name}: is not a regular file, expected {expected}")
        if status.st_size == 0:
            raise Error(f"{name}: is empty, expected {expected}")
        with open(name, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise Error(f"{name}: no such file (expected {expected})") from None
    except (OSError, ValueError) as error:
        raise Error(f"{name}: cannot read: {error}") from error


@contextlib.contextmanager
def reading(path: str | os.PathLike, expected: str) -> Iterator[memoryview]:
    """Map a file; an ``Error`` while parsing it also says what the file looks like, if known."""
    view = map_file(path, expected)
    try:
        yield view
    except Error as error:
        looks = describe(view)
        if looks is None or looks in expected:
            raise
        raise Error(f"{os.fspath(path)}: looks like {looks}, expected {expected}") from error
