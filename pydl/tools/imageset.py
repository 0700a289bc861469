"""`convert_imageset`: image files and their labels to an LMDB of Caffe Datums."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pydl.data.image_files import read_image_list
from pydl.data.lmdb_writer import LmdbWriter
from pydl.data.pictures import decode, resize
from pydl.errors import Error
from pydl.formats.binaryproto import Datum
from pydl.reporting.glog import LOGGER

_REPORT_EVERY = 1000


@dataclass
class ImageOptions:
    """How images become Datums.

    Attributes:
        gray: one channel in place of three (BGR).
        resize_height, resize_width: bilinear, as OpenCV does it; 0 for none.
        encoded: store image files, not pixels. A file that is not resized and of that kind is
            copied as it is.
        encode_type: kind of these files, such as "png"; by default each file's own suffix.
        check_size: all images must have the same size.
    """

    gray: bool = False
    resize_height: int = 0
    resize_width: int = 0
    encoded: bool = False
    encode_type: str = ""
    check_size: bool = False


def convert_imageset(
    root: str,
    list_file: str | os.PathLike,
    database: str | os.PathLike,
    options: ImageOptions | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> int:
    """Writes a new LMDB with a Datum per image; its keys are ``<8-digit number>_<file>``.

    Args:
        root: put in front of each file name as it is, as in Caffe: a folder ends in "/".
        list_file: lines ``file label``.
        database: the folder to make.
        options: see `ImageOptions`.
        shuffle: in random order, by ``seed`` if it is given.

    Returns:
        How many images were written; those that cannot be read are passed over with a warning.

    Raises:
        Error: a list or database that cannot be read or written, sizes that differ (check_size).

    >>> convert_imageset("images/", "train.txt", "train_lmdb", ImageOptions(gray=True))
    40
    """
    options = options or ImageOptions()
    if bool(options.resize_height) != bool(options.resize_width):
        LOGGER.warning("An image is resized only if both resize_height and resize_width are given")
    names, labels = read_image_list(os.fspath(list_file), "")
    lines = [(name, int(label)) for name, label in zip(names, labels, strict=True)]
    if shuffle:
        LOGGER.info("Shuffling data")
        random.Random(seed).shuffle(lines)
    LOGGER.info("A total of %d images.", len(lines))
    with LmdbWriter(database) as writer:
        LOGGER.info("Opened lmdb %s", os.fspath(database))
        count = 0
        for key, record in _records(root, lines, options):
            writer.put(key, record)
            count += 1
            if count % _REPORT_EVERY == 0:
                writer.commit()
                LOGGER.info("Processed %d files.", count)
    if count % _REPORT_EVERY:
        LOGGER.info("Processed %d files.", count)
    return count


def _records(
    root: str, lines: list[tuple[str, int]], options: ImageOptions
) -> Iterator[tuple[bytes, bytes]]:
    first = None
    for number, (name, label) in enumerate(lines):
        try:
            datum, size, _ = image_datum(root + name, label, options)
        except Error as error:
            LOGGER.error("%s", error)
            continue
        if options.check_size:
            first = first or (name, size)
            if size != first[1]:
                raise Error(
                    f"{root}{name}: size {_by(size)}, but {first[0]} has {_by(first[1])}; give "
                    "-resize_height and -resize_width to make them the same"
                )
        yield f"{number:08}_{name}".encode(errors="surrogateescape"), datum.serialize()


def image_datum(
    path: str, label: int, options: ImageOptions
) -> tuple[Datum, tuple[int, ...], tuple[int, int]]:
    """The record of an image, its shape (C, H, W), and (rows, columns) before it was resized.

    Raises Error for a file that cannot be read as an image, or encoded as the options say.

    >>> datum, shape, size = image_datum("cat.jpg", 3, ImageOptions(encoded=True))
    """
    size = (options.resize_height, options.resize_width)
    size = size if all(n > 0 for n in size) else None
    original = read_image(path, options.gray)
    image = original if size is None else resize(original, *size)
    if not (options.encoded or options.encode_type):
        return Datum(image, label), image.shape, original.shape[1:]
    kind = (options.encode_type or os.path.splitext(path)[1][1:]).lower()
    if not kind:
        raise Error(f"{path}: the suffix does not tell how to encode it; give -encode_type")
    # As in Caffe a file that is copied keeps its colours, gray or not.
    copied = size is None and _same_kind(path, kind)
    content = _read_bytes(path) if copied else _encode(image, kind, path)
    datum = Datum(np.frombuffer(content, np.uint8), label, encoded=True)
    return datum, image.shape, original.shape[1:]


def _same_kind(path: str, kind: str) -> bool:
    suffix = os.path.splitext(path)[1][1:].lower()
    return suffix == kind or {suffix, kind} == {"jpg", "jpeg"}


def _read_bytes(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Error(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error


def read_image(
    path: str | os.PathLike, gray: bool = False, size: tuple[int, int] | None = None
) -> np.ndarray:
    """An image file as uint8 (C, H, W): one channel if gray, else blue, green and red.

    ``size``, rows and columns, is what it is resized to, as OpenCV does it. Raises Error for a file
    that cannot be read as an image, or without Pillow.

    >>> read_image("cat.jpg", size=(227, 227)).shape
    (3, 227, 227)
    """
    image = decode(_read_bytes(path), "gray" if gray else "color", os.fspath(path))
    return image if size is None else resize(image, *size)


def _encode(image: np.ndarray, kind: str, path: str) -> bytes:
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
    formats = {suffix[1:]: name for suffix, name in Image.registered_extensions().items()}
    if kind not in formats:
        raise Error(f"{path}: no way to encode images as {kind!r}; known are png, jpg, bmp, ...")
    # OpenCV's quality for JPEG; the others lose nothing.
    options = {"quality": 95} if formats[kind] == "JPEG" else {}
    file = io.BytesIO()
    try:
        Image.fromarray(pixels).save(file, formats[kind], **options)
    except (OSError, ValueError) as error:
        raise Error(f"{path}: cannot be encoded as {kind}: {error}") from error
    return file.getvalue()


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
