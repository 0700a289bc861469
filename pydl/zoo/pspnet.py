"""PSPNet (Zhao et al. 2016) on a dilated ResNet-50, with the names of its release: 473 pixels
across, and the 150 classes of ADE20K."""

from __future__ import annotations

from typing import Any

from pydl.zoo.builder import Builder

_SIZE, _GRID = 473, 60
_BN: dict[str, Any] = {
    "bn_param": {
        "slope_filler": {"type": "constant", "value": 1},
        "bias_filler": {"type": "constant", "value": 0},
        "momentum": 0.95,
    }
}


def pspnet50(net: Builder) -> None:
    blob = _conv(net, "conv1_1_3x3_s2", "data", 64, 3, stride=2)
    blob = _conv(net, "conv1_3_3x3", _conv(net, "conv1_2_3x3", blob, 64, 3), 128, 3)
    blob = net.pool("pool1_3x3_s2", blob, "MAX", 3, 2, pad=1)
    for stage, blocks in enumerate((3, 4, 6, 3), 2):
        for i in range(1, blocks + 1):
            stride = 2 if stage == 3 and i == 1 else 1
            blob = _block(net, f"conv{stage}_{i}", blob, 16 << stage, stride,
                          {4: 2, 5: 4}.get(stage, 1), shortcut=i == 1)  # fmt: skip
        if stage == 4 and net.train:
            auxiliary = blob
    means = [_pooled(net, blob, bins) for bins in (6, 3, 2, 1)]
    blob = _conv(net, "conv5_4", net.concat("conv5_3_concat", [blob, *means]), 512, 3)
    blob = net.dropout("conv5_4/dropout", blob, 0.1)
    scores = _scores(net, "conv6", blob)
    if net.train:
        net.segmenter(scores, _SIZE, _SIZE)
        _head(net, auxiliary)


def _conv(
    net: Builder, name: str, bottom: str, filters: int, kernel: int, *, stride: int = 1,
    dilation: int = 1, relu: bool = True,
) -> str:  # fmt: skip
    blob = net.conv(name, bottom, filters, kernel, stride=stride, dilation=dilation,
                    pad=dilation * (kernel // 2), bias=None)  # fmt: skip
    blob = net.layer("BN", f"{name}/bn", blob, blob, **_BN)
    return net.relu(f"{name}/relu", blob) if relu else blob


def _block(
    net: Builder, name: str, bottom: str, width: int, stride: int, dilation: int, shortcut: bool
) -> str:
    blob = _conv(net, f"{name}_1x1_reduce", bottom, width, 1, stride=stride)
    blob = _conv(net, f"{name}_3x3", blob, width, 3, dilation=dilation)
    blob = _conv(net, f"{name}_1x1_increase", blob, 4 * width, 1, relu=False)
    side = bottom
    if shortcut:
        side = _conv(net, f"{name}_1x1_proj", bottom, 4 * width, 1, stride=stride, relu=False)
    return net.relu(f"{name}/relu", net.add(name, [side, blob]))


def _pooled(net: Builder, blob: str, bins: int) -> str:
    """The means of bins x bins parts of the plane, spread over it again."""
    name, side = f"conv5_3_pool{bins}", _GRID // bins
    blob = _conv(net, f"{name}_conv", net.pool(name, blob, "AVE", side, side), 512, 1)
    param = {"height": _GRID, "width": _GRID}
    return net.layer("Interp", f"{name}_interp", blob, interp_param=param)


def _scores(net: Builder, name: str, blob: str) -> str:
    blob = net.conv(net.scores(name), blob, net.classes, 1)
    return net.layer("Interp", f"{name}_interp", blob, interp_param={"zoom_factor": 8})


def _head(net: Builder, blob: str) -> None:
    """The auxiliary loss on the output of stage 4."""
    blob = net.dropout("conv4_6_aux/dropout", _conv(net, "conv4_6_aux", blob, 256, 3), 0.1)
    scores = _scores(net, "conv4_6_scores", blob)
    net.layer("SoftmaxWithLoss", "loss_aux", [scores, "label"], loss_weight=[0.4],
              loss_param={"ignore_label": 255})  # fmt: skip
