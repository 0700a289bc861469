"""YOLO v2 (Redmon and Farhadi 2016): the tiny net for Pascal VOC."""

from __future__ import annotations

from pydl.zoo.builder import Builder

# Widths and heights of the anchors, in cells of 32 pixels.
_ANCHORS = (1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52)
_BOXES = len(_ANCHORS) // 2


def yolo_v2_tiny(net: Builder) -> None:
    blob, filters = "data", 16
    for i in range(1, 7):
        blob = _conv(net, i, blob, filters)
        blob = net.pool(f"pool{i}", blob, "MAX", 2, 2) if i < 6 else _pool_in_place(net, blob)
        filters *= 2
    for i in (7, 8):
        blob = _conv(net, i, blob, 1024)
    blob = net.conv(net.scores("conv9"), blob, _BOXES * (5 + net.classes), 1)
    _region(net, blob)


def _conv(net: Builder, i: int, bottom: str, filters: int) -> str:
    blob = net.conv(f"conv{i}", bottom, filters, 3, pad=1, bias=None)
    return net.relu(f"relu{i}", net.bn(blob, f"bn{i}", f"scale{i}"), slope=0.1)


def _pool_in_place(net: Builder, blob: str) -> str:
    """2x2 windows one apart; as in darknet those at the far edges reach beyond the plane. Caffe's
    padding is on both sides, so what it adds on the near one is cut off."""
    pooled = net.pool("pool6", blob, "MAX", 2, 1, pad=1)
    return net.crop("crop6", pooled, blob, 1)


def _region(net: Builder, blob: str) -> None:
    """To train, ``label`` (N, objects, 5) holds rows of class, centre and size as shares of the
    image; rows of no width end an image's list."""
    shared = {"coords": 4, "softmax": True, "biases": list(_ANCHORS)}
    if not net.train:
        param = {"classes": net.classes, "anchors": _BOXES, "thresh": 0.24, "nms_threshold": 0.4}
        net.layer("Region", "region", blob, region_param=shared | param)
        return
    net.input("label", net.batch, 30, 5)
    param = {"num_class": net.classes, "num": _BOXES, "bias_match": True, "rescore": True}
    param |= {"object_scale": 5, "noobject_scale": 1, "class_scale": 1, "coord_scale": 1}
    param |= {"thresh": 0.6}
    net.layer("RegionLoss", "loss", [blob, "label"], region_loss_param=shared | param)
