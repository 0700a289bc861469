"""Brings one file from a folder or an address to its place: unpacked, checked, whole or not at all.

What arrives goes to a temporary file beside the target, is hashed on the way, and takes the
target's name only when size and MD5 are right.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydl.data.idx import find_file, is_gzip
from pydl.errors import Error
from pydl.formats.atomic import atomic_write

_CHUNK = 1 << 18
_TIMEOUT_S = 30

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Content:
    """What an unpacked file must be."""

    size: int
    md5: str


class _OriginError(Exception):
    """What is wrong with one origin; the next one may do better."""


def is_installed(path: Path, expected: Content) -> bool:
    """Whether ``path`` is there and is what it must be."""
    if not path.is_file() or path.stat().st_size != expected.size:
        return False
    digest = _md5()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == expected.md5


def from_first(
    origins: Iterable[str | Path], target: Path, expected: Content, report: Report | None = None
) -> None:
    """Installs ``target`` from the first origin (folder or address) that gives the right content.

    ``report`` is called as ``report(bytes_done, bytes_in_all)``. Raises Error with what was wrong
    at each origin, or with what kept the target from being written.
    """
    _make_folder(target.parent)
    failures = []
    for origin in origins:
        try:
            _write(_chunks(origin, target.name), target, expected, report)
            return
        except _OriginError as error:
            failures.append(f"{_describe(origin, target.name)}: {error}")
    raise Error("\n".join([*failures, f"{target} was not written"]))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Error(
            f"{folder}: cannot be made: {error.strerror}; choose another with --to or $PYDL_DATA"
        ) from error


def _write(chunks: Iterable[bytes], target: Path, expected: Content, report: Report | None) -> None:
    digest, done = _md5(), 0
    with atomic_write(target) as out:
        for chunk in chunks:
            done += len(chunk)
            if done > expected.size:
                raise _OriginError(f"more than the {expected.size} bytes that {target.name} has")
            out.write(chunk)
            digest.update(chunk)
            if report:
                report(done, expected.size)
        if done != expected.size:
            raise _OriginError(f"{done} bytes unpacked, expected {expected.size}")
        if digest.hexdigest() != expected.md5:
            raise _OriginError(f"unpacked MD5 is {digest.hexdigest()}, expected {expected.md5}")


def _chunks(origin: str | Path, file: str) -> Iterator[bytes]:
    """What an origin gives, unpacked; whatever goes wrong on its side is an _OriginError."""
    import http.client
    import urllib.error

    try:
        with _open(origin, file) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except EOFError as error:
        raise _OriginError("the gzip file is truncated") from error
    except urllib.error.HTTPError as error:
        raise _OriginError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _OriginError(f"{error.reason}") from error
    except (OSError, ValueError, zlib.error, http.client.HTTPException) as error:
        raise _OriginError(f"{error}") from error


@contextmanager
def _open(origin: str | Path, file: str) -> Iterator[BinaryIO]:
    import urllib.request

    if isinstance(origin, Path):
        path = find_file(origin / file)
        if path is None:
            raise _OriginError("no such file, with or without .gz")
        with gzip.open(path) if is_gzip(path) else open(path, "rb") as stream:
            yield stream
        return
    request = urllib.request.Request(_file_url(origin, file), headers={"User-Agent": "pydl"})
    response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    with response, gzip.GzipFile(fileobj=response) as stream:
        yield stream


def _describe(origin: str | Path, file: str) -> str:
    return str(origin / file) if isinstance(origin, Path) else _file_url(origin, file)


def _file_url(url: str, file: str) -> str:
    return f"{url.rstrip('/')}/{file}.gz"


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
