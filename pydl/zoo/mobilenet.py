"""MobileNets v1 (Howard et al. 2017) and v2 (Sandler et al. 2018) with the names of their Caffe
release, and v3 (Howard et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydl.zoo.builder import Builder

# ---- v1 ----
# (name, filters, stride) of each depthwise separable convolution
V1_BLOCKS = (
    ("2_1", 64, 1), ("2_2", 128, 2), ("3_1", 128, 1), ("3_2", 256, 2), ("4_1", 256, 1),
    ("4_2", 512, 2), ("5_1", 512, 1), ("5_2", 512, 1), ("5_3", 512, 1), ("5_4", 512, 1),
    ("5_5", 512, 1), ("5_6", 1024, 2), ("6", 1024, 1),
)  # fmt: skip


def mobilenet_v1(net: Builder) -> None:
    """MobileNet 1.0 224."""

    def conv(name: str, relu: str, bottom: str, filters: int, kernel: int, **shape: int) -> str:
        blob = _conv(net, name, bottom, filters, kernel, **shape)
        return net.relu(relu, blob)

    blob, channels = conv("conv1", "relu1", "data", 32, 3, stride=2), 32
    for name, filters, stride in V1_BLOCKS:
        blob = conv(f"conv{name}/dw", f"relu{name}/dw", blob, channels, 3,
                    stride=stride, group=channels)  # fmt: skip
        blob, channels = conv(f"conv{name}/sep", f"relu{name}/sep", blob, filters, 1), filters
    blob = net.pool("pool6", blob, "AVE")
    net.classifier(net.conv(net.scores("fc7"), blob, net.classes, 1))


def _conv(
    net: Builder, name: str, bottom: str, filters: int, kernel: int, eps: float = 1e-5, **shape: int
) -> str:
    blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=None, **shape)
    return net.bn(blob, f"{name}/bn", f"{name}/scale", eps=eps)


# ---- v2 ----
# (name, expanded channels, channels, stride) of each inverted residual
_V2_BLOCKS = (
    ("2_1", 32, 16, 1), ("2_2", 96, 24, 2), ("3_1", 144, 24, 1), ("3_2", 144, 32, 2),
    ("4_1", 192, 32, 1), ("4_2", 192, 32, 1), ("4_3", 192, 64, 2), ("4_4", 384, 64, 1),
    ("4_5", 384, 64, 1), ("4_6", 384, 64, 1), ("4_7", 384, 96, 1), ("5_1", 576, 96, 1),
    ("5_2", 576, 96, 1), ("5_3", 576, 160, 2), ("6_1", 960, 160, 1), ("6_2", 960, 160, 1),
    ("6_3", 960, 320, 1),
)  # fmt: skip


def mobilenet_v2(net: Builder) -> None:
    """MobileNetV2 1.0 224, with ReLU6; the first block does not expand."""
    _mobilenet_v2(net, "ReLU6", expand_first=False)


def mobilenet_v2_released(net: Builder) -> None:
    """MobileNetV2 as its released Caffe weights have it: plain ReLU, and a 1x1 convolution in the
    first block too."""
    _mobilenet_v2(net, "ReLU", expand_first=True)


def _mobilenet_v2(net: Builder, relu: str, expand_first: bool) -> None:
    def conv(name: str, suffix: str, bottom: str, filters: int, kernel: int, **shape: int) -> str:
        blob = _conv(net, f"conv{name}{suffix}", bottom, filters, kernel, **shape)
        return net.act(relu, f"relu{name}{suffix}", blob)

    blob, channels = conv("1", "", "data", 32, 3, stride=2), 32
    for name, expanded, filters, stride in _V2_BLOCKS:
        bottom = blob
        if expanded != channels or expand_first:
            blob = conv(name, "/expand", blob, expanded, 1)
        blob = conv(name, "/dwise", blob, expanded, 3, stride=stride, group=expanded)
        blob = _conv(net, f"conv{name}/linear", blob, filters, 1)
        if stride == 1 and filters == channels:
            blob = net.add(f"block_{name}", [bottom, blob])
        channels = filters
    blob = net.pool("pool6", conv("6_4", "", blob, 1280, 1), "AVE")
    net.classifier(net.conv(net.scores("fc7"), blob, net.classes, 1))


# ---- v3 ----
@dataclass(frozen=True)
class _V3Block:
    kernel: int
    expanded: int
    filters: int
    squeeze: bool
    act: str
    stride: int = 1


_R, _H = "ReLU", "HardSwish"
_LARGE = (
    _V3Block(3, 16, 16, False, _R),
    _V3Block(3, 64, 24, False, _R, 2),
    _V3Block(3, 72, 24, False, _R),
    _V3Block(5, 72, 40, True, _R, 2),
    _V3Block(5, 120, 40, True, _R),
    _V3Block(5, 120, 40, True, _R),
    _V3Block(3, 240, 80, False, _H, 2),
    _V3Block(3, 200, 80, False, _H),
    _V3Block(3, 184, 80, False, _H),
    _V3Block(3, 184, 80, False, _H),
    _V3Block(3, 480, 112, True, _H),
    _V3Block(3, 672, 112, True, _H),
    _V3Block(5, 672, 160, True, _H, 2),
    _V3Block(5, 960, 160, True, _H),
    _V3Block(5, 960, 160, True, _H),
)
_SMALL = (
    _V3Block(3, 16, 16, True, _R, 2),
    _V3Block(3, 72, 24, False, _R, 2),
    _V3Block(3, 88, 24, False, _R),
    _V3Block(5, 96, 40, True, _H, 2),
    _V3Block(5, 240, 40, True, _H),
    _V3Block(5, 240, 40, True, _H),
    _V3Block(5, 120, 48, True, _H),
    _V3Block(5, 144, 48, True, _H),
    _V3Block(5, 288, 96, True, _H, 2),
    _V3Block(5, 576, 96, True, _H),
    _V3Block(5, 576, 96, True, _H),
)


def mobilenet_v3_large(net: Builder) -> None:
    _mobilenet_v3(net, _LARGE, 1280)


def mobilenet_v3_small(net: Builder) -> None:
    _mobilenet_v3(net, _SMALL, 1024)


def _mobilenet_v3(net: Builder, blocks: Sequence[_V3Block], hidden: int) -> None:
    def conv(
        name: str, act: str | None, bottom: str, filters: int, kernel: int, **shape: int
    ) -> str:
        blob = _conv(net, name, bottom, filters, kernel, eps=1e-3, **shape)
        return net.act(act, f"{name}/act", blob) if act else blob

    blob, channels = conv("conv1", _H, "data", 16, 3, stride=2), 16
    for i, block in enumerate(blocks, 1):
        name, bottom = f"block{i}", blob
        if block.expanded != channels:
            blob = conv(f"{name}/expand", block.act, blob, block.expanded, 1)
        blob = conv(f"{name}/dwise", block.act, blob, block.expanded, block.kernel,
                    stride=block.stride, group=block.expanded)  # fmt: skip
        if block.squeeze:
            blob = squeeze_and_excite(net, f"{name}/se", blob, _divisible(block.expanded / 4),
                                      block.expanded, "ReLU", hard_sigmoid)  # fmt: skip
        blob = conv(f"{name}/linear", None, blob, block.filters, 1)
        if block.stride == 1 and block.filters == channels:
            blob = net.add(name, [bottom, blob])
        channels = block.filters
    blob = conv("conv_last", _H, blob, 6 * channels, 1)
    blob = net.fc("fc1", net.pool("pool", blob, "AVE"), hidden)
    blob = net.dropout("drop", net.act(_H, "fc1/act", blob), 0.2)
    net.classifier(net.fc(net.scores("fc2"), blob, net.classes))


def _divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple, but at least 0.9 times what was asked for."""
    nearest = max(by, int(channels + by / 2) // by * by)
    return nearest if nearest >= 0.9 * channels else nearest + by


def squeeze_and_excite(
    net: Builder, name: str, blob: str, squeezed: int, channels: int, act: str, gate
) -> str:
    """Scales each channel by what two small layers make of the channels' means (Hu et al. 2017)."""
    factors = net.pool(f"{name}/pool", blob, "AVE")
    factors = net.act(act, f"{name}/act", net.fc(f"{name}/down", factors, squeezed))
    factors = gate(net, f"{name}/gate", net.fc(f"{name}/up", factors, channels))
    return net.layer("Scale", name, [blob, factors], scale_param={"axis": 0})


def hard_sigmoid(net: Builder, name: str, blob: str) -> str:
    """min(max(x + 3, 0), 6) / 6."""
    blob = net.layer(
        "Power", f"{name}/line", blob, blob, power_param={"scale": 1 / 6, "shift": 0.5}
    )
    return net.layer("Clip", name, blob, blob, clip_param={"min": 0, "max": 1})
