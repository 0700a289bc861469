"""GoogLeNet (Szegedy et al. 2014) with the names of bvlc_googlenet."""

from __future__ import annotations

from pydl.zoo.builder import Builder

# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_HEADS = {"4a": 1, "4d": 2}  # auxiliary classifiers, in training only


def googlenet(net: Builder) -> None:
    blob = _conv(net, "conv1/7x7_s2", "data", 64, 7, stride=2)
    blob = net.lrn("pool1/norm1", net.pool("pool1/3x3_s2", blob, "MAX", 3, 2))
    blob = _conv(net, "conv2/3x3", _conv(net, "conv2/3x3_reduce", blob, 64, 1), 192, 3)
    blob = net.pool("pool2/3x3_s2", net.lrn("conv2/norm2", blob), "MAX", 3, 2)
    for block in _INCEPTIONS:
        blob = _inception(net, block, blob)
        if net.train and block in _HEADS:
            _head(net, _HEADS[block], blob)
        if block in ("3b", "4e"):
            blob = net.pool(f"pool{block[0]}/3x3_s2", blob, "MAX", 3, 2)
    blob = net.pool("pool5/7x7_s1", blob, "AVE", 7)
    blob = net.dropout("pool5/drop_7x7_s1", blob, 0.4)
    net.classifier(net.fc(net.scores("loss3/classifier"), blob, net.classes))


def _conv(net: Builder, name: str, bottom: str, filters: int, kernel: int, stride: int = 1) -> str:
    blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=kernel // 2,
                    bias=0.2, filler="xavier")  # fmt: skip
    group, part = name.split("/")
    return net.relu(f"{group}/relu_{part}", blob)


def _inception(net: Builder, block: str, bottom: str) -> str:
    prefix, sizes = f"inception_{block}", _INCEPTIONS[block]
    branches = [_conv(net, f"{prefix}/1x1", bottom, sizes[0], 1)]
    for kernel, (reduced, filters) in ((3, sizes[1:3]), (5, sizes[3:5])):
        name = f"{prefix}/{kernel}x{kernel}"
        blob = _conv(net, f"{name}_reduce", bottom, reduced, 1)
        branches.append(_conv(net, name, blob, filters, kernel))
    pooled = net.pool(f"{prefix}/pool", bottom, "MAX", 3, 1, pad=1)
    branches.append(_conv(net, f"{prefix}/pool_proj", pooled, sizes[5], 1))
    return net.concat(f"{prefix}/output", branches)


def _head(net: Builder, number: int, blob: str) -> None:
    prefix = f"loss{number}"
    blob = net.pool(f"{prefix}/ave_pool", blob, "AVE", 5, 3)
    blob = net.conv(f"{prefix}/conv", blob, 128, 1, bias=0.2, filler="xavier")
    blob = net.fc(f"{prefix}/fc", net.relu(f"{prefix}/relu_conv", blob), 1024)
    blob = net.dropout(f"{prefix}/drop_fc", net.relu(f"{prefix}/relu_fc", blob), 0.7)
    net.head(number, net.fc(net.scores(f"{prefix}/classifier"), blob, net.classes), 0.3)
