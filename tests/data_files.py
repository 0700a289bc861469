"""Files that the tests of data layers read: databases, images, lists."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl.formats.binaryproto import Datum


def records(shapes, seed=0):
    """Random images of these shapes, labels 0, 1, ..."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 256, shape).astype(np.uint8), i) for i, shape in enumerate(shapes)]


def write_lmdb(folder: Path, values: list[bytes]) -> Path:
    lmdb = pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    environment = lmdb.open(str(folder), map_size=1 << 26)
    with environment, environment.begin(write=True) as transaction:
        for i, value in enumerate(values):
            transaction.put(f"{i:08d}".encode(), value)
    return folder


def write_datums(folder: Path, rows) -> Path:
    return write_lmdb(folder, [Datum(image, label).serialize() for image, label in rows])


def encoded(pixels, kind="PNG", **options) -> bytes:
    """(H, W) or (H, W, 3), red first, as an image file's bytes."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra image)")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def planar(pixels):
    """(H, W, 3), red first, as Caffe has it: (3, H, W), blue first."""
    return pixels[:, :, ::-1].transpose(2, 0, 1)


def write_images(folder: Path, count=5, height=6, width=7, seed=0, suffix="png"):
    """Images in a folder and a list of them; gives their pixels (H, W, 3) and the list."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    pixels = [rng.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(count)]
    for i, image in enumerate(pixels):
        (folder / f"{i}.{suffix}").write_bytes(encoded(image))
    lines = [f"{i}.{suffix} {10 + i}\n" for i in range(count)]
    (folder / "list.txt").write_text("".join(lines))
    return pixels, folder / "list.txt"


def message(call, *args, **kwargs) -> str:
    with pytest.raises(pydl.Error) as caught:
        call(*args, **kwargs)
    return str(caught.value)
