"""The built-in sets as a list, and whole sets as four arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pydl.data import sample, standard
from pydl.data.sources import PARTS, open_source
from pydl.errors import Error


@dataclass(frozen=True)
class SetInfo:
    """One built-in set: its ``source`` name, its size, where it lies (None: not here yet)."""

    name: str
    images: int
    shape: tuple[int, int, int]
    classes: int
    where: Path | None

    @property
    def ready(self) -> bool:
        return self.where is not None


def list_sets() -> list[SetInfo]:
    """Every built-in set, whether it is on this machine or not.

    >>> import pydl.data
    >>> [info.name for info in pydl.data.list_sets() if info.ready][:2]
    ['mnist_sample/train', 'mnist_sample/test']
    """
    infos = [
        SetInfo(f"{sample.NAME}/{part}", sample.COUNTS[part], sample.SHAPE, 10, sample.PATH)
        for part in PARTS
    ]
    for name, chosen in standard.SETS.items():
        where, classes = standard.locate(name), len(chosen.class_names)
        for part in PARTS:
            count = standard.COUNTS[part]
            infos.append(SetInfo(f"{name}/{part}", count, standard.SHAPE, classes, where))
    return infos


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A built-in set as ``x_train, y_train, x_test, y_test``.

    x is uint8 (N, C, H, W), 0 to 255; y is int64 (N,). Nothing is downloaded: a set that is not
    on this machine is an Error that says how to get it.

    >>> import pydl.data
    >>> x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    >>> x_train.shape, y_test.shape
    ((4000, 1, 28, 28), (1000,))
    """
    names = (sample.NAME, *standard.SETS)
    if name not in names:
        raise Error(f'no set "{name}"; there are {", ".join(names)}')
    train, test = (open_source(f"{name}/{part}") for part in PARTS)
    return train.images, train.labels, test.images, test.labels
