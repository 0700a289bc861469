"""ShuffleNet v1 (Zhang et al. 2017) and v2 (Ma et al. 2018), with the names of their Caffe
conversions."""

from __future__ import annotations

from pydl.zoo.builder import Builder

_REPEATS = (4, 8, 4)


def shufflenet_v1(net: Builder) -> None:
    """ShuffleNet 1x with 3 groups: a unit's bottleneck is a quarter of its output wide."""
    _shufflenet_v1(net, narrow=False)


def shufflenet_v1_released(net: Builder) -> None:
    """ShuffleNet 1x with 3 groups as its released Caffe weights have it: in units that halve the
    plane, the bottleneck is a quarter of the channels that they add."""
    _shufflenet_v1(net, narrow=True)


def _shufflenet_v1(net: Builder, narrow: bool) -> None:
    blob, channels, count = _stem(net), 24, 0
    for stage, repeats in enumerate(_REPEATS):
        filters = 240 << stage
        for i in range(repeats):
            count += 1
            blob = _unit(net, count, blob, channels, filters, halve=i == 0, narrow=narrow)
            channels = filters
    _end(net, blob)


def _unit(
    net: Builder, count: int, bottom: str, channels: int, filters: int, *, halve: bool, narrow: bool
) -> str:
    name, first = f"resx{count}", count == 1
    made = filters - channels if halve else filters
    width = (made if narrow else filters) // 4
    blob = _conv(net, f"{name}_conv1", bottom, width, 1, group=1 if first else 3)
    if not first:
        blob = _shuffle(net, f"shuffle{count}", blob, 3)
    blob = _conv(net, f"{name}_conv2", blob, width, 3, relu=False,
                 group=width, stride=2 if halve else 1)  # fmt: skip
    blob = _conv(net, f"{name}_conv3", blob, made, 1, relu=False, group=3)
    if halve:
        side = net.pool(f"{name}_match_conv", bottom, "AVE", 3, 2)
        return net.relu(f"{name}_concat_relu", net.concat(f"{name}_concat", [side, blob]))
    return net.relu(f"{name}_elewise_relu", net.add(f"{name}_elewise", [bottom, blob]))


def shufflenet_v2(net: Builder) -> None:
    """ShuffleNet v2 1x: each unit works on half of the channels and mixes them with the rest."""
    blob, count = _stem(net), 0
    for stage, repeats in enumerate(_REPEATS):
        half = 58 << stage
        for i in range(repeats):
            count += 1
            name = f"branch{count}"
            if i == 0:
                channels = 24 if stage == 0 else half
                side = _conv(net, f"{name}_1_conv1", blob, channels, 3, relu=False,
                             group=channels, stride=2)  # fmt: skip
                side = _conv(net, f"{name}_1_conv2", side, half, 1)
            else:
                side, blob = f"{name}_1", f"{name}_2"
                net.layer("Slice", f"slice{count}", f"shuffle{count - 1}", [side, blob],
                          slice_param={"axis": 1, "slice_point": [half]})  # fmt: skip
            blob = _conv(net, f"{name}_2_conv1", blob, half, 1)
            blob = _conv(net, f"{name}_2_conv2", blob, half, 3, relu=False,
                         group=half, stride=2 if i == 0 else 1)  # fmt: skip
            blob = _conv(net, f"{name}_2_conv3", blob, half, 1)
            blob = _shuffle(net, f"shuffle{count}", net.concat(f"concat{count}", [side, blob]), 2)
    _end(net, _conv(net, "conv5", blob, 1024, 1))


def _stem(net: Builder) -> str:
    return net.pool("pool1", _conv(net, "conv1", "data", 24, 3, stride=2), "MAX", 3, 2)


def _conv(
    net: Builder, name: str, bottom: str, filters: int, kernel: int, *, relu: bool = True,
    **shape: int,
) -> str:  # fmt: skip
    blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=None, **shape)
    blob = net.bn(blob, f"{name}_bn", f"{name}_scale")
    return net.relu(f"{name}_relu", blob) if relu else blob


def _shuffle(net: Builder, name: str, bottom: str, groups: int) -> str:
    return net.layer("ShuffleChannel", name, bottom, shuffle_channel_param={"group": groups})


def _end(net: Builder, blob: str) -> None:
    blob = net.pool("pool_ave", blob, "AVE")
    net.classifier(net.conv(net.scores("fc1000"), blob, net.classes, 1))
