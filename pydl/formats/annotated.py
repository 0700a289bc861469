"""Records of SSD's databases, AnnotatedDatums: an image and the boxes around its objects; and label
maps, the names of the classes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from pydl import prototxt
from pydl.errors import Error
from pydl.formats import wire
from pydl.formats.binaryproto import Datum
from pydl.formats.wire import Span
from pydl.prototxt.message import Message

EXPECTED = "an AnnotatedDatum, as pydl convert_annoset writes them"
COLUMNS = ("label", "instance", "xmin", "ymin", "xmax", "ymax", "difficult")

_DATUM, _TYPE, _GROUP = 1, 2, 3
_GROUP_LABEL, _ANNOTATION = 1, 2
_INSTANCE, _BOX = 1, 2
_CORNERS, _DIFFICULT = (1, 2, 3, 4), 6
_BOXES = 0  # the one AnnotationType


@dataclass
class AnnotatedDatum:
    """One record.

    ``boxes`` is float32 (G, 7): label, instance, xmin, ymin, xmax, ymax as parts of the image's
    width and height, and difficult (0 or 1); None for a record that has a label alone, its datum's.

    >>> import numpy as np
    >>> from pydl.formats.binaryproto import Datum
    >>> cat = [[3, 0, 0.1, 0.2, 0.5, 0.9, 0]]
    >>> record = AnnotatedDatum(Datum(np.zeros((3, 8, 8), np.uint8)), np.float32(cat)).serialize()
    >>> AnnotatedDatum.parse(record).boxes[0, 0]
    np.float32(3.0)
    """

    datum: Datum
    boxes: np.ndarray | None = None

    @classmethod
    def parse(cls, buffer: bytes | memoryview, source: str = "annotated datum") -> AnnotatedDatum:
        """Reads a serialized AnnotatedDatum.

        Args:
            buffer: the record.
            source: where it comes from, for errors.

        Raises:
            Error: malformed bytes, no image, or boxes that are not finite numbers.
        """
        span = Span(memoryview(buffer), source, EXPECTED)
        datum, annotated, rows = None, False, []
        for field in span.fields():
            if field.number == _DATUM:
                datum = Datum.parse(field.message("datum").view(), source)
            elif field.number == _TYPE:
                if field.integer("type") != _BOXES:
                    raise field.error("an annotation type other than BBOX")
                annotated = True
            elif field.number == _GROUP:
                rows += _parse_group(field.message("annotation_group"))
        if datum is None:
            raise span.error(span.start, "a record without an image")
        boxes = np.array(rows, np.float32).reshape(-1, len(COLUMNS))
        if not np.isfinite(boxes).all():
            raise span.error(span.start, "a box that is not finite")
        return cls(datum, boxes if annotated or len(boxes) else None)

    def serialize(self) -> bytes:
        """The record as SSD's convert_annoset writes it: a group of boxes for each label.

        Raises:
            Error: boxes of another shape, or that are not finite.
        """
        chunks = wire.nested(_DATUM, [self.datum.serialize()])
        if self.boxes is None:
            return b"".join(chunks)
        chunks.append(wire.integer(_TYPE, _BOXES))
        boxes = np.asarray(self.boxes, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != len(COLUMNS) or not np.isfinite(boxes).all():
            raise Error(f"boxes must be finite, (G, 7): {', '.join(COLUMNS)}; got {boxes.shape}")
        for label in dict.fromkeys(boxes[:, 0].tolist()):
            rows = boxes[boxes[:, 0] == label]
            group = [wire.integer(_GROUP_LABEL, int(label)), *map(_annotation, rows)]
            chunks += wire.nested(_GROUP, group)
        return b"".join(chunks)


def load_label_map(path: str | os.PathLike) -> dict[int, str]:
    """The name of each class in a label map file: prototxt, ``item { name: "n1" label: 1
    display_name: "cat" }``; the display name if there is one.

    Raises:
        Error: the file cannot be read, or two classes have one number.
    """
    return {label: item.display_name or item.name for label, item in _items(path).items()}


def load_label_names(path: str | os.PathLike) -> dict[int, str]:
    """The name of each class in a label map file, also where it has a display name: what files of
    annotations and of results call it. Raises Error as `load_label_map`."""
    return {label: item.name for label, item in _items(path).items()}


def _items(path: str | os.PathLike) -> dict[int, Message]:
    items: dict[int, Message] = {}
    for item in prototxt.load(path, "LabelMap").item:
        if item.label in items:
            raise Error(f"{os.fspath(path)}: two items have the label {item.label}")
        items[item.label] = item
    return items


def load_label_numbers(path: str | os.PathLike) -> dict[str, int]:
    """The number of each name in a label map file. Raises Error as `load_label_map`."""
    numbers: dict[str, int] = {}
    for item in prototxt.load(path, "LabelMap").item:
        if item.name in numbers:
            raise Error(f'{os.fspath(path)}: two items have the name "{item.name}"')
        numbers[item.name] = item.label
    return numbers


def label_map_text(names: dict[int, str]) -> str:
    """A label map file's text.

    >>> print(label_map_text({1: "cat"}), end="")
    item {
      name: "cat"
      label: 1
      display_name: "cat"
    }
    """
    items = [{"name": name, "label": label, "display_name": name} for label, name in names.items()]
    return prototxt.dumps(prototxt.new("LabelMap", item=items))


def _parse_group(span: Span) -> list[list[float]]:
    label, rows = 0, []
    for field in span.fields():
        if field.number == _GROUP_LABEL:
            label = field.integer("group_label")
        elif field.number == _ANNOTATION:
            rows.append(_parse_annotation(field.message("annotation")))
    return [[label, *row] for row in rows]


def _parse_annotation(span: Span) -> list[float]:
    instance, corners, difficult = 0, [0.0] * 4, False
    for field in span.fields():
        if field.number == _INSTANCE:
            instance = field.integer("instance_id")
        elif field.number == _BOX:
            corners, difficult = _parse_box(field.message("bbox"))
    return [instance, *corners, float(difficult)]


def _parse_box(span: Span) -> tuple[list[float], bool]:
    corners, difficult = [0.0] * 4, False
    for field in span.fields():
        if field.number in _CORNERS:
            corners[field.number - 1] = float(field.array("a side of a box", "<f4")[-1])
        elif field.number == _DIFFICULT:
            difficult = bool(field.integer("difficult"))
    return corners, difficult


def _annotation(row: np.ndarray) -> bytes:
    box = [wire.unpacked(number, row[1 + number], "<f4") for number in _CORNERS]
    box.append(wire.integer(_DIFFICULT, bool(row[6])))
    chunks = [wire.integer(_INSTANCE, int(row[1])), *wire.nested(_BOX, box)]
    return b"".join(wire.nested(_ANNOTATION, chunks))
