"""SqueezeNet (Iandola et al. 2016), 1.0 and 1.1, with the names of its release."""

from __future__ import annotations

from pydl.zoo.builder import Builder

# What each fire module squeezes to; it expands to four times that, half by 1x1 and half by 3x3.
_SQUEEZES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}


def squeezenet1_0(net: Builder) -> None:
    _squeezenet(net, 96, 7, pooled=(1, 4, 8), last_pad=1)


def squeezenet1_1(net: Builder) -> None:
    """2.4 times less work than 1.0: smaller first filters, and pooling sooner."""
    _squeezenet(net, 64, 3, pooled=(1, 3, 5))


def _squeezenet(
    net: Builder, filters: int, kernel: int, pooled: tuple[int, ...], last_pad: int = 0
) -> None:
    blob = net.conv("conv1", "data", filters, kernel, stride=2, filler="xavier")
    blob = net.pool("pool1", net.relu("relu_conv1", blob), "MAX", 3, 2)
    for i, squeeze in _SQUEEZES.items():
        blob = _fire(net, f"fire{i}", blob, squeeze)
        if i in pooled:
            blob = net.pool(f"pool{i}", blob, "MAX", 3, 2)
    blob = net.dropout("drop9", blob)
    blob = net.conv(net.scores("conv10"), blob, net.classes, 1, pad=last_pad)
    net.classifier(net.pool("pool10", net.relu("relu_conv10", blob), "AVE"))


def _fire(net: Builder, name: str, blob: str, squeeze: int) -> str:
    def conv(part: str, bottom: str, filters: int, kernel: int) -> str:
        blob = net.conv(f"{name}/{part}", bottom, filters, kernel, pad=kernel // 2, filler="xavier")
        return net.relu(f"{name}/relu_{part}", blob)

    blob = conv("squeeze1x1", blob, squeeze, 1)
    wide = [conv("expand1x1", blob, 4 * squeeze, 1), conv("expand3x3", blob, 4 * squeeze, 3)]
    return net.concat(f"{name}/concat", wide)
