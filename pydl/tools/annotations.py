"""Files that tell the boxes around the objects of an image: PASCAL VOC's XML, COCO's JSON (as SSD's
scripts split it, a file for each image), and plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from pydl.errors import Error
from pydl.formats.annotated import COLUMNS
from pydl.prototxt.names import nearest

# label, xmin, ymin, xmax, ymax in pixels, difficult
Row = tuple[int, float, float, float, float, bool]

_TEXT_FORM = "a line for each box: label xmin ymin xmax ymax"


def read_annotations(
    path: str, kind: str, size: tuple[int, int], labels: Mapping[str, int]
) -> np.ndarray:
    """The boxes that a file tells, as `pydl.formats.annotated.AnnotatedDatum.boxes`.

    Args:
        path: the file.
        kind: "xml", "json" or "txt".
        size: rows and columns of the image, which corners are divided by; where the file gives a
            size of its own, that one counts.
        labels: the number of each name, for XML.

    Returns:
        float32 (G, 7). Boxes are cut to the image.

    Raises:
        Error: a file that cannot be read, an unknown name, or a box without width or height.

    >>> read_annotations("cat.txt", "txt", (100, 200), {})
    array([[1.  , 0.  , 0.05, 0.1 , 0.5 , 0.9 , 0.  ]], dtype=float32)
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    rows, (height, width) = _READERS[kind](path, text, size, labels)
    boxes = np.empty((len(rows), len(COLUMNS)), np.float32)
    instances: dict[int, int] = {}
    for box, (label, x1, y1, x2, y2, difficult) in zip(boxes, rows, strict=True):
        corners = np.array([x1 / width, y1 / height, x2 / width, y2 / height]).clip(0, 1)
        if not (corners[:2] < corners[2:]).all():
            raise Error(
                f"{path}: the box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}) has no part in the "
                f"image of {width} x {height} pixels"
            )
        instance = instances[label] = instances.get(label, -1) + 1
        box[:] = [label, instance, *corners, difficult]
    return boxes


Found = tuple[list[Row], tuple[int, int]]


def _read_xml(path: str, text: str, size: tuple[int, int], labels: Mapping[str, int]) -> Found:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Error(f"{path}: not readable as XML: {error}") from error
    own = tuple(_number(path, root, f"size/{name}", 0) for name in ("height", "width"))
    rows = []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in labels:
            close = nearest(name, labels)
            hint = f'; did you mean "{close}"?' if close else ""
            raise Error(f'{path}: the label map has no class "{name}"{hint}')
        corners = [_number(path, item, f"bndbox/{side}") for side in COLUMNS[2:6]]
        rows.append((labels[name], *corners, bool(_number(path, item, "difficult", 0))))
    return rows, (own if all(n > 0 for n in own) else size)


def _number(
    path: str, item: ElementTree.Element, place: str, default: float | None = None
) -> float:
    text = item.findtext(place)
    if text is None and default is not None:
        return default
    try:
        return float(text or "")
    except ValueError:
        raise Error(f"{path}: {place} of an object is no number: {text!r}") from None


def _read_json(path: str, text: str, size: tuple[int, int], labels: Mapping[str, int]) -> Found:
    try:
        tree = json.loads(text)
        rows = []
        for item in tree["annotation"]:
            x, y, width, height = map(float, item["bbox"])
            label, crowd = int(item["category_id"]), bool(item.get("iscrowd", 0))
            rows.append((label, x, y, x + width, y + height, crowd))
        image = tree.get("image", {})
        own = (int(image.get("height", 0)), int(image.get("width", 0)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Error(
            f'{path}: {error!r}; {{"image": {{"height": H, "width": W}}, "annotation": [{{"bbox": '
            '[x, y, width, height], "category_id": N}, ...]} is needed'
        ) from None
    return rows, (own if all(n > 0 for n in own) else size)


def _read_text(path: str, text: str, size: tuple[int, int], labels: Mapping[str, int]) -> Found:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, x1, y1, x2, y2 = line.split()
            rows.append((int(label), float(x1), float(y1), float(x2), float(y2), False))
        except ValueError:
            raise Error(f"{path}:{number}: {line.strip()[:60]!r}; {_TEXT_FORM}") from None
    return rows, size


_READERS: dict[str, Callable[[str, str, tuple[int, int], Mapping[str, int]], Found]] = {
    "xml": _read_xml,
    "json": _read_json,
    "txt": _read_text,
}
KINDS = tuple(_READERS)
