"""How the nets of each family of detectors are fed, and what their outputs say: SSD's, YOLOv2's,
and those that score regions (Faster R-CNN, R-FCN)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pydl.data.pictures import resize
from pydl.errors import Error
from pydl.net import Net

_REGION_BLOBS = ("rois", "cls_prob", "bbox_pred")  # py-faster-rcnn's names
_REGION_OVERLAP = 0.3  # py-faster-rcnn's TEST.NMS


@dataclass(frozen=True)
class Found:
    """Of one image: boxes (D, 4) [x1, y1, x2, y2] as shares of it, labels (D,), scores (D,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


Prepare = Callable[[np.ndarray], np.ndarray]  # subtracts the mean, and so on
Detector = Callable[[Net, np.ndarray, Prepare], Found]


def detector_of(net: Net) -> Detector:
    """What feeds an image (C, H, W) to a net of its kind and reads its outputs. Raises Error for a
    net of no known kind."""
    for row in net._core.layer_rows():
        if row["type"] == "DetectionOutput":
            return lambda n, image, prepare: _of_ssd(n, row["tops"][0], image, prepare)
        if row["type"] == "Region":
            return lambda n, image, prepare: _of_yolo(n, row["tops"][0], image, prepare)
    if all(name in net.blobs for name in _REGION_BLOBS):
        return _of_regions
    raise Error(
        "the net has no DetectionOutput (SSD) or Region (YOLOv2) layer, nor the blobs rois, "
        "cls_prob and bbox_pred (Faster R-CNN, R-FCN); for the scores of windows (R-CNN) give "
        "-model_def and -pretrained_model"
    )


def _of_ssd(net: Net, top: str, image: np.ndarray, prepare: Prepare) -> Found:
    rows = _forward(net, image, prepare)[top].reshape(-1, 7)  # image, label, score, box
    rows = rows[(rows[:, 0] == 0) & (rows[:, 1] >= 0)]
    return Found(rows[:, 3:], rows[:, 1].astype(int), rows[:, 2])


def _of_yolo(net: Net, top: str, image: np.ndarray, prepare: Prepare) -> Found:
    rows = _forward(net, image, prepare)[top]
    rows = rows.reshape(-1, rows.shape[-1])  # centre, size, the object's probability, the classes'
    row, label = np.nonzero(rows[:, 5:])
    centre, half = rows[row, :2], rows[row, 2:4] / 2
    return Found(np.hstack([centre - half, centre + half]), label, rows[row, 5 + label])


def _forward(net: Net, image: np.ndarray, prepare: Prepare) -> dict[str, np.ndarray]:
    """Of an image that is resized to the net's only input."""
    if len(net.inputs) != 1 or len(net.blobs[net.inputs[0]].shape) != 4:
        raise Error(f"detect needs a net with one input N x C x H x W; it has {net.inputs}")
    name = net.inputs[0]
    _check_channels(net, name, image)
    size = net.blobs[name].shape[2:]
    return net.forward(**{name: prepare(resize(image, *size))[np.newaxis]})


def _of_regions(net: Net, image: np.ndarray, prepare: Prepare) -> Found:
    """The image keeps its form: it is resized until its sides fit those of the net's input, the
    shorter the shorter (600 x 1000 gives the sizes of py-faster-rcnn)."""
    if sorted(net.inputs) != ["data", "im_info"]:
        raise Error(
            f"a net that scores regions needs the inputs data and im_info, not {net.inputs}"
        )
    _check_channels(net, "data", image)
    sides, most = np.sort(image.shape[1:]), np.sort(net.blobs["data"].shape[2:])
    factor = float((most / sides).min())
    height, width = (max(1, round(side * factor)) for side in image.shape[1:])
    values = prepare(resize(image, height, width))[np.newaxis]
    net.forward(data=values, im_info=[[height, width, factor]])
    rois = net.blobs["rois"].data[:, 1:5]
    scores = net.blobs["cls_prob"].data.reshape(len(rois), -1)
    deltas = net.blobs["bbox_pred"].data.reshape(len(rois), -1, 4)
    found = []
    for label in range(1, scores.shape[1]):  # 0 is the background
        boxes = _moved(rois, deltas[:, min(label, deltas.shape[1] - 1)], height, width)
        kept = suppressed(boxes, scores[:, label], _REGION_OVERLAP)
        found.append((boxes[kept], np.full(len(kept), label), scores[kept, label]))
    boxes, labels, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    return Found(boxes / [width, height, width, height], labels, scores)


def _moved(boxes: np.ndarray, deltas: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes, whose corners are pixels inside of them, by what the net says of their centres (in
    sides) and sides (a logarithm)."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    centre = boxes[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = np.exp(np.minimum(deltas[:, 2:], np.log(1000))) * sides / 2
    return np.clip(np.hstack([centre - half, centre + half - 1]), 0, [width - 1, height - 1] * 2)


def suppressed(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Numbers of the boxes (B, 4), best first, that overlap no better one by more than the
    threshold; their corners are pixels inside of them."""
    order, kept = np.argsort(-scores, kind="stable"), []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        first = np.maximum(boxes[best, :2], boxes[others, :2])
        last = np.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = np.prod(np.maximum(last - first + 1, 0), axis=1)
        order = others[shared <= threshold * (areas[best] + areas[others] - shared)]
    return np.array(kept, int)


def _check_channels(net: Net, name: str, image: np.ndarray) -> None:
    channels = net.blobs[name].shape[1]
    if len(image) != channels:
        raise Error(f"the image has {len(image)} channels, the net's input {channels}")
