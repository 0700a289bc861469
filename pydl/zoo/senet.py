"""Squeeze-and-excitation residual nets (Hu et al. 2017) with the names of their Caffe release."""

from __future__ import annotations

from pydl.zoo.builder import Builder


def se_resnet50(net: Builder) -> None:
    blob = _conv(net, "conv1/7x7_s2", "data", 64, 7, stride=2)
    blob = net.pool("pool1/3x3_s2", net.relu("conv1/relu_7x7_s2", blob), "MAX", 3, 2)
    for stage, blocks in enumerate((3, 4, 6, 3), 2):
        for i in range(1, blocks + 1):
            stride = 2 if i == 1 and stage > 2 else 1
            blob = _block(net, f"conv{stage}_{i}", blob, 16 << stage, stride, shortcut=i == 1)
    blob = net.pool("pool5/7x7_s1", blob, "AVE", 7)
    net.classifier(net.fc(net.scores("classifier"), blob, net.classes))


def _conv(net: Builder, name: str, bottom: str, filters: int, kernel: int, stride: int = 1) -> str:
    blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=kernel // 2, bias=None)
    return net.bn(blob, f"{name}/bn", f"{name}/bn/scale")


def _block(net: Builder, name: str, bottom: str, width: int, stride: int, shortcut: bool) -> str:
    blob = _conv(net, f"{name}_1x1_reduce", bottom, width, 1, stride)
    blob = net.relu(f"{name}_1x1_reduce/relu", blob)
    blob = net.relu(f"{name}_3x3/relu", _conv(net, f"{name}_3x3", blob, width, 3))
    blob = _conv(net, f"{name}_1x1_increase", blob, 4 * width, 1)
    factors = net.pool(f"{name}_global_pool", blob, "AVE")
    factors = net.conv(f"{name}_1x1_down", factors, width // 4, 1)
    factors = net.conv(f"{name}_1x1_up", net.relu(f"{name}_1x1_down/relu", factors), 4 * width, 1)
    factors = net.layer("Sigmoid", f"{name}_prob", factors)
    side = _conv(net, f"{name}_1x1_proj", bottom, 4 * width, 1, stride) if shortcut else bottom
    return net.relu(f"{name}/relu", net.layer("Axpy", name, [factors, blob, side]))
