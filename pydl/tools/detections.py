"""Objects that a net finds in an image: as rows, and drawn into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pydl.errors import Error
from pydl.net import Net
from pydl.tools.detectors import detector_of

if TYPE_CHECKING:
    from PIL.Image import Image

# Colours that are easily told apart, on light and dark pictures.
_COLOURS = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (0, 128, 128), (170, 110, 40), (128, 0, 0), (0, 0, 128),
)  # fmt: skip


@dataclass(frozen=True)
class Detection:
    """An object: its class, how sure the net is, and its box in pixels of the image."""

    label: int
    score: float
    box: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax


def detect(
    net: Net,
    image: np.ndarray,
    mean: np.ndarray | float = 0.0,
    scale: float = 1.0,
    threshold: float = 0.5,
) -> list[Detection]:
    """What a detector finds in an image: SSD, YOLOv2 (a Region layer), Faster R-CNN or R-FCN.

    Args:
        net: built with ``keep="all"`` where it scores regions (Faster R-CNN, R-FCN); its numbers
            for boxes then have to be as py-faster-rcnn saves them, in sides of the regions.
        image: uint8 (C, H, W), blue first; it is resized to the net's input.
        mean: what is subtracted from its values, such as one value per channel (C, 1, 1).
        scale: factor after that.
        threshold: least score of what is returned.

    Returns:
        Detections, the surest first.

    Raises:
        Error: a net of another kind, or with other inputs.

    >>> found = detect(net, read_image("cat.jpg"))  # doctest: +SKIP
    """
    read = detector_of(net)
    found = read(net, image, lambda pixels: (pixels.astype(np.float32) - mean) * scale)
    height, width = image.shape[1:]
    boxes = found.boxes * [width, height, width, height]
    sure = np.flatnonzero(found.scores >= threshold)
    sure = sure[np.argsort(-found.scores[sure], kind="stable")]
    return [Detection(int(found.labels[i]), float(found.scores[i]), tuple(boxes[i].tolist()))
            for i in sure]  # fmt: skip


def draw(
    image: np.ndarray, detections: list[Detection], names: Mapping[int, str] | None = None
) -> Image:
    """The image with a box, a name and a score for each detection.

    Args:
        image: uint8 (C, H, W), blue first, or one channel.
        detections: what to draw; the surest are drawn last, on top.
        names: of the classes; their numbers where there is none.

    Raises:
        Error: Pillow is not installed.

    >>> draw(image, found, {1: "cat"}).save("found.png")  # doctest: +SKIP
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise Error('drawing boxes needs Pillow: pip install "pydl[image]"') from error
    pixels = np.repeat(image, 3, axis=0) if len(image) == 1 else image[::-1]
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    canvas = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 150))
    for found in reversed(detections):
        colour = _COLOURS[found.label % len(_COLOURS)]
        x1, y1, x2, y2 = _inside(found.box, picture.size)
        canvas.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        text = f"{name_of(found.label, names)} {found.score:.2f}"
        left, top, right, bottom = canvas.textbbox((0, 0), text)
        y = max(0, y1 - (bottom - top) - 4)
        canvas.rectangle((x1, y, x1 + right - left + 4, y + bottom - top + 4), fill=colour)
        canvas.text((x1 + 2 - left, y + 2 - top), text, fill=(255, 255, 255))
    return picture


def name_of(label: int, names: Mapping[int, str] | None) -> str:
    """Of a class."""
    return (names or {}).get(label, str(label))


def _inside(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    width, height = size
    x1, x2 = np.clip(box[::2], 0, width - 1)
    y1, y2 = np.clip(box[1::2], 0, height - 1)
    return x1, y1, max(x1, x2), max(y1, y2)
