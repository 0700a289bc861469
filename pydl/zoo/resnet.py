"""Residual nets (He et al. 2015) with the names of their Caffe release, and ResNeXt (Xie et al.
2016). As in the paper, the stride is in the first convolution of a block."""

from __future__ import annotations

from collections.abc import Sequence

from pydl.zoo.builder import Builder

WIDTHS = (64, 128, 256, 512)


def resnet18(net: Builder) -> None:
    _resnet(net, (2, 2, 2, 2), bottleneck=False)


def resnet34(net: Builder) -> None:
    _resnet(net, (3, 4, 6, 3), bottleneck=False)


def resnet50(net: Builder) -> None:
    _resnet(net, (3, 4, 6, 3))


def resnet50_released(net: Builder) -> None:
    """ResNet-50 as its released weights have it: conv1 with a bias."""
    _resnet(net, (3, 4, 6, 3), conv1_bias=True)


def resnet101(net: Builder) -> None:
    _resnet(net, (3, 4, 23, 3))


def resnet152(net: Builder) -> None:
    _resnet(net, (3, 8, 36, 3))


def _resnet(
    net: Builder, blocks: Sequence[int], bottleneck: bool = True, conv1_bias: bool = False
) -> None:
    blob = stem(net, "data", conv1_bias)
    numbered = sum(blocks) > 16
    for stage, count in enumerate(blocks, 2):
        names = block_names(stage, count, numbered)
        blob = residual_stage(net, blob, stage, names, bottleneck=bottleneck)
    blob = net.pool("pool5", blob, "AVE", 7)
    net.classifier(net.fc(net.scores("fc1000"), blob, net.classes))


def stem(
    net: Builder, blob: str, bias: bool = False, *, frozen: bool = False, pool_pad: int = 0
) -> str:
    """conv1 and pool1: a quarter of the image wide."""
    blob = net.conv("conv1", blob, 64, 7, stride=2, pad=3, bias=0 if bias else None)
    blob = net.bn(blob, "bn_conv1", "scale_conv1", frozen=frozen)
    return net.pool("pool1", net.relu("conv1_relu", blob), "MAX", 3, 2, pad=pool_pad)


def block_names(stage: int, blocks: int, numbered: bool = False) -> list[str]:
    """3a, 3b, 3c ..., or, in the long stages of ResNet-101 and 152, 3a, 3b1, 3b2 ..."""
    if numbered and stage in (3, 4):
        return [f"{stage}a", *(f"{stage}b{i}" for i in range(1, blocks))]
    return [f"{stage}{letter}" for letter in "abcdef"[:blocks]]


def residual_stage(
    net: Builder,
    blob: str,
    stage: int,
    names: Sequence[str],
    *,
    bottleneck: bool = True,
    stride: int | None = None,
    dilation: int = 1,
    frozen: bool = False,
) -> str:
    """The blocks of a stage. The first one halves the plane, but for that of stage 2, unless a
    `stride` is given; `frozen`: by the stored statistics in training too."""
    stride = stride or (1 if stage == 2 else 2)

    def conv(suffix: str, bottom: str, filters: int, kernel: int, stride: int = 1) -> str:
        spread = dilation if kernel == 3 else 1
        blob = net.conv(f"res{suffix}", bottom, filters, kernel, stride=stride,
                        pad=spread * (kernel // 2), dilation=spread, bias=None)  # fmt: skip
        return net.bn(blob, f"bn{suffix}", f"scale{suffix}", frozen=frozen)

    width = WIDTHS[stage - 2]
    outputs = 4 * width if bottleneck else width
    for i, name in enumerate(names):
        side, stride = blob, stride if i == 0 else 1
        if i == 0 and (bottleneck or stage > 2):
            side = conv(f"{name}_branch1", blob, outputs, 1, stride)
        blob = conv(f"{name}_branch2a", blob, width, 1 if bottleneck else 3, stride)
        blob = net.relu(f"res{name}_branch2a_relu", blob)
        blob = conv(f"{name}_branch2b", blob, width, 3)
        if bottleneck:
            blob = net.relu(f"res{name}_branch2b_relu", blob)
            blob = conv(f"{name}_branch2c", blob, outputs, 1)
        blob = net.relu(f"res{name}_relu", net.add(f"res{name}", [side, blob]))
    return blob


def resnext50(net: Builder) -> None:
    """ResNeXt-50 (32x4d): the 3x3 convolutions are in 32 groups, and have the stride."""

    def conv(
        name: str, bottom: str, filters: int, kernel: int, *, relu: bool = True, **shape: int
    ) -> str:
        blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=None, **shape)
        blob = net.bn(blob, f"{name}_bn", f"{name}_scale")
        return net.relu(f"{name}_relu", blob) if relu else blob

    blob = net.pool("pool1", conv("conv1", "data", 64, 7, stride=2), "MAX", 3, 2)
    count = 0
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 128 << stage
        for i in range(blocks):
            count += 1
            name, side = f"resx{count}", blob
            stride = 2 if i == 0 and stage > 0 else 1
            if i == 0:
                side = conv(f"{name}_match_conv", blob, 2 * width, 1, stride=stride, relu=False)
            blob = conv(f"{name}_conv1", blob, width, 1)
            blob = conv(f"{name}_conv2", blob, width, 3, stride=stride, group=32)
            blob = conv(f"{name}_conv3", blob, 2 * width, 1, relu=False)
            blob = net.add(f"{name}_elewise", [side, blob])
            blob = net.relu(f"{name}_elewise_relu", blob)
    net.classifier(net.fc(net.scores("fc1000"), net.pool("pool_ave", blob, "AVE", 7), net.classes))
