"""`convert_imageset`: image files and their labels to an LMDB of Caffe Datums."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    lines = _read_list(list_file)
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
            datum = _datum(root + name, label, options)
        except Error as error:
            LOGGER.error("%s", error)
            continue
        if options.check_size:
            size = _image_size(root + name) if datum.encoded else datum.data.shape
            first = first or (name, size)
            if size != first[1]:
                raise Error(
                    f"{root}{name}: size {_by(size)}, but {first[0]} has {_by(first[1])}; give "
                    "-resize_height and -resize_width to make them the same"
                )
        yield f"{number:08}_{name}".encode(), datum.serialize()


def _read_list(path: str | os.PathLike) -> list[tuple[str, int]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Error(f"{os.fspath(path)}: cannot be read: {reason}") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        name, _, label = line.rstrip().rpartition(" ")
        try:
            lines += [(name, int(label))] if line.strip() else []
        except ValueError:
            raise Error(
                f"{os.fspath(path)}:{number}: expected `file label`, got {line.strip()!r}"
            ) from None
    return lines


def _datum(path: str, label: int, options: ImageOptions) -> Datum:
    if not (options.encoded or options.encode_type):
        return Datum(_planes(_read_wanted(path, options)), label)
    kind = options.encode_type or os.path.splitext(path)[1][1:]
    kind = kind.lower()
    if not kind:
        raise Error(f"{path}: the suffix does not tell how to encode it; give -encode_type")
    resized = options.resize_height > 0 and options.resize_width > 0
    if not resized and _same_kind(path, kind):
        _open_image(path)  # to see that it is one; as in Caffe it keeps its colours, gray or not
        return Datum(np.frombuffer(_read_bytes(path), np.uint8), label, encoded=True)
    encoded = _encode(_read_wanted(path, options), kind, path)
    return Datum(np.frombuffer(encoded, np.uint8), label, encoded=True)


def _same_kind(path: str, kind: str) -> bool:
    suffix = os.path.splitext(path)[1][1:].lower()
    return suffix == kind or {suffix, kind} == {"jpg", "jpeg"}


def _read_bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror}") from error


def _open_image(path: str):
    try:
        from PIL import Image
    except ImportError as error:
        raise Error(f'{path}: images need Pillow: pip install "pydl[image]"') from error
    try:
        image = Image.open(io.BytesIO(_read_bytes(path)))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Error(f"{path}: not a readable image: {error}") from error
    return image


def read_image(
    path: str | os.PathLike, gray: bool = False, size: tuple[int, int] | None = None
) -> np.ndarray:
    """An image file as uint8, (H, W) if gray, else (H, W, 3) in BGR; resized to (rows, columns).

    Raises Error for a file that cannot be read as an image, or without Pillow.

    >>> read_image("cat.jpg", size=(227, 227)).shape
    (227, 227, 3)
    """
    path = os.fspath(path)
    image = decode(_read_bytes(path), "gray" if gray else "color", path)
    image = image if size is None else resize(image, *size)
    return image[0] if gray else np.ascontiguousarray(image.transpose(1, 2, 0))


def _read_wanted(path: str, options: ImageOptions) -> np.ndarray:
    size = (options.resize_height, options.resize_width)
    return read_image(path, options.gray, size if all(n > 0 for n in size) else None)


def _image_size(path: str) -> tuple[int, int]:
    return _open_image(path).size


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _planes(pixels: np.ndarray) -> np.ndarray:
    """(C, H, W)"""
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _encode(pixels: np.ndarray, kind: str, path: str) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1]))
    formats = {suffix[1:]: name for suffix, name in Image.registered_extensions().items()}
    if kind not in formats:
        raise Error(f"{path}: no way to encode images as {kind!r}; known are png, jpg, bmp, ...")
    # OpenCV's quality for JPEG; the others lose nothing.
    options = {"quality": 95} if formats[kind] == "JPEG" else {}
    file = io.BytesIO()
    try:
        image.save(file, formats[kind], **options)
    except (OSError, ValueError) as error:
        raise Error(f"{path}: cannot be encoded as {kind}: {error}") from error
    return file.getvalue()
