"""EfficientNet (Tan and Le 2019)."""

from __future__ import annotations

from pydl.zoo.builder import Builder
from pydl.zoo.mobilenet import squeeze_and_excite

# (expansion, kernel, stride, filters, blocks) of each stage
_STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def efficientnet_b0(net: Builder) -> None:
    """With the same padding on both sides. A block squeezes to a quarter of its input's
    channels."""
    blob, channels = _conv(net, "stem", "data", 32, 3, stride=2), 32
    for stage, (expansion, kernel, stride, filters, blocks) in enumerate(_STAGES, 1):
        for i in range(blocks):
            blob = _block(net, f"block{stage}{'abcd'[i]}", blob, channels, expansion, kernel,
                          stride if i == 0 else 1, filters)  # fmt: skip
            channels = filters
    blob = net.pool("pool", _conv(net, "head", blob, 1280, 1), "AVE")
    net.classifier(net.fc(net.scores("fc"), net.dropout("drop", blob, 0.2), net.classes))


def _block(
    net: Builder, name: str, bottom: str, channels: int, expansion: int, kernel: int, stride: int,
    filters: int,
) -> str:  # fmt: skip
    blob, wide = bottom, expansion * channels
    if expansion > 1:
        blob = _conv(net, f"{name}/expand", blob, wide, 1)
    blob = _conv(net, f"{name}/dwise", blob, wide, kernel, stride=stride, group=wide)
    blob = squeeze_and_excite(net, f"{name}/se", blob, channels // 4, wide, "Swish", _sigmoid)
    blob = _conv(net, f"{name}/linear", blob, filters, 1, swish=False)
    return net.add(name, [bottom, blob]) if stride == 1 and filters == channels else blob


def _sigmoid(net: Builder, name: str, blob: str) -> str:
    return net.act("Sigmoid", name, blob)


def _conv(
    net: Builder, name: str, bottom: str, filters: int, kernel: int, *, swish: bool = True,
    **shape: int,
) -> str:  # fmt: skip
    blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=None, **shape)
    blob = net.bn(blob, f"{name}/bn", f"{name}/scale", eps=1e-3)
    return net.act("Swish", f"{name}/swish", blob) if swish else blob
