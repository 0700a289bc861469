"""Window files: for each image its name, its size, and the windows in it (R-CNN)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from pydl.data.image_files import read_text
from pydl.errors import Error

_FORM = """a window file has for each image
  # number
  name
  channels
  height
  width
  how many windows
  class overlap x1 y1 x2 y2     (for each window)"""
_FIELDS = 6
_LARGEST = 1 << 24


def read_window_file(source: str, root_folder: str) -> tuple[list[str], np.ndarray]:
    """The images' names, and the windows (N, 7): image, class, overlap, x1, y1, x2, y2.

    Images are counted in the order of the file.

    Raises:
        Error: no such file, or one that has not the form, naming the line.
    """
    paths: list[str] = []
    windows: list[np.ndarray] = []
    lines = _Lines(source)
    while (head := lines.next_or_none()) is not None:
        if not head.startswith("#"):
            raise lines.error(f"{head[:40]!r} in the place of '# number'")
        paths.append(root_folder + lines.next("the name of an image"))
        for what in ("channels", "height", "width"):
            lines.integer(what)
        block = _windows(lines, lines.integer("the number of windows"))
        windows.append(np.insert(block, 0, len(paths) - 1, axis=1))
    if not paths:
        raise Error(f"{source}: the window file is empty; {_FORM}")
    return paths, np.concatenate(windows)


def _windows(lines: _Lines, count: int) -> np.ndarray:
    rows = []
    for _ in range(count):
        rows.append((lines.next("a window"), lines.number))
    values = _numbers("\n".join(row for row, _ in rows))
    whole = all(len(row.split()) == _FIELDS for row, _ in rows)
    if not whole or len(values) != count * _FIELDS:
        lines.number = next(number for row, number in rows if not _is_window(row))
        raise lines.error(f"a window has {_FIELDS} numbers: class overlap x1 y1 x2 y2")
    block = values.reshape(count, _FIELDS)
    if count and not np.abs(block).max() <= _LARGEST:
        raise lines.error(f"a number above {_LARGEST}")
    return block


def _numbers(text: str) -> np.ndarray:
    """All numbers of a text, or fewer where it holds something else."""
    try:
        with warnings.catch_warnings():  # older versions of numpy warn, newer ones raise
            warnings.simplefilter("ignore", DeprecationWarning)
            return np.fromstring(text, np.float64, sep=" ")
    except ValueError:
        return np.empty(0)


def _is_window(row: str) -> bool:
    try:
        return len([float(word) for word in row.split()]) == _FIELDS
    except ValueError:
        return False


class _Lines:
    """The lines of a file, without the empty ones, and the number of the present one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: Iterator[tuple[int, str]] = (
            (number, stripped)
            for number, line in enumerate(read_text(source).split("\n"), 1)
            if (stripped := line.strip())
        )
        self.number = 0

    def error(self, problem: str) -> Error:
        return Error(f"{self._source}:{self.number}: {problem}; {_FORM}")

    def next_or_none(self) -> str | None:
        self.number, line = next(self._lines, (self.number, None))
        return line

    def next(self, what: str) -> str:
        line = self.next_or_none()
        if line is None:
            raise self.error(f"the file ends where {what} should be")
        return line

    def integer(self, what: str) -> int:
        text = self.next(what)
        if not text.isdecimal():
            raise self.error(f"{text[:40]!r} in the place of {what}")
        return int(text)
