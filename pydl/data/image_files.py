"""Image files by name: the lists of ImageData layers, and the images of window files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pydl.data.dataset import Dataset, Records
from pydl.data.pictures import decode, resize
from pydl.errors import Error


class ImageFiles(Dataset):
    """Images that are read and decoded when they are asked for; ``images`` is None.

    Args:
        paths: the files.
        labels: one for each.
        name: what the set was opened by.
        color: "color" (3 channels, blue first) or "gray" (1).
        size: (height, width) to resize each to, or None.
        cache: keep the files, as they are on disk, in memory.
    """

    def __init__(
        self,
        paths: list[str],
        labels: list[float],
        name: str,
        color: str = "color",
        size: tuple[int, int] | None = None,
        cache: bool = False,
    ) -> None:
        self.name = name
        self._paths, self._labels = paths, labels
        self._color, self._size = color, size
        self._cache: dict[int, bytes] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the first image."""
        return self._image(0).shape

    def records(self, numbers: Sequence[int]) -> Records:
        images = [self._image(number) for number in numbers]
        names = [self._paths[n].encode("utf-8", "backslashreplace").decode() for n in numbers]
        return images, [self._labels[n] for n in numbers], names

    def _read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels, names = self.records(range(start, start + count))
        for image, name in zip(images, names, strict=True):
            if image.shape != images[0].shape:
                raise Error(
                    f"{name}: an image of {image.shape}, {names[0]} has {images[0].shape}; "
                    "give new_height and new_width"
                )
        return np.stack(images), np.array(labels)

    def _image(self, number: int) -> np.ndarray:
        path = self._paths[number]
        image = decode(self._content(number), self._color, path)
        return resize(image, *self._size) if self._size else image

    def _content(self, number: int) -> bytes:
        if self._cache is not None and number in self._cache:
            return self._cache[number]
        content = read_named_file(self._paths[number], self.name)
        if self._cache is not None:
            self._cache[number] = content
        return content


def read_image_list(source: str, root_folder: str) -> tuple[list[str], list[float]]:
    """The names and labels of an image list: ``name label`` on each line, a name may have spaces.

    Raises:
        Error: no such file, a line without a label, or no lines.
    """
    paths, labels = [], []
    for number, line in numbered_lines(source):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) < 2:
            raise Error(f"{source}:{number}: {line.strip()[:80]!r} has no label; name label")
        labels.append(_label(words[1], f"{source}:{number}"))
        paths.append(root_folder + words[0].lstrip())
    if not paths:
        raise Error(f"{source}: names no images; a line for each: name label")
    return paths, labels


def _label(text: str, where: str) -> float:
    try:
        label = float(text)
    except ValueError:
        label = float("nan")
    if not label.is_integer():
        raise Error(f"{where}: {text[:40]!r} is no label; an integer is needed behind the name")
    return label


def read_named_file(path: str, listed_in: str) -> bytes:
    """A file that a list names; Error where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Error(
            f"{path}: {error.strerror or error}; named in {listed_in} (root_folder, which must end "
            "in /, is put before it; relative names begin in the working directory)"
        ) from error


def numbered_lines(source: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that a layer names, counted from 1."""
    return enumerate(read_text(source).split("\n"), 1)


def read_text(source: str) -> str:
    """A text file that a layer names; Error where it cannot be read."""
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise Error(f"{source}: {error.strerror or error}") from error
    if b"\0" in content:
        raise Error(f"{source}: not a text file")
    return content.decode("utf-8", "surrogateescape")
