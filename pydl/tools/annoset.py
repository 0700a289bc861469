"""`convert_annoset`: images and the boxes around their objects to an LMDB of AnnotatedDatums."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from pydl.data.image_files import read_text
from pydl.data.lmdb_writer import LmdbWriter
from pydl.errors import Error
from pydl.formats.annotated import AnnotatedDatum, load_label_numbers
from pydl.reporting.glog import LOGGER
from pydl.tools.annotations import KINDS, read_annotations
from pydl.tools.imageset import ImageOptions, image_datum

_REPORT_EVERY = 1000


def convert_annoset(
    root: str,
    list_file: str | os.PathLike,
    database: str | os.PathLike,
    options: ImageOptions | None = None,
    *,
    label_type: str = "xml",
    label_map: str | os.PathLike | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> int:
    """Writes a new LMDB with a record per image, as SSD's tool of that name (needs lmdb).

    Args:
        root: put in front of each file name as it is, as in Caffe: a folder ends in "/".
        list_file: lines ``image annotations``, two files.
        database: the folder to make.
        options: as for `convert_imageset`. Boxes are parts of the image, so resizing keeps them.
        label_type: of the annotations: "xml" (PASCAL VOC), "json" or "txt"; see
            `pydl.tools.annotations`.
        label_map: a label map file, which XML needs for its names.
        shuffle: in random order, by ``seed`` if it is given.

    Returns:
        How many images were written.

    Raises:
        Error: files that cannot be read or written, or annotations that do not fit.

    >>> convert_annoset("VOC2007/", "test.txt", "test_lmdb", label_map="labelmap_voc.prototxt")
    4952
    """
    if label_type not in KINDS:
        raise Error(f'unknown label_type "{label_type}"; there are {", ".join(KINDS)}')
    if label_type == "xml" and label_map is None:
        raise Error("XML names its classes: a label map file must tell their numbers")
    options = options or ImageOptions()
    labels = load_label_numbers(label_map) if label_map is not None else {}
    lines = _read_list(os.fspath(list_file))
    if shuffle:
        random.Random(seed).shuffle(lines)
    LOGGER.info("A total of %d images.", len(lines))
    count = 0
    with LmdbWriter(database) as writer:
        for key, record in _records(root, lines, options, label_type, labels):
            writer.put(key, record)
            count += 1
            if count % _REPORT_EVERY == 0 or count == len(lines):
                LOGGER.info("Processed %d files.", count)
    return count


def _read_list(path: str) -> list[tuple[str, str]]:
    lines = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) < 2:
            raise Error(f"{path}:{number}: {line.strip()[:80]!r}; lines are `image annotations`")
        lines.append((words[0].lstrip(), words[1]))
    if not lines:
        raise Error(f"{path}: names no images; a line for each: image annotations")
    return lines


def _records(
    root: str,
    lines: list[tuple[str, str]],
    options: ImageOptions,
    label_type: str,
    labels: dict[str, int],
) -> Iterator[tuple[bytes, bytes]]:
    first = None
    for number, (image, boxes_file) in enumerate(lines):
        datum, shape, size = image_datum(root + image, -1, options)
        first = first or shape
        if options.check_size and shape != first:
            raise Error(
                f"{root}{image}: {shape}, but the first image is {first}; give -resize_height and "
                "-resize_width to make them the same"
            )
        boxes = read_annotations(root + boxes_file, label_type, size, labels)
        key = f"{number:08}_{image}".encode(errors="surrogateescape")
        yield key, AnnotatedDatum(datum, boxes).serialize()
