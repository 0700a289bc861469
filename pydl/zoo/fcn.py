"""Fully convolutional nets (Long et al. 2014) on VGG-16, with the names of their release. The image
gets a border of 100 pixels so that any size works; Crop takes it off the scores again.

The scores of each class are interpolated. The released weights do that with filters between all
pairs of classes, zeros but for a class and itself; a new net has one filter for each class."""

from __future__ import annotations

from pydl.zoo import vgg
from pydl.zoo.builder import Builder

_SIZE = 500


def fcn32s(net: Builder) -> None:
    _fcn32s(net)


def fcn32s_released(net: Builder) -> None:
    _fcn32s(net, between_classes=True)


def _fcn32s(net: Builder, **how: bool) -> None:
    scores, _ = _scores(net)
    _finish(net, net.upsample(net.scores("upscore"), scores, net.classes, 32, **how), offset=19)


def fcn16s(net: Builder) -> None:
    """The scores of fc7 and of pool4, summed."""
    _fcn16s(net)


def fcn16s_released(net: Builder) -> None:
    _fcn16s(net, between_classes=True)


def _fcn16s(net: Builder, **how: bool) -> None:
    scores, pools = _scores(net)
    blob = net.upsample(net.scores("upscore2"), scores, net.classes, 2, **how)
    blob = _fuse(net, blob, pools, 4, offset=5)
    _finish(net, net.upsample(net.scores("upscore16"), blob, net.classes, 16, **how), offset=27)


def fcn8s(net: Builder) -> None:
    """The scores of fc7, pool4 and pool3, summed."""
    _fcn8s(net)


def fcn8s_released(net: Builder) -> None:
    _fcn8s(net, between_classes=True)


def _fcn8s(net: Builder, **how: bool) -> None:
    scores, pools = _scores(net)
    blob = net.upsample(net.scores("upscore2"), scores, net.classes, 2, **how)
    blob = _fuse(net, blob, pools, 4, offset=5)
    blob = net.upsample(net.scores("upscore_pool4"), blob, net.classes, 2, **how)
    blob = _fuse(net, blob, pools, 3, offset=9)
    _finish(net, net.upsample(net.scores("upscore8"), blob, net.classes, 8, **how), offset=31)


def _scores(net: Builder) -> tuple[str, dict[int, str]]:
    """VGG-16 with its fully connected layers as convolutions: the scores on a grid of 32 pixels,
    and pool3 and pool4."""
    blob, pools = "data", {}
    for block in range(1, 6):
        blob = vgg.convolutions(net, blob, block, border=100 if block == 1 else 1)
        blob = pools[block] = net.pool(f"pool{block}", blob, "MAX", 2, 2)
    for name, kernel in (("6", 7), ("7", 1)):
        blob = net.relu(f"relu{name}", net.conv(f"fc{name}", blob, 4096, kernel))
        blob = net.dropout(f"drop{name}", blob)
    return net.conv(net.scores("score_fr"), blob, net.classes, 1), pools


def _fuse(net: Builder, blob: str, pools: dict[int, str], level: int, offset: int) -> str:
    finer = net.conv(net.scores(f"score_pool{level}"), pools[level], net.classes, 1)
    finer = net.crop(f"score_pool{level}c", finer, blob, offset)
    return net.add(f"fuse_pool{level}", [blob, finer])


def _finish(net: Builder, upscore: str, offset: int) -> None:
    net.segmenter(net.crop("score", upscore, "data", offset), _SIZE, _SIZE)
