"""VGG nets (Simonyan and Zisserman 2014), with the names of their Caffe release."""

from __future__ import annotations

from collections.abc import Sequence

from pydl.zoo.builder import Builder

FILTERS = (64, 128, 256, 512, 512)


def vgg11(net: Builder) -> None:
    """Configuration A."""
    _vgg(net, (1, 1, 2, 2, 2))


def vgg13(net: Builder) -> None:
    """Configuration B."""
    _vgg(net, (2, 2, 2, 2, 2))


def vgg16(net: Builder) -> None:
    """Configuration D."""
    _vgg(net, (2, 2, 3, 3, 3))


def vgg19(net: Builder) -> None:
    """Configuration E."""
    _vgg(net, (2, 2, 4, 4, 4))


def _vgg(net: Builder, convs: Sequence[int]) -> None:
    blob = "data"
    for block, count in enumerate(convs, 1):
        blob = net.pool(f"pool{block}", convolutions(net, blob, block, count), "MAX", 2, 2)
    blob = fully_connected(net, blob)
    net.classifier(net.fc(net.scores("fc8"), blob, net.classes))


def convolutions(
    net: Builder, blob: str, block: int, count: int = 0, *, border: int = 1, dilation: int = 1
) -> str:
    """The 3x3 convolutions of a block of VGG-16, or so many, each with a ReLU; `border`: the
    padding of the first one."""
    for i in range(1, (count or (2 if block < 3 else 3)) + 1):
        pad = border if i == 1 and border > 1 else dilation
        blob = net.conv(f"conv{block}_{i}", blob, FILTERS[block - 1], 3, pad=pad, dilation=dilation)
        blob = net.relu(f"relu{block}_{i}", blob)
    return blob


def features(net: Builder, blob: str) -> str:
    """VGG-16 down to relu5_3, a sixteenth of the image wide: what detectors look at."""
    for block in range(1, 6):
        blob = convolutions(net, blob, block)
        if block < 5:
            blob = net.pool(f"pool{block}", blob, "MAX", 2, 2)
    return blob


def fully_connected(net: Builder, blob: str) -> str:
    """fc6 and fc7 with their dropout."""
    for i in (6, 7):
        blob = net.relu(f"relu{i}", net.fc(f"fc{i}", blob, 4096))
        blob = net.dropout(f"drop{i}", blob)
    return blob
