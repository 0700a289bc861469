"""Objects that a net finds in an image: as rows, and drawn into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pydl.data.pictures import resize
from pydl.errors import Error
from pydl.net import Net

if TYPE_CHECKING:
    from PIL.Image import Image

_COLUMNS = 7  # of a DetectionOutput's top: image, label, score, x1, y1, x2, y2
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
    """What a net with a DetectionOutput layer finds in an image.

    Args:
        net: with one input (N, C, H, W).
        image: uint8 (C, H, W), blue first; it is resized to the net's input.
        mean: what is subtracted from its values, such as one value per channel (C, 1, 1).
        scale: factor after that.
        threshold: least score of what is returned.

    Returns:
        Detections, the surest first.

    Raises:
        Error: a net without a DetectionOutput, or with other inputs.

    >>> found = detect(net, read_image("cat.jpg"))  # doctest: +SKIP
    """
    top = detection_top(net)
    if len(net.inputs) != 1 or len(net.blobs[net.inputs[0]].shape) != 4:
        raise Error(f"detect needs a net with one input N x C x H x W; it has {net.inputs}")
    name = net.inputs[0]
    _, channels, *size = net.blobs[name].shape
    if len(image) != channels:
        raise Error(f"the image has {len(image)} channels, the net's input {channels}")
    values = (resize(image, *size).astype(np.float32) - mean) * scale
    rows = net.forward(**{name: values[np.newaxis]})[top].reshape(-1, _COLUMNS)
    height, width = image.shape[1:]
    found = [
        Detection(int(row[1]), float(row[2]), (row[3] * width, row[4] * height, row[5] * width,
                  row[6] * height))
        for row in rows.tolist()
        if row[0] == 0 and row[1] >= 0 and row[2] >= threshold
    ]  # fmt: skip
    return sorted(found, key=lambda d: -d.score)


def detection_top(net: Net) -> str:
    """The output of a net's DetectionOutput layer. Raises Error where there is none."""
    for row in net._core.layer_rows():
        if row["type"] == "DetectionOutput":
            return row["tops"][0]
    raise Error(
        "the net has no DetectionOutput layer; for the scores of windows (R-CNN) give -model_def "
        "and -pretrained_model"
    )


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
