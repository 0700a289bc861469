"""DenseNets (Huang et al. 2016) with the names of their Caffe conversion: each layer sees all
before it in its block."""

from __future__ import annotations

from collections.abc import Sequence

from pydl.zoo.builder import Builder


def densenet121(net: Builder) -> None:
    _densenet(net, (6, 12, 24, 16))


def densenet161(net: Builder) -> None:
    _densenet(net, (6, 12, 36, 24), growth=48)


def densenet169(net: Builder) -> None:
    _densenet(net, (6, 12, 32, 32))


def densenet201(net: Builder) -> None:
    _densenet(net, (6, 12, 48, 32))


def _densenet(net: Builder, blocks: Sequence[int], growth: int = 32) -> None:
    channels = 2 * growth
    blob = net.conv("conv1", "data", channels, 7, stride=2, pad=3, bias=None)
    blob = net.relu("relu1", net.bn(blob, "conv1/bn", "conv1/scale"))
    blob = net.pool("pool1", blob, "MAX", 3, 2, pad=1, floor=True)
    for stage, count in enumerate(blocks, 2):
        for i in range(1, count + 1):
            blob = _dense_layer(net, f"{stage}_{i}", blob, growth)
        channels += count * growth
        blob = _norm(net, f"conv{stage}_blk", blob)
        if stage < 5:
            channels //= 2
            blob = net.conv(f"conv{stage}_blk", blob, channels, 1, bias=None)
            blob = net.pool(f"pool{stage}", blob, "AVE", 2, 2)
    net.classifier(net.conv(net.scores("fc6"), net.pool("pool5", blob, "AVE"), net.classes, 1))


def _norm(net: Builder, name: str, bottom: str) -> str:
    blob = net.bn(bottom, f"{name}/bn", f"{name}/scale", top=f"{name}/bn")
    return net.relu(name.replace("conv", "relu", 1), blob)


def _dense_layer(net: Builder, name: str, bottom: str, growth: int) -> str:
    """1x1 to four times the growth, then 3x3 to the maps that this layer adds."""
    blob = _norm(net, f"conv{name}/x1", bottom)
    blob = _norm(net, f"conv{name}/x2", net.conv(f"conv{name}/x1", blob, 4 * growth, 1, bias=None))
    blob = net.conv(f"conv{name}/x2", blob, growth, 3, pad=1, bias=None)
    return net.concat(f"concat_{name}", [bottom, blob])
